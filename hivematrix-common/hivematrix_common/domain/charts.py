"""Geometry of the drawings, in the units of their viewBox. Words and figures stand beside a drawing, never in it."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

Amount = Decimal | int
NOTHING, WHOLE = Decimal(0), Decimal(1)
PAD = Decimal(3)
SLIVER = Decimal(1)  # what is not nothing can be seen
END = Decimal(8)
_TENTH = Decimal("0.1")
# How tall a day's mark is and where it is broken: the shape says the state before the colour does.
DAY: dict[str, tuple[tuple[float, float], ...]] = {
    "ok": ((0.5, 31),),
    "warn": ((11, 20.5),),
    "bad": ((0.5, 9), (22.5, 9)),
    "busy": ((0.5, 9), (11, 9), (22.5, 9)),
    "unknown": ((0.5, 31),),
}


@dataclass(frozen=True, slots=True)
class Box:
    x: Decimal
    y: Decimal
    width: Decimal
    height: Decimal


@dataclass(frozen=True, slots=True)
class Point:
    x: Decimal
    y: Decimal

    def __str__(self) -> str:
        return f"{self.x},{self.y}"


@dataclass(frozen=True, slots=True)
class Fall:
    """One bar of a waterfall; `kind` is its class, `step` the path that leads to its neighbours."""

    x: Decimal
    width: Decimal
    kind: str
    step: str


def bars(amounts: Sequence[Amount], width: int, height: int) -> list[Box]:
    """Bars from 0 up; an amount below 0 has none."""
    if not amounts:
        return []
    slot, top = Decimal(width) / len(amounts), Decimal(max(*amounts, 0)) or WHOLE
    heights = [
        max(amount / top * height, SLIVER if amount else NOTHING) if amount >= 0 else NOTHING for amount in amounts
    ]
    return [
        Box(
            _short(place * slot + slot * Decimal("0.075")),
            _short(height - tall),
            _short(slot * Decimal("0.85")),
            _short(tall),
        )
        for place, tall in enumerate(heights)
    ]


def points(
    amounts: Sequence[Amount], width: int, height: int, low: Amount | None = None, high: Amount | None = None
) -> list[Point]:
    """A line from left to right, between its lowest and highest amount unless `low` and `high` say the scale."""
    if not amounts:
        return []
    bottom = Decimal(min(amounts) if low is None else low)
    span = (max(amounts) if high is None else high) - bottom or WHOLE
    step = (width - 2 * PAD) / max(1, len(amounts) - 1)
    tall = height - 2 * PAD
    return [
        Point(_short(PAD + place * step), _short(PAD + tall * (1 - (amount - bottom) / span)))
        for place, amount in enumerate(amounts)
    ]


def shares(amounts: Sequence[Amount], width: int, gap: int = 3) -> list[Box]:
    """Parts of a whole side by side."""
    whole = Decimal(sum(amounts)) or WHOLE
    found, x = [], NOTHING
    for amount in amounts:
        part = amount / whole * width
        found.append(Box(_short(x), NOTHING, _short(max(part - gap, SLIVER)), NOTHING))
        x += part
    return found


def fall(amounts: Sequence[Amount], width: int) -> list[Fall]:
    """From the first amount, a total, through changes to the last, the new total. The scale need not start at 0."""
    if len(amounts) < 2:  # noqa: PLR2004 - two totals
        return []
    levels = [Decimal(amounts[0])]
    for change in amounts[1:-1]:
        levels.append(levels[-1] + change)
    low, span = min(levels), (max(levels) - min(levels)) or WHOLE
    at = [END / 2 + (level - low) / span * (width - END) for level in levels]
    last = len(at) - 1
    found = [Fall(_short(at[0] - END / 2), END, "hm-end", f"M{_short(at[0])} 19V32")]
    for place in range(1, last + 1):
        left, wide = min(at[place - 1], at[place]), abs(at[place] - at[place - 1])
        kind = "hm-up" if at[place] >= at[place - 1] else "hm-down"
        step = f"M{_short(at[place - 1])} -8V5M{_short(at[place])} 19V32"
        found.append(Fall(_short(left), _short(max(wide, SLIVER)), kind, step))
    return [*found, Fall(_short(at[last] - END / 2), END, "hm-end", f"M{_short(at[last])} -8V5")]


def _short(value: Decimal) -> Decimal:
    return value.quantize(_TENTH)


def pieces(
    amounts: Sequence[Amount | None], width: int, height: int, low: Amount | None = None, high: Amount | None = None
) -> list[list[Point]]:
    """A line as `points` draws it, broken where an amount is not known: what was not measured is not drawn."""
    known = [amount for amount in amounts if amount is not None]
    if not known:
        return []
    low, high = min(known) if low is None else low, max(known) if high is None else high
    placed = points([low if amount is None else amount for amount in amounts], width, height, low, high)
    found: list[list[Point]] = [[]]
    for amount, point in zip(amounts, placed, strict=True):
        if amount is not None:
            found[-1].append(point)
        elif found[-1]:
            found.append([])
    return [piece for piece in found if piece]


def highest(lines: Sequence[Sequence[Amount | None]], low: Amount) -> Amount:
    """The top of the scale that several lines share."""
    return max([amount for line in lines for amount in line if amount is not None], default=low)
