"""The billing period: one calendar month in the billing time zone, half-open."""

import calendar
import re
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from hivematrix_common.domain.errors import DomainError

_TEXT = re.compile(r"([0-9]{4})-([0-9]{2})")
FIRST_YEAR, LAST_YEAR = 2000, 2199


@dataclass(frozen=True, order=True, slots=True)
class Period:
    """A month such as 2025-10. Years 2000 to 2199; anything else raises DomainError."""

    year: int
    month: int

    def __post_init__(self) -> None:
        if not 1 <= self.month <= 12:  # noqa: PLR2004
            raise DomainError("month", f"expected 1 to 12, got {self.month}")
        if not FIRST_YEAR <= self.year <= LAST_YEAR:
            raise DomainError("year", f"expected {FIRST_YEAR} to {LAST_YEAR}, got {self.year}")

    @classmethod
    def parse(cls, text: object, field: str = "period") -> "Period":
        match = _TEXT.fullmatch(text) if isinstance(text, str) else None
        if not match:
            raise DomainError(field, f"expected YYYY-MM, got {text!r}")
        try:
            return cls(int(match[1]), int(match[2]))
        except DomainError as error:
            raise DomainError(field, f"{error.message} in {text!r}") from None

    @classmethod
    def of(cls, day: date) -> "Period":
        return cls(day.year, day.month)

    @property
    def first(self) -> date:
        return date(self.year, self.month, 1)

    @property
    def last(self) -> date:
        return date(self.year, self.month, self.days)

    @property
    def days(self) -> int:
        return calendar.monthrange(self.year, self.month)[1]

    @property
    def compact(self) -> str:
        """As invoice numbers spell it: 202510."""
        return f"{self.year}{self.month:02}"

    def plus(self, months: int) -> "Period":
        years, month = divmod(self.month - 1 + months, 12)
        return Period(self.year + years, month + 1)

    def months_since(self, other: "Period") -> int:
        return (self.year - other.year) * 12 + self.month - other.month

    def contains(self, day: date) -> bool:
        return (day.year, day.month) == (self.year, self.month)

    def bounds(self, zone: ZoneInfo) -> tuple[datetime, datetime]:
        """The half-open interval [first instant, first instant of the next month) in `zone`."""
        after = self.last + timedelta(days=1)
        return _midnight(self.first, zone), _midnight(after, zone)

    def has_ended(self, now: datetime, zone: ZoneInfo) -> bool:
        return now >= self.bounds(zone)[1]

    def __str__(self) -> str:
        return f"{self.year}-{self.month:02}"


def _midnight(day: date, zone: ZoneInfo) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=zone)
