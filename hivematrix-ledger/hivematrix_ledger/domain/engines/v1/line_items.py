"""Line items: recurring each month, one-off in its period, yearly in its month."""

from decimal import Decimal
from typing import Final, NamedTuple

from hivematrix_common.domain.errors import DomainError

from .months import Month
from .plan import in_force
from .values import ZERO, Document, Money, number, plain
from .why import why

_LABEL: Final = {"recurring": "Recurring", "one_off": "One-Off", "yearly": "Yearly"}


class Items(NamedTuple):
    lines: list[Document]
    total: Decimal


def charge_line_items(inputs: Document, month: Month, money: Money) -> Items:
    lines, total = [], ZERO
    for row in sorted(inputs["line_items"], key=_by_name):
        if is_due(row, month):
            amount = money.amount(number(row["fee"], "line_items.fee"))
            total += amount
            lines.append(_line(row, amount, month, money))
    return Items(lines, total)


def _by_name(row: Document) -> tuple[str, str]:
    return row["name"], row["uid"]


def is_due(row: Document, month: Month) -> bool:
    if row["kind"] == "one_off":
        return bool(row["period"] == month.text)
    if row["kind"] == "yearly":
        return row["month"] == month.ordinal % 12 + 1 and in_force(row, month.text)
    if row["kind"] == "recurring":
        return in_force(row, month.text)
    raise DomainError("line_items.kind", f"unknown kind {row['kind']!r}; known are {', '.join(_LABEL)}")


def _line(row: Document, amount: Decimal, month: Month, money: Money) -> Document:
    fee = number(row["fee"], "line_items.fee")
    return {
        "kind": "item",
        "name": row["name"],
        "description": f"{row['name']} ({_LABEL[row['kind']]})",
        "quantity": "1",
        "rate": plain(fee),
        "amount": money.text(amount),
        "uids": [row["uid"]],
        "why": why(
            records=1,
            dates={"from": month.first, "to": month.last},
            rate=plain(fee),
            source="line_item",
            formula=plain(fee),
            exact=plain(fee),
            rounding=money.rounding,
            basis={key: row[key] for key in ("kind", "description", "period", "month", "from_period", "to_period")},
        ),
    }
