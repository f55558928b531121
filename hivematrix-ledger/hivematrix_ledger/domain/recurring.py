"""Monthly recurring revenue: what a bill charges that comes again next month."""

from decimal import Decimal
from typing import Any, Final

from hivematrix_ledger.domain.engines.v1.values import ZERO

_RECURRING: Final = ("user", "asset", "backup")


def recurring(body: dict[str, Any]) -> Decimal:
    """People, machines, backup and recurring items, net, as invoiced; no hours, no one-off and no yearly items."""
    return sum((Decimal(line["amount"]) for line in body["lines"] if _recurs(line)), ZERO)


def _recurs(line: dict[str, Any]) -> bool:
    if line["kind"] == "item":
        return bool(line["why"]["basis"]["kind"] == "recurring")
    return line["kind"] in _RECURRING
