"""What the pages of one company show beside its lists."""

from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from typing import Any, Final

from hivematrix_common.domain.vocabulary import RATES

from hivematrix_codex import store
from hivematrix_codex.services import history
from hivematrix_codex.store import company_page

LATELY: Final = 8
RATE_WORDS: Final = {
    "per_user": "A user",
    "per_workstation": "A workstation",
    "per_server": "A server",
    "per_vm": "A VM",
    "per_switch": "A switch",
    "per_firewall": "A firewall",
    "per_hour": "An hour of work",
    "backup_base_workstation": "Backup of a workstation",
    "backup_base_server": "Backup of a server or VM",
    "backup_included_tb": "TB of backup included each",
    "backup_per_tb": "A further TB of backup",
}


def overview(account: str, *, internal: bool) -> dict[str, Any]:
    """How much there is of each kind, the places, whose systems tell of it; for the operator what changed lately."""
    session = store.session()
    lately = history.newest({"account_number": account}, LATELY) if internal else []
    return {
        "held": store.holdings(session, account),
        "places": company_page.places(session, account),
        "sites": company_page.sites(session, account) if internal else [],
        "lately": lately,
    }


def plan(company: Mapping[str, Any], today: date) -> dict[str, Any]:
    """The version in force today, what it charges, and every price it ever had."""
    name, term = company["billing_plan"], company["contract_term"]
    versions = store.list_plans(store.session(), name, term) if name else []
    in_force = next((one for one in versions if one["valid_from"] <= today), None)
    return {"in_force": in_force, "versions": versions, "prices": prices(versions), "rate_words": RATE_WORDS}


def prices(versions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Each rate through a plan's versions, oldest first, as a line is drawn; those that were never charged left out."""
    found = []
    for rate in RATES:
        steps = [(one["valid_from"], Decimal(one[rate] or 0)) for one in reversed(versions)]
        if any(amount for _, amount in steps):
            found.append({"rate": rate, "word": RATE_WORDS[rate], "steps": steps, "top": max(a for _, a in steps)})
    return found
