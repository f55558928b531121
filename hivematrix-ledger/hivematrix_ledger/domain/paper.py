"""What an invoice says on paper: charges grouped by type, rate and share, the taxes beside them, its proof.

The sealed body and the CSV keep single lines; the groups and the taxes add up to the same total.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from hivematrix_common.domain.money import decimal_text, minor_digits, round_half_up

from hivematrix_ledger.domain.lines import basis_of

Document = dict[str, Any]
_ASSETS: Final = {
    "Workstation": "workstations",
    "Server": "servers",
    "VM": "VMs",
    "Switch": "switches",
    "Firewall": "firewalls",
    "Custom": "machines at a price of their own",
    "No Charge": "machines without charge",
}
_TYPES: Final = {"user": ("Paid", "Custom", "Free"), "asset": tuple(_ASSETS)}
_KINDS: Final = ("user", "asset", "backup", "hours", "item")
_TAXED: Final = {"user": "users", "asset": "machines", "backup": "backup", "hours": "labor", "item": "other charges"}
_NAMED: Final = 5
_PLACES: Final = 4


@dataclass(frozen=True, slots=True)
class Group:
    """Quantity times rate is the amount, rounded once; `under` is what stands in small print below the title."""

    title: str
    under: str
    quantity: Decimal
    rate: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True)
class Seller:
    """Who bills, as its invoices name it. What is empty is left out."""

    name: str = ""
    address: tuple[str, ...] = ()
    email: str = ""
    tax_number: str = ""
    bank: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Proof:
    """Where a sealed document stands in the archive's log."""

    digest: str
    log_index: int
    sealed_at: str
    origin: str
    size: str
    root: str

    @classmethod
    def of(cls, receipt: Document) -> "Proof":
        origin, size, root = [*receipt["checkpoint"].split("\n"), "", "", ""][:3]
        return cls(receipt["body"], receipt["log_index"], receipt["sealed_at"], origin, size, root)


def grouped(body: Document) -> list[Group]:
    """The charges without taxes; those that come to nothing are left out, as in the CSV."""
    sets: dict[tuple[str, ...], list[Document]] = {}
    for place, line in enumerate(body["lines"]):
        if line["kind"] != "tax" and Decimal(line["amount"]):
            sets.setdefault(_key(body, line, place), []).append(line)
    ordered = sorted(sets.items(), key=lambda found: _place(found[0]))
    return [_group(body, key, lines) for key, lines in ordered]


def taxes(body: Document) -> list[tuple[str, Decimal]]:
    """What each tax is called, and its amount."""
    return [(_tax(line), Decimal(line["amount"])) for line in body["lines"] if line["kind"] == "tax"]


def net(body: Document) -> Decimal:
    return Decimal(body["totals"]["total"]) - Decimal(body["totals"]["tax"])


def _key(body: Document, line: Document, place: int) -> tuple[str, ...]:
    """Users and machines come together; of everything else each line stands by itself."""
    kind: str = line["kind"]
    if kind not in {"user", "asset"}:
        return kind, "", str(place)
    item_type = basis_of(body, line)["type"]
    return kind, item_type, line["why"]["rate"], _share(line, item_type), line["rate"], line["amount"]


def _place(key: tuple[str, ...]) -> tuple[int, int]:
    kind, item_type = key[:2]
    return _KINDS.index(kind), _TYPES[kind].index(item_type) if item_type else 0


def _share(line: Document, item_type: str) -> str:
    """`20 of 31 days`; nothing for a whole month."""
    whole = f"{'User' if line['kind'] == 'user' else 'Asset'}: {line['name']} ({item_type})"
    return str(line["description"]).removeprefix(whole).removeprefix(", ")


def _group(body: Document, key: tuple[str, ...], lines: Sequence[Document]) -> Group:
    line = lines[0]
    title, under = _WORDS[line["kind"]](body, line)
    quantity, amount = _sum(lines, "quantity"), _sum(lines, "amount")
    rate = Decimal(line["rate"])
    if line["kind"] in {"user", "asset"}:
        parts = [under, key[3], _names(lines) if key[1] == "Custom" else ""]
        under = ", ".join(filter(None, parts))
        rate = round_half_up(rate, minor_digits(body["currency"]))  # each line was rounded by itself
    return Group(title, under, quantity, rate, amount)


def _sum(lines: Iterable[Document], name: str) -> Decimal:
    return sum((Decimal(line[name]) for line in lines), Decimal(0))


def _names(lines: Sequence[Document]) -> str:
    names = [line["name"] for line in lines[:_NAMED]]
    return ", ".join(names) + (f" and {len(lines) - _NAMED} more" if len(lines) > _NAMED else "")


def _user(body: Document, line: Document) -> tuple[str, str]:
    return "Managed services, users", str(basis_of(body, line)["type"])


def _asset(body: Document, line: Document) -> tuple[str, str]:
    return f"Managed services, {_ASSETS[basis_of(body, line)['type']]}", ""


def _backup(body: Document, line: Document) -> tuple[str, str]:
    name, basis = line["name"], basis_of(body, line)
    if name == "Backup Overage (TB)":
        stored = decimal_text(round_half_up(Decimal(basis["tb"]), _PLACES))
        return f"Backup, above {basis['included_tb']} TB included", f"{stored} TB stored"
    machines = line["why"]["records"]
    word = name.removesuffix(" Backup Base").lower()
    return f"Backup, base {word}", f"{machines} machine{'' if machines == 1 else 's'}"


def _hours(body: Document, line: Document) -> tuple[str, str]:
    dates, records, basis = line["why"]["dates"], line["why"]["records"], basis_of(body, line)
    late = f", late from {dates['month']}" if dates["month"] != body["period"] else ""
    under = f"{records} {'entry' if records == 1 else 'entries'}, {dates['from']} to {dates['to']}"
    prepaid = Decimal(basis["worked"]) - Decimal(basis["billed"])
    return f"Hourly labor{late}", under + (f", {prepaid.normalize():f} h of them prepaid" if prepaid else "")


def _item(_body: Document, line: Document) -> tuple[str, str]:
    name: str = line["name"]
    label = str(line["description"]).removeprefix(name).strip(" ()")
    return name, label


_WORDS: Final = {"user": _user, "asset": _asset, "backup": _backup, "hours": _hours, "item": _item}


def _tax(line: Document) -> str:
    percent = line["why"]["rate"]
    on = f" on {_TAXED[line['name']]}" if line["name"] in _TAXED else ""
    base = (line["why"]["basis"] or {}).get("base")
    return f"Tax{on}, {percent} %" + (f" of {Decimal(base):,}" if base else "")
