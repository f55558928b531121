"""The checks of a sealing request: nothing enters the archive that disagrees with itself."""

import csv
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo

from hivematrix_common.domain.canonical import canonical, digest
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.money import minor_digits, round_half_up

from hivematrix_archive.domain.bill import (
    CHARGES,
    COLUMN_PLACES,
    Bill,
    UnknownFormatError,
    first_not_decimal,
    invoice_number,
    read_bill,
)

CSV_HEADER = "InvoiceNo,Customer,InvoiceDate,DueDate,Item(Product/Service),Description,Qty,Rate,Amount"
CSV_CELLS = 9
TOLD = ("created_by", "notes", "job")
TOLD_LIMIT = 4000
Column = tuple[str, ...]
MEMBERS = {"body", "csv", "digest", "meta"}
SHAPE = '{"body": {...}, "csv": "...", "digest": "sha256:...", "meta": {...}}'
FLAT_PAYLOAD = f"the flat payload of earlier releases is no longer taken; send {SHAPE}, described at /api/docs"


class RefusedError(DomainError):
    """A refusal with its own code in the error table."""

    def __init__(self, code: str, field: str, message: str) -> None:
        super().__init__(field, message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Checked:
    """A request that may be sealed: the bill, its exact bytes and their digest, and what the caller said about it."""

    bill: Bill
    body: bytes
    digest: str
    csv: bytes
    told: dict[str, str | None]


def check_request(request: Any, now: datetime, zone: ZoneInfo) -> Checked:
    """Everything that can be checked without the archive; RefusedError or DomainError names what disagrees.

    `request` is parsed JSON.
    """
    _check_shape(request)
    body = canonical(request["body"], "body")
    found = digest(body)
    if request["digest"] != found:
        raise DomainError("digest", f"the body's digest is {found}, got {request['digest']!r}")
    try:
        bill = read_bill(request["body"])
    except UnknownFormatError as error:
        raise RefusedError("unknown_format", error.field, error.message) from None
    _check_number(bill)
    if not bill.period.has_ended(now, zone):
        raise RefusedError("period_open", "body.period", f"{bill.period} has not ended in {zone.key}")
    amounts = [Decimal(line[5]) for line in bill.lines]
    _check_sums(bill, amounts)
    text = request["csv"].encode()
    if bill.csv_sha256 != digest(text):
        raise DomainError("csv", f"its digest is {digest(text)}, the body says {bill.csv_sha256}")
    _check_csv(request["csv"], bill, amounts)
    return Checked(bill, body, found, text, {name: request["meta"].get(name) for name in TOLD})


def _check_shape(request: Any) -> None:
    if not isinstance(request, dict) or set(request) != MEMBERS:
        flat = isinstance(request, dict) and "billing_data_json" in request
        raise DomainError("request", FLAT_PAYLOAD if flat else f"expected {SHAPE}, described at /api/docs")
    if not isinstance(request["csv"], str):
        raise DomainError("csv", "expected text")
    meta = request["meta"]
    if not isinstance(meta, dict) or not set(meta) <= set(TOLD):
        raise DomainError("meta", f"expected an object with no more than {', '.join(TOLD)}")
    for name, value in meta.items():
        if value is not None and (not isinstance(value, str) or len(value) > TOLD_LIMIT or "\x00" in value):
            raise DomainError(f"meta.{name}", f"expected text of at most {TOLD_LIMIT} characters or null")


def _check_number(bill: Bill) -> None:
    if bill.kind == "credit_note" and bill.corrects is None:
        raise DomainError("body.corrects", "a credit note names the invoice that it corrects")
    right = invoice_number(bill.account_number, bill.period)
    # A correction's number depends on what is sealed: domain/corrections.py.
    if bill.corrects is None and bill.invoice_number != right:
        raise RefusedError("conflict", "body.invoice_number", f"the right number is {right}, got {bill.invoice_number}")
    if not bill.period.contains(bill.invoice_date):
        raise DomainError("body.invoice_date", f"{bill.invoice_date} is not in {bill.period}")
    if bill.due_date < bill.invoice_date:
        raise DomainError("body.due_date", f"{bill.due_date} is before the invoice date {bill.invoice_date}")


def _check_sums(bill: Bill, amounts: list[Decimal]) -> None:
    sums = dict.fromkeys(CHARGES, Decimal(0))
    for row, amount in zip(bill.lines, amounts, strict=True):
        sums[row[0]] += amount
    for kind, found in sums.items():
        if found != bill.totals[kind]:
            raise DomainError(f"body.totals.{kind}", f"the lines add up to {found}, got {bill.totals[kind]}")
    total = sum(sums.values())
    if total != bill.totals["total"]:
        raise DomainError("body.totals.total", f"the lines add up to {total}, got {bill.totals['total']}")


def _check_csv(text: str, bill: Bill, amounts: list[Decimal]) -> None:
    if not text.startswith(f"{CSV_HEADER}\r\n") or not text.endswith("\r\n"):
        raise DomainError("csv", f"expected rows that end in CRLF, the first of them {CSV_HEADER}")
    rows = _rows(text)
    if any(len(row) != CSV_CELLS for row in rows):
        raise DomainError("csv", f"expected {CSV_CELLS} cells in every row")
    columns = list(zip(*rows, strict=True)) or [()] * CSV_CELLS
    fixed = {0: bill.invoice_number, 2: bill.invoice_date.isoformat(), 3: bill.due_date.isoformat()}
    for column, wanted in fixed.items():
        if set(columns[column]) - {wanted}:
            bad = next(at for at, text in enumerate(columns[column], 1) if text != wanted)
            raise DomainError(f"csv row {bad}", f"expected {wanted}, got {columns[column][bad - 1]!r}")
    _check_figures(columns[6], columns[7], columns[8], minor_digits(bill.currency))
    _check_amounts(list(map(Decimal, columns[8])), amounts)


def _rows(text: str) -> list[list[str]]:
    lines = text.split("\r\n")[1:-1]
    if '"' not in text and text.count("\r") == text.count("\n") == len(lines) + 1:
        return [line.split(",") for line in lines]  # nothing is quoted: the same rows in a fifth of the time
    try:
        return list(csv.reader(lines, strict=True))
    except csv.Error as error:
        raise DomainError("csv", f"not RFC 4180: {error}") from None


def _check_figures(quantities: Column, rates: Column, amounts: Column, places: int) -> None:
    for texts, digits in ((quantities, COLUMN_PLACES), (rates, COLUMN_PLACES), (amounts, places)):
        bad = first_not_decimal(texts, digits)
        if bad is not None:
            raise DomainError(f"csv row {bad + 1}", f"expected a plain decimal, got {texts[bad]!r}")
    rows = list(zip(quantities, rates, amounts, strict=True))
    for quantity, rate, amount in set(rows):
        product = _product(quantity, rate, places)
        if product != Decimal(amount):
            row = rows.index((quantity, rate, amount)) + 1
            raise DomainError(f"csv row {row}", f"{quantity} x {rate} is {product}, got {amount}")


def _check_amounts(shown: list[Decimal], amounts: list[Decimal]) -> None:
    """The rows show every line's amount that is not zero, and nothing else."""
    if shown != list(filter(None, amounts)) and sorted(shown) != sorted(filter(None, amounts)):
        sums = (sum(some, Decimal(0)) for some in (shown, amounts))
        raise DomainError("csv", "its rows (sum {}) are not the bill's lines (sum {})".format(*sums))


@lru_cache(maxsize=10_000)
def _product(quantity: str, rate: str, places: int) -> Decimal:
    return round_half_up(Decimal(quantity) * Decimal(rate), places)
