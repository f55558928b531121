"""Why one month's bill is higher or lower than another's: every change classed, and the classes sum to the change.

What stands on both bills is taken apart in steps. Each step changes one thing and is priced and rounded as a line,
so what the steps add comes to the change of the line, to the cent and with nothing left over.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from fractions import Fraction
from typing import Any, NamedTuple

from hivematrix_common.domain.errors import DomainError

from hivematrix_ledger.domain.engines.v1.backup import TB
from hivematrix_ledger.domain.engines.v1.values import ZERO, Money, plain, rounded

Document = dict[str, Any]


class Cause(StrEnum):
    """The classes of billing-rules §8, in the order they are shown."""

    ADDED = "item added"
    REMOVED = "item removed"
    TYPE = "type changed"
    RATE = "rate changed"
    PLAN = "plan changed"
    OVERRIDE = "override changed"
    HOURS = "hours"
    PREPAID = "prepaid"
    PRORATION = "proration"
    BACKUP = "backup volume"
    LINE_ITEM = "line item"
    TAX = "tax"


@dataclass(frozen=True, slots=True)
class Change:
    """`amount` is what it adds to the total; `before` and `after` say for people what changed from what to what."""

    cause: Cause
    kind: str
    name: str
    uids: tuple[str, ...]
    amount: Decimal
    before: str
    after: str


class _Step(NamedTuple):
    """One thing changed, and what the line comes to then, unrounded."""

    cause: Cause
    before: str
    after: str
    exact: Fraction


class _Line(NamedTuple):
    kind: str
    name: str
    uids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Month:
    """A bill by what its lines stand for; of a month without one, the other month's rates and nothing else."""

    rates: Mapping[str, Document]
    plan: tuple[str, str]
    lines: dict[tuple[str, ...], Document] = field(default_factory=dict)

    def rate(self, name: str) -> Fraction:
        return Fraction(self.rates[name]["value"])


def changes(before: Document | None, after: Document | None) -> list[Change]:
    """Every change between two sealed or computed bodies of one company; None is a month without a bill.

    DomainError when the bills are in two currencies: their totals cannot be compared.
    """
    body = after or before
    if body is None:
        return []
    if before and after and before["currency"] != after["currency"]:
        raise DomainError("currency", f"billed in {before['currency']} then and in {after['currency']} now")
    compared = _Compared(_month(before, body), _month(after, body), Money.of(body["currency"]))
    return [change for kind in _COMPARED for change in compared.of_kind(kind)]


def by_cause(found: Iterable[Change]) -> dict[Cause, Decimal]:
    """What each class adds, in the classes' order; those that add nothing are left out."""
    sums = dict.fromkeys(Cause, ZERO)
    present = set()
    for change in found:
        sums[change.cause] += change.amount
        present.add(change.cause)
    return {cause: amount for cause, amount in sums.items() if cause in present}


def _month(body: Document | None, other: Document) -> _Month:
    rates = {rate["name"]: rate for rate in (body or other)["rates"]}
    plan = ((body or other)["billing_plan"], (body or other)["contract_term"])
    found = _Month(rates, plan)
    for line in body["lines"] if body else ():
        key = _key(line)
        while key in found.lines:
            key = (*key, "again")
        found.lines[key] = line
    return found


def _key(line: Document) -> tuple[str, ...]:
    """What tells a line from others of its kind in any month: the record it bills, or its name."""
    by_record = line["kind"] in {"user", "asset", "item"}
    return (line["kind"], *line["uids"]) if by_record else (line["kind"], line["name"])


class _Compared(NamedTuple):
    before: _Month
    after: _Month
    money: Money

    def of_kind(self, kind: str) -> Iterator[Change]:
        keys = [key for key in {**self.before.lines, **self.after.lines} if key[0] == kind]
        for key in sorted(keys):
            was, now = self.before.lines.get(key), self.after.lines.get(key)
            line = now or was
            assert line
            if not _is_as_it_was(was, now):
                steps = _COMPARED[kind](self, was, now)
                start = Fraction(was["why"]["exact"]) if was else Fraction(0)
                yield from self._priced(_Line(kind, line["name"], tuple(line["uids"])), start, steps)

    def _priced(self, line: _Line, start: Fraction, steps: Iterable[_Step]) -> Iterator[Change]:
        amount = self.money.amount(start)
        for step in steps:
            then = self.money.amount(step.exact)
            if then != amount:
                yield Change(step.cause, *line, then - amount, step.before, step.after)
            amount = then

    def item(self, was: Document | None, now: Document | None) -> Iterator[_Step]:
        """A person or a machine: the share of the month first, then the value."""
        if not was or not now:
            yield self._whole(Cause.ADDED if now else Cause.REMOVED, was, now)
            return
        old, new = was["why"], now["why"]
        yield _Step(Cause.PRORATION, _days(old), _days(new), Fraction(old["rate"]) * _share(new))
        yield _Step(self._why_value(old, new), _value(old), _value(new), Fraction(new["exact"]))

    def backup(self, was: Document | None, now: Document | None) -> Iterator[_Step]:
        line = now or was
        assert line
        if line["why"]["rate_name"] == "backup_per_tb":
            yield from self._overage(was)
        else:
            count = _quantity(now)
            name = line["why"]["rate_name"]
            machines = (plain(Decimal(_quantity_text(one))) for one in (was, now))
            yield _Step(Cause.BACKUP, *_told(machines, "machines"), count * self.before.rate(name))
            yield self._rated(name, count)

    def hours(self, was: Document | None, now: Document | None) -> Iterator[_Step]:
        """What was worked first, then what prepaid hours paid of it, then the rate."""
        rate = self.before.rate("per_hour")
        worked, paid = _worked(now), _worked(now) - _quantity(now)
        before = _worked(was) - _quantity(was)
        billed = max(worked - before, Fraction(0))
        yield _Step(Cause.HOURS, f"{_shown(_worked(was))} h", f"{_shown(worked)} h", billed * rate)
        yield _Step(Cause.PREPAID, f"{_shown(before)} h prepaid", f"{_shown(paid)} h prepaid", (worked - paid) * rate)
        yield self._rated("per_hour", worked - paid)

    def line_item(self, was: Document | None, now: Document | None) -> Iterator[_Step]:
        yield self._whole(Cause.LINE_ITEM, was, now)

    def tax(self, was: Document | None, now: Document | None) -> Iterator[_Step]:
        yield self._whole(Cause.TAX, was, now)

    def _whole(self, cause: Cause, was: Document | None, now: Document | None) -> _Step:
        exact = Fraction(now["why"]["exact"]) if now else Fraction(0)
        return _Step(cause, was["description"] if was else "", now["description"] if now else "", exact)

    def _overage(self, was: Document | None) -> Iterator[_Step]:
        """The volume and the machines first, then what each includes, then the rate."""
        rate, name = self.before.rate("backup_per_tb"), "backup_included_tb"
        volume = self._volume(self.after)
        over = _over(volume, self.before.rate(name))
        yield _Step(Cause.BACKUP, f"{_quantity_text(was)} TB", f"{_shown(over)} TB", over * rate)
        over = _over(volume, self.after.rate(name))
        yield self._rated(name, over, rate)
        yield self._rated("backup_per_tb", over)

    def _volume(self, month: _Month) -> tuple[int, int]:
        """Bytes and machines that are backed up; without a backup line there are none."""
        basis = next((line["why"]["basis"] for key, line in month.lines.items() if key[0] == "backup"), None)
        return (int(basis["bytes"]), basis["machines"]) if basis else (0, 0)

    def _rated(self, name: str, quantity: Fraction, rate: Fraction | None = None) -> _Step:
        """The step to a rate of the later month; `rate` prices the quantity where `name` is not what prices it."""
        was, now = self.before.rates[name], self.after.rates[name]
        price = Fraction(now["value"]) if rate is None else rate
        return _Step(self._why_rate(name), was["value"], now["value"], quantity * price)

    def _why_value(self, old: Document, new: Document) -> Cause:
        if old["basis"]["type"] != new["basis"]["type"]:
            return Cause.TYPE
        if new["rate_name"]:
            return self._why_rate(new["rate_name"])
        is_override = "override" in {old["basis"]["type_from"], new["basis"]["type_from"]}
        return Cause.OVERRIDE if is_override else Cause.RATE

    def _why_rate(self, name: str) -> Cause:
        if "client_override" in {self.before.rates[name]["source"], self.after.rates[name]["source"]}:
            return Cause.OVERRIDE
        return Cause.RATE if self.before.plan == self.after.plan else Cause.PLAN


_COMPARED: Mapping[str, Any] = {
    "user": _Compared.item,
    "asset": _Compared.item,
    "backup": _Compared.backup,
    "hours": _Compared.hours,
    "item": _Compared.line_item,
    "tax": _Compared.tax,
}


def _is_as_it_was(was: Document | None, now: Document | None) -> bool:
    """Most lines are, and need no steps: of a person or a machine at the same rate the same part is billed."""
    if not was or not now or was["kind"] not in {"user", "asset"}:
        return False
    old, new = was["why"], now["why"]
    return bool(old["exact"] == new["exact"] and old["rate"] == new["rate"])


def _share(why: Document) -> Fraction:
    """Which part of the month is billed, by the policy that the line says."""
    dates = why["dates"]
    days, policy = dates["days"], dates["policy"]
    if policy == "prorate_actual":
        return Fraction(days, dates["of"])
    if policy == "prorate_30" and days < min(dates["of"], 30):
        return Fraction(days, 30)
    return Fraction(1)


def _days(why: Document) -> str:
    return "the whole month" if _share(why) == 1 else f"{why['dates']['days']} days"


def _value(why: Document) -> str:
    return f"{why['basis']['type']} at {why['rate']}"


def _quantity(line: Document | None) -> Fraction:
    return Fraction(_quantity_text(line))


def _quantity_text(line: Document | None) -> str:
    return line["quantity"] if line else "0"


def _worked(line: Document | None) -> Fraction:
    return Fraction(line["why"]["basis"]["worked"]) if line else Fraction(0)


def _over(volume: tuple[int, int], included: Fraction) -> Fraction:
    size, machines = volume
    return Fraction(rounded(max(Fraction(size, TB) - machines * included, Fraction(0)), 4))


def _told(values: Iterable[str], noun: str) -> tuple[str, str]:
    was, now = (f"{value} {noun}" for value in values)
    return was, now


def _shown(value: Fraction) -> str:
    return plain(Decimal(value.numerator) / value.denominator)
