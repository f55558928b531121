"""Every released engine by its number. A released one is never edited: what it billed must come out again for ever."""

from collections.abc import Callable
from typing import Any

from hivematrix_common.domain.errors import DomainError

from hivematrix_ledger.domain.engines import v1, v2
from hivematrix_ledger.domain.engines.v1 import Bill, NoBill

__all__ = ["CORRECTIONS", "CURRENT", "ENGINES", "Bill", "NoBill", "compute_bill"]

CURRENT = v1.VERSION
CORRECTIONS = v2.VERSION
ENGINES: dict[int, Callable[[dict[str, Any]], Bill | NoBill]] = {
    v1.VERSION: v1.compute_bill,
    v2.VERSION: v2.compute_bill,
}


def compute_bill(inputs: dict[str, Any], engine: int = CURRENT) -> Bill | NoBill:
    """The bill of `inputs` by the engine of that number; DomainError when there is none, or they are another's."""
    if engine not in ENGINES:
        raise DomainError("engine", f"expected one of {', '.join(map(str, ENGINES))}, got {engine}")
    if (engine == CORRECTIONS) != bool(inputs.get("correction")):
        raise DomainError("inputs.correction", f"engine {CORRECTIONS} makes corrections, engine {CURRENT} makes bills")
    return ENGINES[engine](inputs)
