"""How a bill leaves the house: file names of invoices."""

import re

from hivematrix_ledger.domain.receipt import Document

_UNFIT = re.compile(r"[^A-Za-z0-9 _-]")


def csv_name(body: Document) -> str:
    """The company's name reduced to what every file system takes, and the month."""
    company = _UNFIT.sub("", body["company_name"]).strip().replace(" ", "_")
    return f"{company or body['account_number']}_{body['period']}.csv"


def zip_member(body: Document) -> str:
    """In a ZIP of many the account keeps companies of one name apart."""
    return csv_name(body).removesuffix(".csv") + f"_{body['account_number']}.csv"
