"""Time: which entries a month bills, what the prepaid bank pays of them, and the lines for the rest.

An entry belongs to the month it was worked in. When that month was accepted without it, it goes to the earliest later
month that has no accepted bill; a month that gets no bill passes it on.
"""

from collections.abc import Callable, Iterable
from decimal import Decimal
from typing import NamedTuple

from .months import Month, index_of, month_of
from .plan import Rate
from .prepaid import Bank, Settings, Taken
from .values import ZERO, Document, Money, number, plain, require
from .why import product, sum_text, why

Worked = dict[int, list[Document]]
"""Entries by the month they were worked in."""

_NOTHING = Taken([], ZERO)


class Hours(NamedTuple):
    lines: list[Document]
    total: Decimal
    counts: Document
    prepaid: Document | None


class Sheet(NamedTuple):
    """The entries of one month on this bill, and what prepaid hours pay of the billable ones."""

    month: int
    entries: list[Document]
    worked: Decimal
    taken: Taken

    @property
    def billed(self) -> Decimal:
        return self.worked - self.taken.hours


def charge_hours(
    inputs: Document,
    rate: Rate,
    month: Month,
    money: Money,
    *,
    settings: Settings | None,
    is_billed: Callable[[int], bool],
) -> Hours:
    """`is_billed` says of an earlier month that is not accepted whether the engine would bill it."""
    period = month.ordinal
    accepted = [row for row in inputs["months"] if row["state"] == "accepted"]
    targets = _by_target(inputs["entries"], {index_of(row["period"]) for row in accepted}, period, is_billed)
    bank = Bank(settings, period) if settings else None
    if bank:
        bank.subtract_accepted(accepted)
        _replay_open_months(bank, inputs, targets, is_billed)
    sheets = _sheets(targets.get(period, {}), period, bank)
    lines, total = [], ZERO
    for sheet in sheets:
        amount = money.amount(sheet.billed * rate.value)
        total += amount
        lines.append(_line(sheet, period, rate, amount, money))
    statement = bank.statement([sheet.taken for sheet in sheets]) if bank else None
    return Hours(lines, total, _counts(sheets, period), statement)


def _by_target(
    entries: list[Document], accepted: set[int], period: int, is_billed: Callable[[int], bool]
) -> dict[int, Worked]:
    targets: dict[int, Worked] = {}
    for entry in sorted(entries, key=_by_date):
        require(number(entry["hours"], "entries.hours") >= 0, "entries.hours", f"negative in entry {entry['uid']}")
        worked = target = index_of(entry["worked_on"])
        if worked in accepted:
            target += 1
            while target < period and (target in accepted or not is_billed(target)):
                target += 1
        targets.setdefault(target, {}).setdefault(worked, []).append(entry)
    return targets


def _by_date(entry: Document) -> tuple[str, str]:
    return entry["worked_on"], entry["uid"]


def _replay_open_months(
    bank: Bank, inputs: Document, targets: dict[int, Worked], is_billed: Callable[[int], bool]
) -> None:
    for month in sorted(index_of(row["period"]) for row in inputs["months"] if row["state"] == "open"):
        if month < bank.period and month in targets and is_billed(month):
            _sheets(targets[month], month, bank)


def _sheets(worked: Worked, month: int, bank: Bank | None) -> list[Sheet]:
    """The month's own hours first, then late ones, oldest month first, from what is still held."""
    sheets = []
    for of in sorted(worked, key=lambda of: (of != month, of)):
        hours = _hours(worked[of], billable=True)
        sheets.append(Sheet(of, worked[of], hours, bank.take(month, hours) if bank else _NOTHING))
    return sheets


def _hours(entries: list[Document], *, billable: bool) -> Decimal:
    return sum((number(entry["hours"], "entries.hours") for entry in entries if entry["billable"] is billable), ZERO)


def _line(sheet: Sheet, period: int, rate: Rate, amount: Decimal, money: Money) -> Document:
    is_late = sheet.month != period
    name = f"Late hours {month_of(sheet.month)}" if is_late else "Billable hours"
    billed = plain(sheet.billed)
    worked_on = [entry["worked_on"] for entry in sheet.entries]
    paid = [hours for _, hours in sheet.taken.monthly] + ([sheet.taken.pool] if sheet.taken.pool else [])
    return {
        "kind": "hours",
        "name": name,
        "description": f"{name} ({billed} hrs)",
        "quantity": billed,
        "rate": rate.text,
        "amount": money.text(amount),
        "uids": [entry["uid"] for entry in sheet.entries],
        "why": why(
            records=len(sheet.entries),
            dates={"month": month_of(sheet.month), "from": min(worked_on), "to": max(worked_on)},
            rate=rate.text,
            rate_name=rate.name,
            source=rate.source,
            formula=product(sum_text([sheet.worked], paid), rate.text),
            exact=plain(sheet.billed * rate.value),
            rounding=money.rounding,
            basis={
                "worked": plain(sheet.worked),
                "monthly": [{"month": month_of(month), "hours": plain(part)} for month, part in sheet.taken.monthly],
                "pool": plain(sheet.taken.pool),
                "billed": billed,
                "non_billable": _non_billable(sheet.entries),
            },
        ),
    }


def _non_billable(entries: list[Document]) -> list[Document]:
    """Listed, free, and no prepaid hours used."""
    return [
        {"uid": entry["uid"], "ticket": entry["ticket"], "worked_on": entry["worked_on"], "hours": entry["hours"]}
        for entry in entries
        if not entry["billable"]
    ]


def _counts(sheets: list[Sheet], period: int) -> Document:
    def total(hours: Iterable[Decimal]) -> str:
        return plain(sum(hours, ZERO))

    return {
        "hours": total(sheet.worked for sheet in sheets if sheet.month == period),
        "late_hours": total(sheet.worked for sheet in sheets if sheet.month != period),
        "billable_hours": total(sheet.billed for sheet in sheets),
        "prepaid_used": total(sheet.taken.hours for sheet in sheets),
        "non_billable_hours": total(_hours(sheet.entries, billable=False) for sheet in sheets),
    }
