"""Sealed bills as people ask for them; everything read is as it was sealed."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from hivematrix_common.clock import instant_text
from hivematrix_common.database import AnySession
from hivematrix_common.domain.money import decimal_text, minor_digits, round_half_up
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import FieldError, Problem

from hivematrix_archive.domain.filter import Filter
from hivematrix_archive.services import log
from hivematrix_archive.store import reading as store

_FILE_NAME = re.compile(r"[^A-Za-z0-9 _-]")
_AMOUNTS = re.compile(r"total_.*|amount")


def no_invoice(invoice: str) -> Problem:
    return Problem("not_found", f"No invoice {invoice} is sealed.")


def snapshot(session: AnySession, invoice: str) -> dict[str, Any]:
    """Every column, the document as `billing_data`, and the checkpoint that first covers it."""
    row = _known(store.snapshot(session, invoice), invoice)._asdict()
    return shown(row) | {"billing_data": orjson.Fragment(bytes(row["body"])), "body": row["body_sha256"]}


def body(session: AnySession, invoice: str) -> bytes:
    """The exact bytes that are sealed."""
    return bytes(_known(store.body(session, invoice), invoice))


def csv(session: AnySession, invoice: str) -> tuple[str, bytes]:
    """A file name and the exact CSV."""
    row = _known(store.csv(session, invoice), invoice)
    stem = _FILE_NAME.sub("", row.company_name).strip().replace(" ", "_") or row.company_account_number
    return f"{stem}_{Period(row.billing_year, row.billing_month)}.csv", bytes(row.csv)


def line_items(session: AnySession, invoice: str) -> list[dict[str, Any]]:
    found = store.snapshot(session, invoice)
    currency = _known(found, invoice).currency
    return [shown(row._asdict(), currency) for row in store.lines(session, invoice)]


def proof(session: AnySession, invoice: str, size: int | None) -> str:
    return log.proof(session, _known(store.log_index(session, invoice), invoice), size)


def search(session: AnySession, wanted: Filter, limit: int, offset: int, cursor: str) -> dict[str, Any]:
    """One page, newest first. `next` is the cursor of the following one."""
    before = _cursor(cursor, 1)
    rows = store.search(session, wanted, limit + 1, offset, before[0] if before else None)
    total, exact = store.count(session, wanted)
    page = rows[:limit]
    return {
        "total": total,
        "total_exact": exact,
        "limit": limit,
        "offset": offset,
        "next": str(page[-1].id) if len(rows) > limit else None,
        "results": [shown(row._asdict()) for row in page],
    }


def company(session: AnySession, account: str, limit: int, cursor: str) -> dict[str, Any]:
    """A company's bills, newest period first."""
    after = _cursor(cursor, 3)
    rows = store.company(session, account, limit + 1, (after[0], after[1], after[2]) if after else None)
    page = rows[:limit]
    total, _ = store.count(session, Filter(account_number=account))
    last = page[-1] if page else None
    more = last is not None and len(rows) > limit
    return {
        "company_account_number": account,
        "company_name": page[0].company_name if page else None,
        "total_snapshots": total,
        "next": f"{last.billing_year}-{last.billing_month}-{last.id}" if last and more else None,
        "snapshots": [shown(row._asdict()) for row in page],
    }


def sealed(session: AnySession, period: Period, accounts: Sequence[str], *, documents: bool) -> Iterator[bytes]:
    """The period's sealed bills, one JSON document each: the receipt, and the exact body as `document` when asked."""
    # The rows are here before the answer begins: while it is sent there is no session any more.
    rows = store.sealed(session, period.year, period.month, accounts, documents=documents)
    return (orjson.dumps(_sealed_line(row, documents=documents)) for row in rows)


def _sealed_line(row: Any, *, documents: bool) -> dict[str, Any]:
    line = {
        "account_number": row.company_account_number,
        "invoice_number": row.invoice_number,
        "kind": row.kind,
        "revision": row.revision,
        "body": row.body_sha256,
        "log_index": row.log_index,
        "sealed_at": instant_text(row.archived_at),
        "checkpoint": row.checkpoint,
    }
    return line | {"document": orjson.Fragment(bytes(row.body))} if documents else line


def day_bounds(first: date | None, last: date | None, zone: ZoneInfo) -> tuple[datetime | None, datetime | None]:
    """The instants [first 00:00, day after last 00:00) in the billing time zone: both days count whole."""
    since = datetime(first.year, first.month, first.day, tzinfo=zone) if first else None
    if last is None:
        return since, None
    after = last + timedelta(days=1)
    return since, datetime(after.year, after.month, after.day, tzinfo=zone)


def shown(row: Mapping[str, Any], currency: str | None = None) -> dict[str, Any]:
    """A row for JSON: amounts in the currency's digits, other decimals plain, dates and instants in ISO 8601."""
    digits = minor_digits(currency or row.get("currency") or "USD")
    return {str(name): _shown(name, value, digits) for name, value in row.items()}


def _shown(name: str, value: Any, digits: int) -> Any:
    if isinstance(value, Decimal):
        return decimal_text(round_half_up(value, digits) if _AMOUNTS.fullmatch(name) else value.normalize())
    if isinstance(value, datetime):
        return instant_text(value)
    return value.isoformat() if isinstance(value, date) else value


def _known(found: Any, invoice: str) -> Any:
    if found is None:
        raise no_invoice(invoice)
    return found


def _cursor(text: str, parts: int) -> list[int] | None:
    if not text:
        return None
    found = text.split("-")
    if len(found) != parts or not all(part.isdecimal() and part.isascii() and len(part) < 19 for part in found):  # noqa: PLR2004
        message = "is not one that this list gave"
        raise Problem("invalid", f"cursor: {message}.", fields=[FieldError("cursor", message)])
    return [int(part) for part in found]
