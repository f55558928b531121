"""Tax: per category on the sum of its rounded line amounts, rounded once per category (the EN 16931 document rule)."""

from decimal import Decimal
from typing import Final, NamedTuple

from hivematrix_common.domain.errors import DomainError

from .months import Month
from .values import ZERO, Document, Money, number, plain
from .why import product, sum_text, why

KINDS: Final = ("user", "asset", "backup", "hours", "item")
REST: Final = "*"


class Tax(NamedTuple):
    lines: list[Document]
    total: Decimal


def charge_tax(inputs: Document, totals: dict[str, Decimal], month: Month, money: Money) -> Tax:
    """`totals` per kind of charge are net. `*` is the one category of all kinds not named."""
    percents = _percents(inputs)
    lines, total = [], ZERO
    for category in (*KINDS, REST):
        if category not in percents:
            continue
        kinds = [kind for kind in KINDS if kind not in percents] if category == REST else [category]
        base = money.sum(totals[kind] for kind in kinds)
        if base:
            amount = money.amount(base * percents[category] / 100)
            total += amount
            bases = {kind: totals[kind] for kind in kinds}
            lines.append(_line(category, bases, percents[category], amount, month=month, money=money))
    return Tax(lines, total)


def _percents(inputs: Document) -> dict[str, Decimal]:
    percents: dict[str, Decimal] = {}
    for row in inputs["tax_rates"]:
        category = row["category"]
        if category in percents or category not in (*KINDS, REST):
            raise DomainError(
                "tax_rates.category", f"{category!r} stands twice or is none of {', '.join(KINDS)}, {REST}"
            )
        percents[category] = number(row["percent"], "tax_rates.percent")
    return percents


def _line(
    category: str, bases: dict[str, Decimal], percent: Decimal, amount: Decimal, *, month: Month, money: Money
) -> Document:
    base = money.sum(bases.values())
    terms = [value for value in bases.values() if value]
    return {
        "kind": "tax",
        "name": category,
        "description": f"{category} {plain(percent)} %",
        "quantity": "1",
        "rate": money.text(amount),
        "amount": money.text(amount),
        "uids": [],
        "why": why(
            records=len(terms),
            dates={"from": month.first, "to": month.last},
            rate=plain(percent),
            source="tax_rate",
            formula=product(sum_text(terms), f"{plain(percent)} / 100"),
            exact=plain(base * percent / 100),
            rounding=money.rounding,
            basis={"base": money.text(base), "kinds": {kind: money.text(value) for kind, value in bases.items()}},
        ),
    }
