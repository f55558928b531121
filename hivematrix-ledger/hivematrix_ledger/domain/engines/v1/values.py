"""Exact numbers and their texts. Nothing here rounds but `rounded`, and that once per line."""

from collections.abc import Iterable
from decimal import ROUND_HALF_UP, Context, Decimal, Inexact, InvalidOperation, Overflow
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, NamedTuple

from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.money import minor_digits, parse_decimal, round_half_up

Document = dict[str, Any]

EXACT: Final = Context(prec=200, traps=[Inexact, InvalidOperation, Overflow])
"""Work in this context: anything it cannot hold exactly raises instead of being rounded unseen."""

ZERO: Final = Decimal(0)
_ROUNDING: Final = Context(prec=200)
_STEPS: Final = tuple(Decimal(1).scaleb(-digits) for digits in range(5))


class NoBillError(Exception):
    """The company gets no bill: `status` is unbillable or skipped, the text says why."""

    def __init__(self, status: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status


@lru_cache(maxsize=65536)
def number(text: str, field: str) -> Decimal:
    """A rate, fee, cost, percentage or hours as stored: at most 4 decimals."""
    return parse_decimal(text, field)


def optional(text: str | None, field: str) -> Decimal | None:
    """Only a missing or empty cell is no number; 0 is one."""
    return None if text is None or text == "" else number(text, field)


def rounded(value: Decimal | Fraction, digits: int) -> Decimal:
    """Half away from zero, never a negative zero."""
    if isinstance(value, Fraction):
        return round_half_up(value, digits)
    return value.quantize(_STEPS[digits], ROUND_HALF_UP, _ROUNDING) or abs(_STEPS[digits] * 0)


def plain(value: Decimal) -> str:
    """Plain digits without trailing zeros: 100, 0.125, -5."""
    text = format(value, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def exact_text(value: Fraction) -> str:
    """Plain digits, or numerator/denominator in lowest terms when they would not end."""
    rest = value.denominator
    for prime in (2, 5):
        while rest % prime == 0:
            rest //= prime
    if rest > 1:
        return f"{value.numerator}/{value.denominator}"
    return plain(EXACT.divide(Decimal(value.numerator), Decimal(value.denominator)))


class Money(NamedTuple):
    """How amounts of one currency are rounded and written."""

    currency: str
    digits: int

    @classmethod
    def of(cls, currency: str) -> "Money":
        return cls(currency, minor_digits(currency))

    def amount(self, exact: Decimal | Fraction) -> Decimal:
        return rounded(exact, self.digits)

    def text(self, amount: Decimal) -> str:
        return format(rounded(amount, self.digits), "f")

    def sum(self, amounts: Iterable[Decimal]) -> Decimal:
        return sum(amounts, ZERO)

    @property
    def rounding(self) -> str:
        return f"half_up {self.digits}"


def require(condition: object, field: str, message: str) -> None:
    if not condition:
        raise DomainError(field, message)
