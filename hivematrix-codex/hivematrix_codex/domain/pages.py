"""A page of a list."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Page:
    """A keyset page. `next` is the cursor of the following one; a `total` above 10,000 may be cut there."""

    items: list[Any]
    next: str | None
    total: int
    total_exact: bool = True
