"""Calendar months: as text (2025-10), as the dates that are compared, and as integers that can be counted."""

from datetime import date
from functools import lru_cache
from typing import NamedTuple

from hivematrix_common.domain.period import Period


class Month(NamedTuple):
    """`first` and `last` are ISO texts, which compare as dates do."""

    text: str
    ordinal: int
    first: str
    last: str
    last_day: date
    days: int


@lru_cache(maxsize=1024)
def month_named(text: str) -> Month:
    period = Period.parse(text)
    return Month(text, index_of(text), period.first.isoformat(), period.last.isoformat(), period.last, period.days)


def index_of(text: str) -> int:
    """The month of a date's or a month's text as an integer: 12 times the year, plus the month less 1."""
    return int(text[:4]) * 12 + int(text[5:7]) - 1


def month_of(index: int) -> str:
    year, month = divmod(index, 12)
    return f"{year:04}-{month + 1:02}"
