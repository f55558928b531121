"""Monthly recurring revenue: what a bill charges that comes again next month."""

from decimal import Decimal
from typing import Any, Final

from hivematrix_ledger.domain.engines.v1.values import ZERO
from hivematrix_ledger.domain.lines import basis_of

_RECURRING: Final = ("user", "asset", "backup")


def recurring(body: dict[str, Any]) -> Decimal:
    """People, machines, backup and recurring items, net, as invoiced; no hours, no one-off and no yearly items.

    A credit note's is negative: what it takes back of them.
    """
    return sum((Decimal(line["amount"]) for line in body["lines"] if _recurs(body, line)), ZERO)


def _recurs(body: dict[str, Any], line: dict[str, Any]) -> bool:
    if line["kind"] == "item":
        return bool(basis_of(body, line)["kind"] == "recurring")
    return line["kind"] in _RECURRING
