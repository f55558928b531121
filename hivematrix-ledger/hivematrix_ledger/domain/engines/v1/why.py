"""Why a line costs what it costs: a small formula that anyone can evaluate again, left to right and exactly.

    formula  = factor { ( times | "/" ) factor }
    factor   = number | "(" number { ( "+" | minus ) number } ")"
    rounding = "half_up " digits

`times` and `minus` are U+00D7 and U+2212; a number may be negative ("-5"). `exact` is the value before the rounding.
"""

import re
from collections.abc import Iterable
from decimal import Decimal
from fractions import Fraction
from typing import Final

from hivematrix_common.domain.errors import DomainError

from .values import Document, plain, rounded

TIMES: Final = "\u00d7"
MINUS: Final = "\u2212"
_TOKEN: Final = re.compile(rf"\s*(-?[0-9]+(?:\.[0-9]+)?|[{TIMES}/()+{MINUS}])")


def why(
    *,
    records: int,
    dates: Document,
    rate: str,
    source: str,
    formula: str,
    exact: str,
    rounding: str,
    rate_name: str | None = None,
    basis: Document | None = None,
) -> Document:
    """`rate_name` names one of the eleven rates; `basis` says how the quantity came about, for kinds that have more."""
    return {
        "records": records,
        "dates": dates,
        "rate": rate,
        "rate_name": rate_name,
        "source": source,
        "formula": formula,
        "exact": exact,
        "rounding": rounding,
        "basis": basis,
    }


def sum_text(terms: Iterable[Decimal], less: Iterable[Decimal] = ()) -> str:
    """Several numbers as one factor; a single one stands without parentheses."""
    text = " + ".join(map(plain, terms))
    text += "".join(f" {MINUS} {plain(term)}" for term in less)
    return f"({text})" if " " in text else text


def product(*factors: str) -> str:
    return f" {TIMES} ".join(factors)


def evaluate(formula: str) -> Fraction:
    """The exact value of a formula; DomainError when it is none."""
    tokens = _tokens(formula)
    value = _factor(tokens, formula)
    while tokens:
        operator = tokens.pop(0)
        factor = _factor(tokens, formula)
        if operator == TIMES:
            value *= factor
        elif operator == "/" and factor:
            value /= factor
        else:
            raise _bad(formula)
    return value


def replay(reason: Document) -> Decimal:
    """The line's amount, from its `why` alone."""
    value = evaluate(reason["formula"])
    if Fraction(reason["exact"]) != value:
        raise DomainError("why.exact", f"{reason['formula']} gives {value}, not {reason['exact']}")
    mode, _, digits = reason["rounding"].partition(" ")
    if mode != "half_up" or not digits.isdecimal():
        raise DomainError("why.rounding", f"expected half_up and digits, got {reason['rounding']!r}")
    return rounded(value, int(digits))


def _tokens(formula: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    while position < len(formula):
        match = _TOKEN.match(formula, position)
        if not match:
            raise _bad(formula)
        tokens.append(match[1])
        position = match.end()
    return tokens


def _factor(tokens: list[str], formula: str) -> Fraction:
    if tokens[:1] != ["("]:
        return _number(tokens, formula)
    tokens.pop(0)
    value = _number(tokens, formula)
    while tokens[:1] in (["+"], [MINUS]):
        sign = 1 if tokens.pop(0) == "+" else -1
        value += sign * _number(tokens, formula)
    if tokens[:1] != [")"]:
        raise _bad(formula)
    tokens.pop(0)
    return value


def _number(tokens: list[str], formula: str) -> Fraction:
    token = tokens.pop(0) if tokens else ""
    if not token.removeprefix("-")[:1].isdigit():
        raise _bad(formula)
    return Fraction(token)


def _bad(formula: str) -> DomainError:
    return DomainError("why.formula", f"cannot be read: {formula!r}")
