"""Corrections, and with each how its month stands after it."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import orjson
from hivematrix_common.database import AnySession
from sqlalchemy import Row, text

from hivematrix_ledger.domain.acceptance import Document

from . import listed

_RECORDED = text(
    "SELECT coalesce(max(revision), 0) FROM corrections WHERE account_number = :account AND period = :period"
)
_OF_MONTH = text(
    "SELECT invoice_number, kind, corrects, total, currency, corrected_by, corrected_at FROM corrections"
    " WHERE account_number = :account AND period = :period ORDER BY revision"
)
_COUNTS = text(
    "SELECT account_number, count(*) AS number FROM corrections"
    " WHERE account_number IN (SELECT json_array_elements_text(:accounts)) GROUP BY account_number"
)
_COLUMNS = (
    ("account_number", "text"),
    ("period", "text"),
    ("revision", "integer"),
    ("kind", "text"),
    ("invoice_number", "text"),
    ("corrects", "text"),
    ("body_sha256", "text"),
    ("currency", "text"),
    ("total", "numeric"),
    ("bill", "text"),
    ("bill_sha256", "text"),
    ("bill_total", "numeric"),
    ("credited", "numeric"),
    ("prepaid_monthly", "numeric"),
    ("prepaid_taken", "jsonb"),
    ("prepaid_pool", "numeric"),
    ("releases", "text"),
    ("log_index", "bigint"),
    ("sealed_at", "timestamptz"),
    ("checkpoint", "text"),
)
_NAMES = ", ".join(name for name, _ in _COLUMNS)
_RECORD = text(
    f"INSERT INTO corrections ({_NAMES}, corrected_by, corrected_at)"  # noqa: S608 - our own names
    f" SELECT {_NAMES}, :by, :at"
    f" FROM json_to_recordset(:rows) AS r ({', '.join(f'{name} {kind}' for name, kind in _COLUMNS)}) ORDER BY revision"
)


def recorded(session: AnySession, account: str, period: str) -> int:
    """The revision of the month's newest correction; 0 when there is none."""
    found: int = session.scalar(_RECORDED, {"account": account, "period": period})
    return found


def of_month(session: AnySession, account: str, period: str) -> Sequence[Row[Any]]:
    """The month's corrections in their order."""
    return session.execute(_OF_MONTH, {"account": account, "period": period}).all()


def counts(session: AnySession, accounts: Sequence[str]) -> dict[str, int]:
    """How many corrections each account has that has one."""
    return {row.account_number: row.number for row in session.execute(_COUNTS, {"accounts": listed(accounts)})}


def record(session: AnySession, rows: Sequence[Document], *, by: str, at: datetime) -> None:
    """Insert corrections; one that `releases` an invoice takes every entry off the month's bill."""
    session.execute(_RECORD, {"rows": orjson.dumps(rows).decode(), "by": by, "at": at})
