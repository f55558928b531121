"""What running the mesh costs, by prices somebody wrote down, and where it goes."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

GIGABYTE = 10**9
AWAY = "offsite"
_CENT = Decimal("0.01")


@dataclass(frozen=True, slots=True)
class Prices:
    """A month of the machine, and of a gigabyte here and elsewhere."""

    machine: Decimal = Decimal(0)
    disk_gb: Decimal = Decimal(0)
    offsite_gb: Decimal = Decimal(0)


def monthly(stored: Mapping[str, int], prices: Prices) -> dict[str, Decimal]:
    """The cost of a month by part; `stored` is bytes by part, `offsite` what lies elsewhere."""
    here = sum(size for part, size in stored.items() if part != AWAY)
    return {
        "machine": prices.machine.quantize(_CENT),
        "disk": (Decimal(here) / GIGABYTE * prices.disk_gb).quantize(_CENT),
        AWAY: (Decimal(stored.get(AWAY, 0)) / GIGABYTE * prices.offsite_gb).quantize(_CENT),
    }


def forecast(days: Sequence[tuple[int, float]], ahead: int) -> float | None:
    """Where a line through (day, value) stands `ahead` days after the last; None without two days."""
    if len(days) < 2:  # noqa: PLR2004 - a line needs two points
        return None
    middle = sum(day for day, _ in days) / len(days)
    mean = sum(value for _, value in days) / len(days)
    spread = sum((day - middle) ** 2 for day, _ in days)
    slope = sum((day - middle) * (value - mean) for day, value in days) / spread if spread else 0.0
    return max(0.0, days[-1][1] + slope * ahead)
