"""What the start page counts: accepted bills by month, bills on their way, a client's own bills."""

from collections.abc import Sequence
from typing import Any

from hivematrix_common.database import AnySession, own_account
from sqlalchemy import Numeric, Row, Text, text
from sqlalchemy.sql.selectable import TextualSelect

_NEWEST = text("SELECT max(period) FROM acceptances")
_MONTHS = text(
    "SELECT period, b.currency, count(*) AS bills, sum(b.total + b.credited) AS total,"
    " max(a.accepted_at) AS accepted_at"
    " FROM bills b JOIN acceptances a USING (account_number, period) WHERE period >= :since"
    " GROUP BY period, b.currency ORDER BY period DESC, bills DESC, b.currency"
)
_ON_THEIR_WAY = text("SELECT count(*) FROM sealing")
_OWN = text("SELECT invoice_number, period, total, credited, currency FROM bills WHERE account_number = :own")


def newest_period(session: AnySession) -> str | None:
    found: str | None = session.scalar(_NEWEST)
    return found


def months(session: AnySession, since: str) -> Sequence[Row[Any]]:
    """Accepted bills by month and currency, newest month first; `total` is what is left after credits."""
    return session.execute(_MONTHS, {"since": since}).all()


def on_their_way(session: AnySession) -> int:
    """Bills that were sent to the archive and are not recorded yet."""
    return session.scalar(_ON_THEIR_WAY) or 0


def own_bills() -> TextualSelect:
    """The accepted bills of the client who asks."""
    columns = {"invoice_number": Text, "period": Text, "total": Numeric, "credited": Numeric, "currency": Text}
    return _OWN.bindparams(own=own_account()).columns(**columns)
