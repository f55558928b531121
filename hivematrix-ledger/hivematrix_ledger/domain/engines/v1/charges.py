"""One line per counted user and per counted asset, zero amounts too."""

from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Final, NamedTuple

from .counting import Item, Share, share
from .months import Month
from .plan import Plan
from .values import ZERO, Document, Money, exact_text, number, plain
from .why import product, why

RATE_OF: Final = {
    "Paid": "per_user",
    "Workstation": "per_workstation",
    "Server": "per_server",
    "VM": "per_vm",
    "Switch": "per_switch",
    "Firewall": "per_firewall",
}
_LABEL: Final = {"user": "User", "asset": "Asset"}


class Charged(NamedTuple):
    lines: list[Document]
    total: Decimal
    types: dict[str, int]
    """How many counted, by type."""
    counted: list[Item]


class _Amounts(NamedTuple):
    """What a value comes to with its share: texts of the value, the line's rate and amount, formula and exact value."""

    value: str
    rate: str
    amount: Decimal
    amount_text: str
    formula: str
    exact: str
    note: str


class _Price(NamedTuple):
    """What every item of one type, cost and share has in common."""

    rate: str
    amount: Decimal
    amount_text: str
    note: str
    why: Document


def charge_items(kind: str, items: list[Item], plan: Plan, month: Month, money: Money) -> Charged:
    """`kind` is user or asset. Items come out ordered by name, then uid, whatever order they came in."""
    prices: dict[tuple[str, str | None, str, str | None, str | None], _Price | None] = {}
    lines, total, types, counted = [], ZERO, dict[str, int](), []
    label = _LABEL[kind]
    for item in sorted(items, key=_by_name):
        key = (item.type, item.cost, item.origin, item.active_from, item.active_to)
        if key not in prices:
            part = share(plan.policy, item.active_from, item.active_to, month)
            prices[key] = _price(item, part, plan, month, money) if part else None
        price = prices[key]
        if price is None:
            continue
        total += price.amount
        types[item.type] = types.get(item.type, 0) + 1
        counted.append(item)
        lines.append(
            {
                "kind": kind,
                "name": item.name,
                "description": f"{label}: {item.name} ({item.type}){price.note}",
                "quantity": "1",
                "rate": price.rate,
                "amount": price.amount_text,
                "uids": [item.uid],
                "why": price.why,
            }
        )
    return Charged(lines, total, types, counted)


def _by_name(item: Item) -> tuple[str, str]:
    return item.name, item.uid


def _price(item: Item, part: Share, plan: Plan, month: Month, money: Money) -> _Price:
    value, source, rate_name = _rate(item, plan)
    amounts = _amounts(value, part.part, part.whole, money)
    reason = why(
        records=1,
        dates={
            "policy": plan.policy,
            "from": part.first,
            "to": part.last,
            "days": part.days,
            "of": month.days,
        },
        rate=amounts.value,
        rate_name=rate_name,
        source=source,
        formula=amounts.formula,
        exact=amounts.exact,
        rounding=money.rounding,
        basis={"type": item.type, "type_from": item.origin},
    )
    return _Price(amounts.rate, amounts.amount, amounts.amount_text, amounts.note, reason)


@lru_cache(maxsize=16384)
def _amounts(value: Decimal, part: int, whole: int, money: Money) -> _Amounts:
    """A prorated item has its rounded amount as its rate, so that Qty times Rate is the amount."""
    text = plain(value)
    if part == whole:
        amount = money.amount(value)
        return _Amounts(text, text, amount, money.text(amount), text, text, "")
    exact = Fraction(value) * part / whole
    amount = money.amount(exact)
    shown = money.text(amount)
    formula = product(text, f"{part} / {whole}")
    return _Amounts(text, shown, amount, shown, formula, exact_text(exact), f", {part} of {whole} days")


def _rate(item: Item, plan: Plan) -> tuple[Decimal, str, str | None]:
    """The value before the share, who set it, and the name of the rate if it is one of the eleven."""
    if item.type == "Custom":
        return number(item.cost or "", "custom_cost"), item.origin, None
    name = RATE_OF.get(item.type)
    if name is None:
        return ZERO, item.origin, None
    return plan.rates[name].value, plan.rates[name].source, name
