"""A company's prepaid hours, entry by entry: what was granted, used and expired, and what is left after each row.

Made from bills alone, so an accepted month reads for ever as it was billed. After every row granted = used + expired +
left, for the monthly hours and for the pool.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from hivematrix_ledger.domain.engines.v1.months import index_of, month_named, month_of
from hivematrix_ledger.domain.engines.v1.values import ZERO, plain

Document = dict[str, Any]


@dataclass(slots=True)
class _Account:
    """One of the two accounts: `left` by the month that granted it; the pool has one bucket."""

    left: dict[int, Decimal] = field(default_factory=dict)
    granted: Decimal = ZERO
    used: Decimal = ZERO
    expired: Decimal = ZERO

    def grant(self, bucket: int, hours: Decimal) -> None:
        self.left[bucket] = self.left.get(bucket, ZERO) + hours
        self.granted += hours

    def use(self, bucket: int, hours: Decimal) -> None:
        self.left[bucket] = self.left.get(bucket, ZERO) - hours
        self.used += hours

    def expire(self, last: int) -> Decimal:
        """End every bucket up to `last`."""
        gone = sum((self.left.pop(bucket) for bucket in sorted(self.left) if bucket <= last), ZERO)
        self.expired += gone
        return gone

    def as_json(self) -> Document:
        left = sum(self.left.values(), ZERO)
        found = {"granted": self.granted, "used": self.used, "expired": self.expired, "left": left}
        return {name: plain(hours) for name, hours in found.items()}


@dataclass(slots=True)
class _Statement:
    monthly: _Account = field(default_factory=_Account)
    pool: _Account = field(default_factory=_Account)
    pool_first: str | None = None

    def month(self, body: Document) -> Iterator[Document]:
        """The rows of one month: what it grants, what its entries use, what ends with it."""
        prepaid, period = body["prepaid"], body["period"]
        if prepaid:
            yield from self._grants(prepaid, period)
        for line in body["lines"]:
            if line["kind"] == "hours":
                yield from self._brought_forward(line, body)
                yield from self._entries(line, body)
        if prepaid:
            yield from self._ends(prepaid, period)

    def _grants(self, prepaid: Document, period: str) -> Iterator[Document]:
        first = month_named(period).first
        if pool := prepaid["pool"]:
            yield from self._pool_grant(pool, first)
        hours = Decimal(prepaid["monthly"]["hours"])
        if hours:
            self.monthly.grant(index_of(period), hours)
            yield self._row("granted", first, f"{plain(hours)} h for {period}", monthly=hours)

    def _pool_grant(self, pool: Document, day: str) -> Iterator[Document]:
        if pool["first"] != self.pool_first:
            gone = self.pool.expire(0)
            if gone:
                yield self._row("expired", day, "the pool's year is over", pool=-gone)
            self.pool, self.pool_first = _Account(), pool["first"]
        more = Decimal(pool["granted"]) - self.pool.granted
        if more:
            self.pool.grant(0, more)
            yield self._row("granted", day, f"pool {pool['first']} to {pool['last']}", pool=more)

    def _brought_forward(self, line: Document, body: Document) -> Iterator[Document]:
        """What a line takes of allowances that were granted before the statement begins."""
        for part in line["why"]["basis"]["monthly"]:
            bucket = index_of(part["month"])
            lacking = Decimal(part["hours"]) - self.monthly.left.get(bucket, ZERO)
            if lacking > 0:
                self.monthly.grant(bucket, lacking)
                day = month_named(body["period"]).first
                yield self._row("granted", day, f"brought forward from {part['month']}", monthly=lacking)

    def _entries(self, line: Document, body: Document) -> Iterator[Document]:
        """The line's entries in order of their dates; each takes from what the line took, in the order of use."""
        basis = line["why"]["basis"]
        free = {entry["uid"] for entry in basis["non_billable"]}
        held = [(index_of(part["month"]), Decimal(part["hours"])) for part in basis["monthly"]]
        pool = Decimal(basis["pool"])
        entries = {entry["uid"]: entry for entry in body["inputs"]["entries"]}
        for uid in line["uids"]:
            entry = entries[uid]
            wanted = ZERO if uid in free else Decimal(entry["hours"])
            monthly, held = self._use_monthly(held, wanted)
            of_pool = min(pool, wanted - monthly)
            pool -= of_pool
            if of_pool:
                self.pool.use(0, of_pool)
            billed = wanted - monthly - of_pool
            row = self._row("used", entry["worked_on"], line["name"], monthly=-monthly, pool=-of_pool)
            told = {"uid": uid, "ticket": entry["ticket"], "hours": entry["hours"], "billable": entry["billable"]}
            yield row | told | {"billed": plain(billed), "invoice_number": body["invoice_number"]}

    def _use_monthly(
        self, held: list[tuple[int, Decimal]], wanted: Decimal
    ) -> tuple[Decimal, list[tuple[int, Decimal]]]:
        """How much of the allowances an entry uses, and what the line still holds of them."""
        used = ZERO
        rest = []
        for bucket, hours in held:
            part = min(hours, wanted - used)
            if part:
                self.monthly.use(bucket, part)
                used += part
            if hours > part:
                rest.append((bucket, hours - part))
        return used, rest

    def _ends(self, prepaid: Document, period: str) -> Iterator[Document]:
        ended = index_of(period) - prepaid["monthly"]["rollover_months"]
        gone = self.monthly.expire(ended)
        if gone:
            told = f"unused hours of {month_of(ended)} end" if ended < index_of(period) else "unused hours end"
            yield self._row("expired", month_named(period).last, told, monthly=-gone)

    def _row(self, what: str, day: str, told: str, *, monthly: Decimal = ZERO, pool: Decimal = ZERO) -> Document:
        return {
            "what": what,
            "day": day,
            "told": told,
            "monthly": plain(monthly),
            "pool": plain(pool),
            "balance": {"monthly": self.monthly.as_json(), "pool": self.pool.as_json()},
        }


def statement(bodies: Sequence[Document]) -> list[Document]:
    """The rows of consecutive months' bills, oldest first."""
    made = _Statement()
    return [row for body in bodies for row in made.month(body)]
