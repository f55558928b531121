"""What a search for sealed bills may ask, and in which order it answers."""

from dataclasses import dataclass, fields, replace
from datetime import datetime
from decimal import Decimal
from typing import Literal

from hivematrix_common.domain.period import Period

Sort = Literal["-sealed", "sealed", "-period", "period", "-total", "total"]


@dataclass(frozen=True, slots=True)
class Filter:
    """What a search asks for; None asks nothing. `before` is exclusive, every other bound is not."""

    account_number: str | None = None
    company: str | None = None
    year: int | None = None
    month: int | None = None
    from_period: Period | None = None
    to_period: Period | None = None
    since: datetime | None = None
    before: datetime | None = None
    min_total: Decimal | None = None
    max_total: Decimal | None = None
    plan: str | None = None
    item: str | None = None
    kind: str | None = None
    q: str | None = None

    @property
    def asked(self) -> frozenset[str]:
        return frozenset(name for name in MEMBERS if getattr(self, name) is not None)

    @property
    def months_only(self) -> bool:
        """Whether nothing but months is asked for, whose bills are counted beforehand."""
        return self.asked <= {"year", "month", "from_period", "to_period"}

    @property
    def one_account(self) -> bool:
        """Whether an account's bills are asked for, of some months or all, which an index counts."""
        return "account_number" in self.asked and replace(self, account_number=None).months_only


MEMBERS = tuple(field.name for field in fields(Filter))


def turned(sort: Sort) -> Sort:
    """The same order, from the other end."""
    return sort[1:] if sort.startswith("-") else f"-{sort}"  # type: ignore[return-value]
