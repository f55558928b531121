"""How far an invoice may be credited: what is left of it stays between nothing and what was billed."""

from collections.abc import Mapping
from decimal import Decimal


def exceeded(billed: Mapping[str, Decimal], credited: Mapping[str, Decimal]) -> list[str]:
    """Those of the totals that all credits together (with their signs) take too far, in the order of `billed`."""
    return [name for name, amount in billed.items() if not _is_between(amount + credited[name], amount)]


def _is_between(left: Decimal, billed: Decimal) -> bool:
    return min(billed, Decimal(0)) <= left <= max(billed, Decimal(0))
