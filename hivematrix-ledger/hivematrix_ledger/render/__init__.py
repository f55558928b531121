"""How a bill leaves the house: file names, the PDF, the file for QuickBooks."""

import re

from hivematrix_ledger.domain.receipt import Document

_UNFIT = re.compile(r"[^A-Za-z0-9 _-]")


def csv_name(body: Document) -> str:
    """The company's name reduced to what every file system takes, and the month."""
    return f"{_company(body) or body['account_number']}_{body['period']}.csv"


def csv_name_among(body: Document) -> str:
    """The same in a ZIP of many: with the account, and a correction's number, so that no two are alike."""
    parts = filter(None, (_company(body), body["account_number"], body["period"]))
    return f"{'_'.join(parts)}{correction_of(body)}.csv"


def pdf_name(body: Document) -> str:
    return f"{body['invoice_number']}.pdf"


def correction_of(body: Document) -> str:
    """`-C1` of the first correction, nothing of an invoice as it was first sealed."""
    return str(body["invoice_number"]).removeprefix(f"{body['account_number']}-{body['period'].replace('-', '')}")


def _company(body: Document) -> str:
    return _UNFIT.sub("", body["company_name"]).strip().replace(" ", "_")


def safe_cell(text: str) -> str:
    """A cell that no spreadsheet takes for a formula; the CSV's writer quotes it."""
    return "'" + text if text.startswith(("=", "+", "-", "@", "\t", "\r")) else text
