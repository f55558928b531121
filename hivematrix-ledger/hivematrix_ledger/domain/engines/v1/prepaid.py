"""The prepaid bank: monthly hours that lapse or live on, then the yearly pool.

Months are integers (see months.py). What accepted bills took is gone before anything else is given out; months still
open take in order, as the engine would have billed them.
"""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Final, NamedTuple

from .months import index_of, month_of
from .values import ZERO, Document, NoBillError, number, optional, plain

WINDOW: Final = 12
_POOL_YEARS: Final = ("calendar", "contract")


class Settings(NamedTuple):
    monthly: Decimal
    yearly: Decimal
    rollover: int
    pool_first: int
    """The first month of the pool year that holds the billed period."""


class Taken(NamedTuple):
    """Prepaid hours used: from which month's allowance how many, and how many from the pool."""

    monthly: list[tuple[int, Decimal]]
    pool: Decimal

    @property
    def hours(self) -> Decimal:
        return sum((hours for _, hours in self.monthly), self.pool)


def settings_for(inputs: Document, period: int) -> Settings | None:
    """None without prepaid hours. NoBillError when a contract's pool year has no contract to begin with."""
    row = inputs["prepaid"]
    if row is None:
        return None
    monthly = optional(row["monthly"], "prepaid.monthly") or ZERO
    yearly = optional(row["yearly"], "prepaid.yearly") or ZERO
    if row["pool_year"] not in _POOL_YEARS:
        raise NoBillError("unbillable", f"unknown pool year {row['pool_year']!r}; known are {', '.join(_POOL_YEARS)}")
    first = pool_first(row["pool_year"], inputs["company"]["contract_start"], period)
    if first is None:
        raise NoBillError("unbillable", "the prepaid pool follows the contract, and there is no contract_start")
    return Settings(monthly, yearly, row["rollover_months"], first)


def pool_first(pool_year: str, contract_start: str | None, period: int) -> int | None:
    """The first month of the pool year that holds `period`; None when it follows a contract without a start."""
    if pool_year == "contract" and not contract_start:
        return None
    begins = index_of(contract_start) % WINDOW if pool_year == "contract" and contract_start else 0
    return period - (period - begins) % WINDOW


@dataclass(slots=True)
class Bank:
    """What is left of every allowance while months are replayed up to `period`."""

    settings: Settings
    period: int
    first: int = field(init=False)
    granted: dict[int, Decimal] = field(init=False)
    left: dict[int, Decimal] = field(init=False)
    pool_granted: Decimal = field(init=False)
    pool_left: Decimal = field(init=False)

    def __post_init__(self) -> None:
        self.first = self.period - (WINDOW - 1) - self.settings.rollover
        self.granted = dict.fromkeys(range(self.first, self.period + 1), self.settings.monthly)
        self.left = dict(self.granted)
        self.pool_granted = self.pool_left = self.settings.yearly

    def subtract_accepted(self, months: list[Document]) -> None:
        """Accepted months stay as accepted, the later ones too: what was granted and taken then is settled."""
        used = dict.fromkeys(self.granted, ZERO)
        pool = ZERO
        for row in months:
            month = index_of(row["period"])
            if month in self.granted:
                self.granted[month] = number(row["monthly"], "months.monthly")
            if 0 <= month - self.settings.pool_first < WINDOW:
                pool += number(row["pool"], "months.pool")
            for taken in row["taken"]:
                bucket = index_of(taken["month"])
                if bucket in used:
                    used[bucket] += number(taken["hours"], "months.taken")
        for month, hours in used.items():
            self.granted[month] = max(self.granted[month], hours)
            self.left[month] = self.granted[month] - hours
        self.pool_granted = max(self.settings.yearly, pool)
        self.pool_left = self.pool_granted - pool

    def take(self, month: int, hours: Decimal) -> Taken:
        """Use up to `hours` in `month`: the oldest month's allowance first, then this month's, then the pool."""
        monthly: list[tuple[int, Decimal]] = []
        wanted = hours
        for bucket in range(month - self.settings.rollover, month + 1):
            part = min(wanted, self.left.get(bucket, ZERO))
            if part > 0:
                self.left[bucket] -= part
                wanted -= part
                monthly.append((bucket, part))
        pool = min(wanted, self.pool_left) if month >= self.settings.pool_first else ZERO
        self.pool_left -= pool
        return Taken(monthly, pool)

    def statement(self, taken: list[Taken]) -> Document:
        """Where every granted hour is when the period has ended: granted = used + expired + left, for the months whose
        hours live in it and for the pool. `taken` is what this period's bill took.
        """
        return {"monthly": self._monthly_statement(taken), "pool": self._pool_statement(taken)}

    def _monthly_statement(self, taken: list[Taken]) -> Document:
        living = range(self.period - self.settings.rollover, self.period + 1)
        granted = sum((self.granted[month] for month in living), ZERO)
        unused = sum((self.left[month] for month in living), ZERO)
        left = unused - self.left[living.start]
        buckets: dict[int, Decimal] = {}
        for month, hours in (part for share in taken for part in share.monthly):
            buckets[month] = buckets.get(month, ZERO) + hours
        return {
            "hours": plain(self.settings.monthly),
            "rollover_months": self.settings.rollover,
            "granted": plain(granted),
            "used": plain(granted - unused),
            "expired": plain(unused - left),
            "left": plain(left),
            "taken": [{"month": month_of(month), "hours": plain(buckets[month])} for month in sorted(buckets)],
        }

    def _pool_statement(self, taken: list[Taken]) -> Document | None:
        if not self.pool_granted:
            return None
        return {
            "hours": plain(self.settings.yearly),
            "first": month_of(self.settings.pool_first),
            "last": month_of(self.settings.pool_first + WINDOW - 1),
            "granted": plain(self.pool_granted),
            "used": plain(self.pool_granted - self.pool_left),
            "expired": "0",
            "left": plain(self.pool_left),
            "taken": plain(sum((share.pool for share in taken), ZERO)),
        }
