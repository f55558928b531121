"""Sealed bills as people ask for them; everything read is as it was sealed."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime
from decimal import Decimal
from typing import Any

import orjson
from hivematrix_common.clock import instant_text
from hivematrix_common.database import AnySession, Reader
from hivematrix_common.domain.money import decimal_text, minor_digits, round_half_up
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import FieldError, Problem

from hivematrix_archive.domain.filter import Filter
from hivematrix_archive.services import log
from hivematrix_archive.store import corrections
from hivematrix_archive.store import reading as store
from hivematrix_archive.store.search import Search

_FILE_NAME = re.compile(r"[^A-Za-z0-9 _-]")
_AMOUNTS = re.compile(r"total_.*|amount")


def no_invoice(invoice: str) -> Problem:
    return Problem("not_found", f"No invoice {invoice} is sealed.")


def snapshot(session: AnySession, invoice: str) -> dict[str, Any]:
    """Every column, the document as `billing_data` (null once erased), its first checkpoint, and what corrects it."""
    row = _known(store.snapshot(session, invoice), invoice)._asdict()
    document = orjson.Fragment(bytes(row["body"])) if row["body"] else None
    found = shown(row) | {"billing_data": document, "body": row["body_sha256"]}
    rows = corrections.correcting(session, row["company_account_number"], [invoice])
    return found | {"corrected_by": [shown(one._asdict()) for one in rows]}


def body(session: Reader, invoice: str) -> bytes:
    """The exact bytes that are sealed."""
    return _not_erased(session, invoice, _known(store.body(session, invoice), invoice))


def csv(session: AnySession, invoice: str) -> tuple[str, bytes]:
    """A file name and the exact CSV."""
    row = _known(store.csv(session, invoice), invoice)
    stem = _FILE_NAME.sub("", row.company_name).strip().replace(" ", "_") or row.company_account_number
    name = f"{stem}_{Period(row.billing_year, row.billing_month)}.csv"
    return name, _not_erased(session, invoice, bytes(row.csv))


def _not_erased(session: Reader, invoice: str, data: bytes) -> bytes:
    if data:
        return data
    sealed = store.body_digest(session, invoice)
    detail = f"{invoice} was erased. The document with the digest {sealed} was sealed; its proof stays."
    raise Problem("gone", detail, digest=sealed)


def line_items(session: AnySession, invoice: str) -> list[dict[str, Any]]:
    found = store.snapshot(session, invoice)
    currency = _known(found, invoice).currency
    return [shown(row._asdict(), currency) for row in store.lines(session, invoice)]


def proof(session: AnySession, invoice: str, size: int | None) -> str:
    return log.proof(session, _known(store.log_index(session, invoice), invoice), size)


def company(session: AnySession, account: str, limit: int, cursor: str) -> dict[str, Any]:
    """A company's bills, newest period first, what corrects which, and what all of them together come to."""
    after = opened_cursor(cursor, 3)
    rows = store.company(session, account, limit + 1, (after[0], after[1], after[2]) if after else None)
    page = rows[:limit]
    total, _ = Search(session, Filter(account_number=account)).count()
    last, of_account = page[-1] if page else None, corrections.balances(session, account)
    more = last is not None and len(rows) > limit
    balances = {name: _shown("amount", total, minor_digits(name)) for name, total in of_account.items()}
    return {
        "company_account_number": account,
        "company_name": next((row.company_name for row in page if row.company_name), None),
        "total_snapshots": total,
        "next": f"{last.billing_year}-{last.billing_month}-{last.id}" if last and more else None,
        "balance": next(iter(balances.values())) if len(balances) == 1 else None,
        "balances": balances,
        "snapshots": _with_corrections(session, account, page),
    }


def _with_corrections(session: AnySession, account: str, page: Sequence[Any]) -> list[dict[str, Any]]:
    """Each row with the numbers that correct it; an invoice with what its credit notes leave of it."""
    found = {row.invoice_number: shown(row._asdict()) | {"corrected_by": []} for row in page}
    left = {row.invoice_number: row.total_amount for row in page if row.kind == "invoice"}
    for one in corrections.correcting(session, account, list(found)):
        found[one.corrects]["corrected_by"].append(one.invoice_number)
        if one.kind == "credit_note":
            left[one.corrects] += one.total_amount
    for row in page:
        number, digits = row.invoice_number, minor_digits(row.currency)
        found[number]["balance"] = _shown("amount", left[number], digits) if number in left else None
    return list(found.values())


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
    document = orjson.Fragment(bytes(row.body)) if documents and row.body else None
    return line | {"document": document} if documents else line


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


def opened_cursor(text: str, parts: int) -> list[int] | None:
    if not text:
        return None
    found = text.split("-")
    if len(found) != parts or not all(part.isdecimal() and part.isascii() and len(part) < 19 for part in found):  # noqa: PLR2004
        message = "is not one that this list gave"
        raise Problem("invalid", f"cursor: {message}.", fields=[FieldError("cursor", message)])
    return [int(part) for part in found]
