"""All that is recorded as sealed; and months of it taken away, which the owner alone may do."""

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from hivematrix_common.database import AnySession
from sqlalchemy import Connection, Row, text

_RECORDED = text(
    "SELECT account_number, period, invoice_number, body_sha256 FROM acceptances"
    " UNION ALL SELECT account_number, period, invoice_number, body_sha256 FROM corrections"
    " ORDER BY period, account_number, invoice_number"
)
# In this order: entries refer to their acceptance.
_TABLES = ("corrections", "accepted_entries", "acceptances")
_TAKE_AWAY = [
    text(
        f"DELETE FROM {table} USING json_to_recordset(:months) AS m (account_number text, period text)"  # noqa: S608 - our own names
        f" WHERE {table}.account_number = m.account_number AND {table}.period = m.period"
    )
    for table in _TABLES
]


def recorded(session: AnySession) -> Sequence[Row[Any]]:
    """Invoices and their corrections with the digests of their bodies, month by month."""
    return session.execute(_RECORDED).all()


def take_away(connection: Connection, months: Iterable[tuple[str, str]]) -> None:
    """Months as accounts with their period: their acceptances, their corrections, and the entries that they hold."""
    rows = orjson.dumps([{"account_number": account, "period": period} for account, period in months]).decode()
    for statement in _TAKE_AWAY:
        connection.execute(statement, {"months": rows})
