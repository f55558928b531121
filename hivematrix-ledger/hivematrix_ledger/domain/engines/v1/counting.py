"""Who and what counts in a month, and with which share of it."""

from typing import Final, NamedTuple

from .months import Month
from .values import Document, NoBillError

ASSET_TYPES: Final = ("Workstation", "Server", "VM", "Switch", "Firewall", "Custom", "No Charge")
USER_TYPES: Final = ("Paid", "Custom", "Free")
DEFAULT_ASSET: Final = "Workstation"
DEFAULT_USER: Final = "Paid"
BACKUP_CLASS: Final = {"Workstation": "W", "Server": "S", "VM": "S"}


class Share(NamedTuple):
    """The part of a month that is billed, `part`/`whole`, and the days behind it."""

    part: int
    whole: int
    first: str
    last: str
    days: int

    @property
    def is_prorated(self) -> bool:
        return self.part != self.whole


class Item(NamedTuple):
    """A person or machine that may count. `cost` is set for Custom; `fault` says why it cannot be billed."""

    uid: str
    name: str
    type: str
    cost: str | None
    origin: str
    """Where its type comes from: override, manual, codex or default."""
    active_from: str | None
    active_to: str | None
    backup_class: str | None
    backup_bytes: int
    fault: str | None


def share(policy: str, active_from: str | None, active_to: str | None, month: Month) -> Share | None:
    """None when the item does not count; both ends count, an open end is open."""
    first = active_from if active_from and active_from > month.first else month.first
    last = active_to if active_to and active_to < month.last else month.last
    if first > last or (policy == "end_of_period" and last != month.last):
        return None
    days = int(last[8:]) - int(first[8:]) + 1
    part, whole = 1, 1
    if policy == "prorate_actual" and days < month.days:
        part, whole = days, month.days
    elif policy == "prorate_30" and days < min(month.days, 30):
        part, whole = days, 30
    return Share(part, whole, first, last, days)


def asset_items(inputs: Document) -> list[Item]:
    overrides = {row["asset_uid"]: row for row in inputs["asset_overrides"]}
    return [_asset(row, overrides.get(row["uid"])) for row in inputs["assets"]]


def user_items(inputs: Document) -> list[Item]:
    """A contact with active = false never counts, in any period."""
    overrides = {row["contact_uid"]: row for row in inputs["user_overrides"]}
    return [_user(row, overrides.get(row["uid"])) for row in inputs["users"] if row["active"]]


def _asset(row: Document, override: Document | None) -> Item:
    name, own = row["hostname"] or row["uid"], row["billing_type"] or DEFAULT_ASSET
    if row["source"] == "manual":
        fault = _fault("asset", name, own, row["custom_cost"], ASSET_TYPES)
        return Item(row["uid"], name, own, row["custom_cost"], "manual", None, None, None, 0, fault)
    kind, cost, origin = own, None, "codex" if row["billing_type"] else "default"
    if override:
        kind, cost, origin = override["billing_type"], override["custom_cost"], "override"
    fault = _fault("asset", name, kind, cost, ASSET_TYPES)
    backup = BACKUP_CLASS.get(own if override and kind == "Custom" else kind)
    size = row["backup_bytes"] or 0
    return Item(row["uid"], name, kind, cost, origin, row["active_from"], row["active_to"], backup, size, fault)


def _user(row: Document, override: Document | None) -> Item:
    name = row["name"] or row["uid"]
    if row["source"] == "manual":
        kind, cost, origin = row["billing_type"] or DEFAULT_USER, row["custom_cost"], "manual"
    elif override:
        kind, cost, origin = override["billing_type"], override["custom_cost"], "override"
    else:
        kind, cost, origin = DEFAULT_USER, None, "default"
    kind = "Free" if kind == "No Charge" else kind
    fault = _fault("user", name, kind, cost, USER_TYPES)
    return Item(row["uid"], name, kind, cost, origin, row["active_from"], row["active_to"], None, 0, fault)


def _fault(noun: str, name: str, kind: str, cost: str | None, known: tuple[str, ...]) -> str | None:
    if kind not in known:
        return f"{noun} {name!r} has the unknown type {kind!r}; known are {', '.join(known)}"
    if kind == "Custom" and (cost is None or cost == ""):
        return f"{noun} {name!r} is Custom without a cost"
    return None


def check_counted(items: list[Item], policy: str, month: Month) -> None:
    """NoBillError when an item that counts cannot be billed; it names them all."""
    faults = [
        item.fault
        for item in items
        if item.fault is not None and share(policy, item.active_from, item.active_to, month)
    ]
    if faults:
        raise NoBillError("unbillable", "; ".join(sorted(faults)))
