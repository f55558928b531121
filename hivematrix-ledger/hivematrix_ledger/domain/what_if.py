"""A bill with another plan, term, number of items or override: the same engine, on inputs that are changed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.vocabulary import normalise_term

from hivematrix_ledger.domain.engines.v1.counting import Item, asset_items, share, user_items
from hivematrix_ledger.domain.engines.v1.months import month_named
from hivematrix_ledger.domain.engines.v1.plan import overrides_in_force, policy_of, version_for
from hivematrix_ledger.domain.engines.v1.values import NoBillError
from hivematrix_ledger.domain.inputs import PlanBook

Document = dict[str, Any]

# What may be counted otherwise, and the type it is billed as.
COUNTED: Final = {
    "user": "Paid",
    "workstation": "Workstation",
    "server": "Server",
    "vm": "VM",
    "switch": "Switch",
    "firewall": "Firewall",
}


@dataclass(frozen=True, slots=True)
class Supposed:
    """What is supposed to be otherwise; what is None or missing stays. A count is of all items of a type; an override
    of None takes the company's own away; `hours` are billable ones worked in the month.
    """

    plan: str | None = None
    term: str | None = None
    counts: Mapping[str, int] = field(default_factory=dict)
    overrides: Mapping[str, str | None] = field(default_factory=dict)
    hours: str | None = None


def supposing(inputs: Document, supposed: Supposed, plans: PlanBook) -> Document:
    """The inputs of such a bill. DomainError names what cannot be. `inputs` stays as it is."""
    overrides = _overrides(inputs, supposed)
    term = None if supposed.term is None else normalise_term(supposed.term)
    company = inputs["company"] | _stated(billing_plan=supposed.plan, contract_term=term)
    changed = inputs | {"company": company, "overrides": overrides}
    changed["plans"] = inputs["plans"] + _plans(changed, plans)
    for name, number in supposed.counts.items():
        if name not in COUNTED:
            raise DomainError(f"counts.{name}", f"expected one of {', '.join(COUNTED)}")
        changed |= _people(changed, number) if name == "user" else _machines(changed, COUNTED[name], number)
    if supposed.hours is not None:
        changed["entries"] = [*inputs["entries"], _entry(inputs["period"], supposed.hours)]
    return changed


def _stated(**values: str | None) -> dict[str, str]:
    return {name: value for name, value in values.items() if value is not None}


def _overrides(inputs: Document, supposed: Supposed) -> list[Document]:
    """The company's own, but for those that are supposed to be otherwise; another plan goes before its own plan's."""
    month = inputs["period"]
    replaced = set(supposed.overrides) | ({"billing_plan"} if supposed.plan is not None else set())
    kept = [row for row in inputs["overrides"] if row["key"] not in replaced]
    stated = ((key, value) for key, value in supposed.overrides.items() if value is not None)
    return kept + [{"key": key, "value": value, "from_period": month, "to_period": month} for key, value in stated]


def _plans(inputs: Document, plans: PlanBook) -> list[Document]:
    """The plan version that the changed company asks for, where the inputs do not hold it."""
    company = inputs["company"]
    named = [row["value"] for row in inputs["overrides"] if row["key"] == "billing_plan"]
    name = ((named[0] if named else company["billing_plan"]) or "").strip()
    version = plans.in_force(name, company["contract_term"], month_named(inputs["period"]).last)
    return [version] if version and version not in inputs["plans"] else []


def _people(inputs: Document, number: int) -> Document:
    gone, added = _moved(inputs, user_items(inputs), "Paid", number)
    more = [_manual("Paid", at) | {"name": f"Person {at}", "active": True} for at in range(1, added + 1)]
    return {"users": [row for row in inputs["users"] if row["uid"] not in gone] + more}


def _machines(inputs: Document, kind: str, number: int) -> Document:
    gone, added = _moved(inputs, asset_items(inputs), kind, number)
    more = [_manual(kind, at) | {"hostname": f"{kind} {at}"} for at in range(1, added + 1)]
    return {"assets": [row for row in inputs["assets"] if row["uid"] not in gone] + more}


def _moved(inputs: Document, items: Sequence[Item], kind: str, number: int) -> tuple[set[str], int]:
    """Who of a type goes so that `number` count, the last by name first, or how many come."""
    month = month_named(inputs["period"])
    try:
        policy = policy_of(version_for(inputs, overrides_in_force(inputs, month), month))
    except NoBillError:
        return set(), 0  # whatever counts, there is no bill
    of_kind = (item for item in items if item.type == kind)
    counted = sorted(
        (item.name, item.uid) for item in of_kind if share(policy, item.active_from, item.active_to, month)
    )
    return {uid for _, uid in counted[number:]}, max(number - len(counted), 0)


def _manual(kind: str, at: int) -> Document:
    row = {"uid": f"what-if:{kind}:{at}", "source": "manual", "billing_type": kind, "custom_cost": None}
    return row | {"active_from": None, "active_to": None}


def _entry(period: str, hours: str) -> Document:
    return {"uid": "what-if:hours", "ticket": "what if", "worked_on": f"{period}-01", "hours": hours, "billable": True}
