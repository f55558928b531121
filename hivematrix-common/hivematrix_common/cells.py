"""One cell of an import file to its value. Each parser takes text that is trimmed and not empty; DomainError says what
was expected.
"""

import re
from collections.abc import Callable
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.money import PLACES, decimal_text, parse_decimal
from hivematrix_common.domain.period import LAST_YEAR, Period

Parser = Callable[[str], Any]

_ACCOUNT = re.compile(r"[A-Za-z0-9]{1,32}")
_FIRST_YEAR = 1900
_BOOLEANS = {"true": True, "false": False}


def shown(text: str, limit: int = 40) -> str:
    """Text of a stranger's file, fit for a message: short, printable."""
    short = text[: limit + 1]
    if not short.isprintable():
        short = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in short)
    return short if len(short) <= limit else short[:limit] + "…"


def text(limit: int = 200) -> Parser:
    def parse(cell: str) -> str:
        if len(cell) > limit:
            raise DomainError("", f"expected at most {limit} characters, got {len(cell)}")
        return cell

    return parse


def account_number(cell: str) -> str:
    if not _ACCOUNT.fullmatch(cell):
        raise DomainError("", f"expected 1 to 32 letters and digits, got {shown(cell)}")
    return cell


def boolean(cell: str) -> bool:
    if cell not in _BOOLEANS:
        raise DomainError("", f"expected true or false, got {shown(cell)}")
    return _BOOLEANS[cell]


def integer(minimum: int = 0, maximum: int = 2**53 - 1) -> Parser:
    def parse(cell: str) -> int:
        digits = cell.removeprefix("-")
        value = int(cell) if digits.isascii() and digits.isdigit() and len(digits) <= 16 else None  # noqa: PLR2004
        if value is None or not minimum <= value <= maximum:
            raise DomainError("", f"expected a whole number from {minimum} to {maximum}, got {shown(cell)}")
        return value

    return parse


def decimal(minimum: Decimal | None = None, maximum: Decimal | None = None, places: int = PLACES) -> Parser:
    def parse(cell: str) -> Decimal:
        value = parse_decimal(cell, places=places)
        if minimum is not None and value < minimum:
            raise DomainError("", f"expected {decimal_text(minimum)} or more, got {cell}")
        if maximum is not None and value > maximum:
            raise DomainError("", f"expected {decimal_text(maximum)} or less, got {cell}")
        return value

    return parse


def one_of(*choices: str) -> Parser:
    def parse(cell: str) -> str:
        if cell not in choices:
            raise DomainError("", f"expected one of {', '.join(choices)}, got {shown(cell)}")
        return cell

    return parse


def period(cell: str) -> Period:
    return Period.parse(cell)


def day(zone: ZoneInfo) -> Parser:
    """A date as it stands; an instant with an offset is converted to its date in the billing `zone`."""

    def parse(cell: str) -> date:
        moment = _moment(cell)
        return moment.astimezone(zone).date() if isinstance(moment, datetime) else moment

    return parse


def instant(zone: ZoneInfo) -> Parser:
    """An instant with an offset; a date is its first moment in the billing `zone`."""

    def parse(cell: str) -> datetime:
        moment = _moment(cell)
        return moment if isinstance(moment, datetime) else datetime(moment.year, moment.month, moment.day, tzinfo=zone)

    return parse


def _moment(cell: str) -> date | datetime:
    is_date = len(cell) == 10 and cell[4] == cell[7] == "-"  # noqa: PLR2004
    try:
        moment = date.fromisoformat(cell) if is_date else datetime.fromisoformat(cell)
    except ValueError:
        raise DomainError("", f"expected a date such as 2025-10-31, got {shown(cell)}") from None
    if isinstance(moment, datetime) and moment.tzinfo is None:
        raise DomainError("", f"expected a date, or an instant with its offset, got {shown(cell)}")
    if not _FIRST_YEAR <= moment.year <= LAST_YEAR:
        raise DomainError("", f"expected a year from {_FIRST_YEAR} to {LAST_YEAR}, got {shown(cell)}")
    return moment
