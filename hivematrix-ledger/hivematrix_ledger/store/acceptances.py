"""Accepted bills, the entries they hold, and bills on their way to the archive."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

import orjson
from hivematrix_common.database import AnySession, own_account
from hivematrix_common.prepared import Prepared
from sqlalchemy import Connection, Row, text

from hivematrix_ledger.domain.acceptance import Document, Settled

from . import listed

_OF_PERIOD = text(
    "SELECT account_number, invoice_number, body_sha256, total, currency FROM bills"
    " WHERE period = :period AND account_number IN (SELECT json_array_elements_text(:accounts))"
    " AND (CAST(:own AS text) IS NULL OR account_number = :own)"
)
_OF_ONE = Prepared(
    "accepted_bill",
    ("text", "text", "text"),
    "SELECT account_number, invoice_number, body_sha256, total, currency FROM bills"
    " WHERE period = $1 AND account_number = $2 AND ($3 IS NULL OR account_number = $3)",
)
_SENT = text(
    "SELECT account_number, period FROM sealing WHERE account_number IN (SELECT json_array_elements_text(:accounts))"
)
_NOTE_SENT = text(
    "INSERT INTO sealing (account_number, period, body_sha256, sent_at)"
    " SELECT account_number, :period, body_sha256, :sent_at"
    " FROM json_to_recordset(:bills) AS b (account_number text, body_sha256 text)"
    " ON CONFLICT (account_number, period)"
    " DO UPDATE SET body_sha256 = excluded.body_sha256, sent_at = excluded.sent_at"
)
_FORGET_SENT = text(
    "DELETE FROM sealing USING json_to_recordset(:bills) AS b (account_number text, period text)"
    " WHERE sealing.account_number = b.account_number AND sealing.period = b.period"
)
_COLUMNS = (
    ("account_number", "text"),
    ("period", "text"),
    ("invoice_number", "text"),
    ("body_sha256", "text"),
    ("currency", "text"),
    ("total", "numeric"),
    ("totals", "jsonb"),
    ("recurring", "numeric"),
    ("prepaid_monthly", "numeric"),
    ("prepaid_taken", "jsonb"),
    ("prepaid_pool", "numeric"),
    ("log_index", "bigint"),
    ("sealed_at", "timestamptz"),
    ("checkpoint", "text"),
)
_NAMES = ", ".join(name for name, _ in _COLUMNS)
_RECORD = text(
    f"INSERT INTO acceptances ({_NAMES}, accepted_by, accepted_at)"  # noqa: S608 - our own names
    f" SELECT {_NAMES}, :accepted_by, :accepted_at"
    f" FROM json_to_recordset(:bills) AS b ({', '.join(f'{name} {kind}' for name, kind in _COLUMNS)})"
)
_RECORD_ENTRIES = text(
    "INSERT INTO accepted_entries (uid, account_number, period, hours, worked_on, billable)"
    " SELECT uid, b.account_number, b.period, hours, worked_on, billable"
    " FROM json_to_recordset(:bills) AS b (account_number text, period text, entries json),"
    " LATERAL json_to_recordset(entries) AS listed (uid text, hours numeric, worked_on date, billable boolean)"
    " ON CONFLICT (uid) DO NOTHING"
)
_BILLED = text(
    "SELECT account_number, uid, trim_scale(hours)::text AS hours, worked_on::text AS worked_on, billable,"
    " invoice_number FROM accepted_entries JOIN bills USING (account_number, period)"
    " WHERE period >= :since AND hours IS NOT NULL"
    " AND account_number IN (SELECT json_array_elements_text(:accounts))"
)


def of_period(session: AnySession, period: str, accounts: Sequence[str]) -> dict[str, Row[Any]]:
    """The period's accepted bills among `accounts`: of each the invoice in force."""
    rows = session.execute(_OF_PERIOD, {"period": period, "accounts": listed(accounts), "own": own_account()})
    return {row.account_number: row for row in rows}


def of_one(connection: Connection, period: str, account: str) -> Row[Any] | None:
    """One company's accepted bill: the invoice in force."""
    return _OF_ONE.one(connection, period, account, own_account())


def sent(session: AnySession, accounts: Sequence[str]) -> list[tuple[str, str]]:
    """Account and period of bills that were sent to the archive and neither recorded nor forgotten since."""
    return [(row.account_number, row.period) for row in session.execute(_SENT, {"accounts": listed(accounts)})]


def note_sent(session: AnySession, period: str, bills: Iterable[tuple[str, str]], at: datetime) -> None:
    """`bills` are accounts with their body's digest."""
    rows = [{"account_number": account, "body_sha256": digest} for account, digest in bills]
    session.execute(_NOTE_SENT, {"period": period, "bills": _json(rows), "sent_at": at})


def forget_sent(session: AnySession, bills: Iterable[tuple[str, str]]) -> None:
    """`bills` are accounts with their period."""
    rows = [{"account_number": account, "period": period} for account, period in bills]
    session.execute(_FORGET_SENT, {"bills": _json(rows)})


def record(session: AnySession, bills: Sequence[tuple[Settled, Document]], *, by: str, at: datetime) -> int:
    """Insert acceptances (what is kept of a bill, with its receipt) and their entries; returns how many of those
    entries another bill holds already.
    """
    rows = _json([bill.as_row(receipt) for bill, receipt in bills])
    session.execute(_RECORD, {"bills": rows, "accepted_by": by, "accepted_at": at})
    return hold(session, [bill for bill, _ in bills])


def hold(session: AnySession, bills: Sequence[Settled]) -> int:
    """Insert the entries of bills; returns how many of them another bill holds already."""
    names = ("account_number", "period", "entries")
    rows = _json([{name: getattr(bill, name) for name in names} for bill in bills])
    inserted: int = session.execute(_RECORD_ENTRIES, {"bills": rows}).rowcount  # type: ignore[attr-defined]
    return sum(len(bill.entries) for bill in bills) - inserted


def billed_entries(session: AnySession, since: str, accounts: Sequence[str]) -> dict[str, list[Document]]:
    """By account the entries on its bills from a month on, each as its invoice took it."""
    found: dict[str, list[Document]] = {account: [] for account in accounts}
    for row in session.execute(_BILLED, {"since": since, "accounts": listed(accounts)}).mappings():
        found[row["account_number"]].append(dict(row))
    return found


def _json(rows: list[dict[str, Any]]) -> str:
    return orjson.dumps(rows).decode()
