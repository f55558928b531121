"""The invoice's number, dates and CSV (RFC 4180)."""

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

from .values import Document

HEADER: Final = "InvoiceNo,Customer,InvoiceDate,DueDate,Item(Product/Service),Description,Qty,Rate,Amount\r\n"
_ITEM: Final = {
    "user": "Managed Services",
    "asset": "Managed Services",
    "backup": "Backup Services",
    "hours": "Hourly Labor",
    "item": "Custom Charge",
    "tax": "Tax",
}
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r")
_needs_quotes = re.compile('[",\r\n]').search


def text_cell(text: str) -> str:
    """A cell no spreadsheet takes for a formula, quoted when it must be."""
    if text.startswith(_FORMULA):
        text = "'" + text
    return '"' + text.replace('"', '""') + '"' if _needs_quotes(text) else text


def invoice_csv(body: Document, digits: int) -> str:
    """Zero-amount lines are left out; Qty times Rate rounds to Amount on every row."""
    return HEADER + "".join(_rows(body, digits))


def _rows(body: Document, digits: int) -> Iterator[str]:
    head = ",".join(text_cell(body[key]) for key in ("invoice_number", "company_name", "invoice_date", "due_date"))
    zero = format(Decimal(0).scaleb(-digits), "f")
    rates: dict[str, str] = {}
    for line in body["lines"]:
        amount, rate = line["amount"], line["rate"]
        if amount == zero:
            continue
        if rate not in rates:
            rates[rate] = _with_digits(rate, digits)
        cell = text_cell(line["description"])
        yield f"{head},{_ITEM[line['kind']]},{cell},{line['quantity']},{rates[rate]},{amount}\r\n"


def _with_digits(rate: str, digits: int) -> str:
    """A rate shows at least the currency's digits."""
    whole, _, decimals = rate.partition(".")
    return f"{whole}.{decimals.ljust(digits, '0')}" if decimals or digits else whole
