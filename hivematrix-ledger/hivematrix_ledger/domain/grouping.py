"""A bill's lines as people read them: by kind, and together what is of one type at one rate for one share."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Final

from hivematrix_ledger.domain.engines.v1.values import plain

Document = dict[str, Any]
KINDS: Final = {
    "user": "Users",
    "asset": "Assets",
    "backup": "Backup",
    "hours": "Hours",
    "item": "Items",
    "tax": "Tax",
}
_SOURCES: Final = {"client_override": ", rate by override", "default": ", rate by default"}


@dataclass(slots=True)
class Group:
    """`places` are those of its lines on the bill; the first one names the group in an address."""

    word: str
    rate: str
    places: list[int] = field(default_factory=list)
    quantity: Decimal = Decimal(0)
    amount: Decimal = Decimal(0)

    def add(self, place: int, line: Document) -> None:
        self.places.append(place)
        self.quantity += Decimal(line["quantity"])
        self.amount += Decimal(line["amount"])

    @property
    def quantity_text(self) -> str:
        return plain(self.quantity)


@dataclass(frozen=True, slots=True)
class Section:
    """All lines of a kind; the groups' amounts come to `total`."""

    word: str
    total: Decimal
    groups: list[Group]

    @property
    def lines(self) -> int:
        return sum(len(group.places) for group in self.groups)


def sections(body: Document) -> list[Section]:
    """The kinds that stand on the bill, in its order; every line is in exactly one group."""
    found: dict[str, dict[tuple[Any, ...], Group]] = {kind: {} for kind in KINDS}
    for place, line in enumerate(body["lines"]):
        groups = found[line["kind"]]
        key = _key(place, line)
        groups.setdefault(key, Group(_word(line), line["rate"])).add(place, line)
    return [
        Section(KINDS[kind], Decimal(body["totals"][kind]), list(groups.values()))
        for kind, groups in found.items()
        if groups
    ]


def group_at(body: Document, place: int) -> Group | None:
    """The group that begins with a line."""
    groups = (group for section in sections(body) for group in section.groups)
    return next((group for group in groups if group.places[0] == place), None)


def _key(place: int, line: Document) -> tuple[Any, ...]:
    why: Mapping[str, Any] = line["why"]
    if line["kind"] not in {"user", "asset"} or _is_custom(line):
        return (place,)  # it stands for itself
    dates = why["dates"]
    return (why["basis"]["type"], line["rate"], why["source"], line["quantity"], line["amount"], dates["days"])


def _is_custom(line: Document) -> bool:
    return bool(line["why"]["basis"]["type"] == "Custom")


def _word(line: Document) -> str:
    if line["kind"] == "item":
        return str(line["description"])
    if line["kind"] not in {"user", "asset"}:
        return str(line["name"])
    why = line["why"]
    word = f"Custom: {line['name']}" if _is_custom(line) else str(why["basis"]["type"])
    dates = why["dates"]
    share = f", {dates['days']} of {dates['of']} days" if dates["days"] != dates["of"] else ""
    return word + _SOURCES.get(why["source"], "") + share
