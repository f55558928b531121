"""How a bill leaves the house: its invoice's file name."""

import re

from hivematrix_ledger.domain.receipt import Document

_UNFIT = re.compile(r"[^A-Za-z0-9 _-]")


def csv_name(body: Document) -> str:
    """The company's name reduced to what every file system takes, and the month."""
    company = _UNFIT.sub("", body["company_name"]).strip().replace(" ", "_")
    return f"{company or body['account_number']}_{body['period']}.csv"
