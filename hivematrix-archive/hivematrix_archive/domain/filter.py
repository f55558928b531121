"""What a search for sealed bills may ask."""

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal


@dataclass(frozen=True, slots=True)
class Filter:
    """What a search asks for; None asks nothing. `before` is exclusive."""

    account_number: str | None = None
    company: str | None = None
    year: int | None = None
    month: int | None = None
    since: datetime | None = None
    before: datetime | None = None
    min_total: Decimal | None = None
    max_total: Decimal | None = None
    plan: str | None = None
    item: str | None = None
    kind: str | None = None

    @property
    def cheap(self) -> bool:
        """Whether only account and period are asked for, which an index counts."""
        others = (
            self.company,
            self.since,
            self.before,
            self.min_total,
            self.max_total,
            self.plan,
            self.item,
            self.kind,
        )
        return all(value is None for value in others) and (self.month is None or self.year is not None)

    @property
    def empty(self) -> bool:
        return self == Filter()
