"""How far an invoice may be credited: each credit leaves between nothing and what was left before it."""

from collections.abc import Mapping
from decimal import Decimal


def exceeded(left: Mapping[str, Decimal], credit: Mapping[str, Decimal]) -> list[str]:
    """Those of the totals that a credit (with its sign) takes beyond nothing, or raises, in the order of `left`."""
    return [name for name, amount in left.items() if not _is_between(amount + credit[name], amount)]


def _is_between(after: Decimal, before: Decimal) -> bool:
    return min(before, Decimal(0)) <= after <= max(before, Decimal(0))
