"""The invoice as the file that QuickBooks takes, with the names of its products that MSPs have set up there."""

import csv
import io
from decimal import Decimal

from hivematrix_ledger.domain.receipt import Document

_ITEM, _DESCRIPTION = 4, 5


def quickbooks(body: Document, invoice: bytes) -> bytes:
    """`invoice` is the document's CSV. The same rows and amounts; line items are `Custom Services` here."""
    header, *rows = csv.reader(io.StringIO(invoice.decode(), newline=""))
    lines = [line for line in body["lines"] if Decimal(line["amount"])]
    for row, line in zip(rows, lines, strict=True):
        if line["kind"] == "item":
            row[_ITEM], row[_DESCRIPTION] = "Custom Services", f"Custom Item: {line['description']}"
    told = io.StringIO(newline="")
    csv.writer(told, lineterminator="\r\n").writerows([header, *rows])
    return told.getvalue().encode()
