"""What the month board is made of: bills accepted, on their way, and the reports of the others."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson
from hivematrix_common.database import AnySession
from sqlalchemy import Row, text

from . import listed

_ACCEPTED = text(
    "SELECT b.account_number, b.invoice_number, b.body_sha256, b.currency, b.total, b.credited, a.totals, a.recurring,"
    " b.invoice_number <> a.invoice_number AS replaced"
    " FROM bills b JOIN acceptances a USING (account_number, period) WHERE period = :period"
)
_ON_THEIR_WAY = text("SELECT account_number FROM sealing WHERE period = :period")
_RECURRING = text(
    "SELECT currency, sum(recurring) AS recurring, bool_and(recurring IS NOT NULL) AS known"
    " FROM acceptances WHERE period = :period GROUP BY currency"
)
_REPORTS = text(
    "SELECT account_number, made_of, findings FROM reports"
    " WHERE period = :period AND account_number IN (SELECT json_array_elements_text(:accounts))"
)
_KEEP_REPORTS = text(
    "INSERT INTO reports (account_number, period, made_of, findings)"
    " SELECT account_number, :period, made_of, findings"
    " FROM json_to_recordset(:reports) AS r (account_number text, made_of text, findings jsonb)"
    " ON CONFLICT (account_number, period)"
    " DO UPDATE SET made_of = excluded.made_of, findings = excluded.findings"
)


def accepted(session: AnySession, period: str) -> dict[str, Row[Any]]:
    """The month's accepted bills, by account."""
    return {row.account_number: row for row in session.execute(_ACCEPTED, {"period": period})}


def on_their_way(session: AnySession, period: str) -> list[str]:
    """Accounts whose bill was sent to the archive and is not recorded."""
    return list(session.scalars(_ON_THEIR_WAY, {"period": period}))


def recurring(session: AnySession, period: str) -> Mapping[str, Any]:
    """What the month's accepted bills recur, by currency; None where some were accepted before it was kept."""
    rows = session.execute(_RECURRING, {"period": period})
    return {row.currency: row.recurring if row.known else None for row in rows}


def reports(session: AnySession, period: str, accounts: Sequence[str]) -> dict[str, tuple[str, list[dict[str, Any]]]]:
    """By account what a report was made of, and its findings."""
    rows = session.execute(_REPORTS, {"period": period, "accounts": listed(accounts)})
    return {row.account_number: (row.made_of, row.findings) for row in rows}


def keep_reports(session: AnySession, period: str, made: Sequence[dict[str, Any]]) -> None:
    """Each with its `account_number`, `made_of` and `findings`."""
    if made:
        session.execute(_KEEP_REPORTS, {"period": period, "reports": orjson.dumps(made).decode()})
