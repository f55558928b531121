"""When a contract ends, and how it stands on the invoice date."""

from datetime import date, timedelta
from typing import Final

from hivematrix_common.domain.errors import DomainError

from .values import Document

_YEARS: Final = {"1 Year": 1, "2 Year": 2, "3 Year": 3}
_SOON: Final = timedelta(days=30)


def contract_end(start: date | None, end: date | None, term: str) -> date | None:
    """The end as given, else N years from the start less a day; 29 February becomes 1 March in a common year."""
    if end or start is None or term not in _YEARS:
        return end
    year = start.year + _YEARS[term]
    try:
        anniversary = start.replace(year=year)
    except ValueError:
        anniversary = date(year, 3, 1)
    return anniversary - timedelta(days=1)


def contract_state(end: date | None, term: str, on: date) -> str:
    """Open (no end), active, ending (within 30 days) or expired."""
    if end is None:
        return "open" if term not in _YEARS else "unknown"
    if end < on:
        return "expired"
    return "ending" if end - on <= _SOON else "active"


def contract_of(inputs: Document, on: date) -> Document:
    company = inputs["company"]
    start, given = _date(company["contract_start"]), _date(company["contract_end"])
    end = contract_end(start, given, company["contract_term"])
    return {
        "start": start and start.isoformat(),
        "end": end and end.isoformat(),
        "state": contract_state(end, company["contract_term"], on),
    }


def _date(text: str | None) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise DomainError("company.contract", f"expected a date such as 2025-10-31, got {text!r}") from None
