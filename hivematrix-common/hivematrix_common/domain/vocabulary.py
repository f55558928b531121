"""The words of a plan that Codex stores and Ledger bills by: terms, rates, types, count policies."""

import re
from typing import Final

from hivematrix_common.domain.errors import DomainError

TERMS: Final = ("Month to Month", "1 Year", "2 Year", "3 Year")
RATES: Final = (
    *("per_user", "per_workstation", "per_server", "per_vm", "per_switch", "per_firewall", "per_hour"),
    *("backup_base_workstation", "backup_base_server", "backup_included_tb", "backup_per_tb"),
)
COUNT_POLICIES: Final = ("end_of_period", "any_day", "prorate_actual", "prorate_30")
ASSET_TYPES: Final = ("Workstation", "Server", "VM", "Switch", "Firewall", "Custom", "No Charge")
USER_TYPES: Final = ("Paid", "Custom", "Free")

_YEARS = re.compile(r"([123])[ -]*(?:years?|yrs?|y)")
_WORDS = {"one": "1", "two": "2", "three": "3"}
_MONTHLY = {"", "month to month", "monthly", "month", "mtm", "m2m", "month by month"}
_ANNUAL = {"annual", "annually", "yearly", "year"}


def normalise_term(value: str | None, field: str = "term") -> str:
    """One of TERMS from any usual spelling (`1-Year`, `monthly`, `2 years`, empty); DomainError for an unknown one."""
    text = " ".join((value or "").lower().replace("-", " ").replace("_", " ").split())
    if text in _MONTHLY:
        return TERMS[0]
    if text in _ANNUAL:
        return TERMS[1]
    first, _, rest = text.partition(" ")
    match = _YEARS.fullmatch(f"{_WORDS.get(first, first)} {rest}".strip())
    if not match:
        raise DomainError(field, f"expected one of {', '.join(TERMS)}, got {value!r}")
    return f"{match[1]} Year"
