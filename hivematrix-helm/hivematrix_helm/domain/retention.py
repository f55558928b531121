"""Which backup sets stay: 30 daily, 12 weekly and 12 monthly verified ones, and never fewer than three.

Ages are counted in sets, never in days gone by: a set goes because later ones took its place. So neither an idle
machine nor a leap of the clock makes anything old. Times are those of the manifests, days and weeks those of UTC.
"""

from collections.abc import Callable, Collection, Hashable, Iterable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from hivematrix_helm.domain.backup import Record, State

FLOOR = 3
DAILY, WEEKLY, MONTHLY = 30, 12, 12
# Why a set stays.
LAST, FUTURE, NOT_AWAY, RECENT = "one of the last three", "from the future", "not off-site yet", "not verified"
# Why it goes.
REPLACED, NEVER_VERIFIED = "later verified sets took its place", "not verified, and 30 later days have a verified set"


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of one set: it goes, or it stays for these reasons."""

    name: str
    stays: bool
    reasons: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Plan:
    """One verdict a set, newest first."""

    verdicts: tuple[Verdict, ...]

    @property
    def remove(self) -> tuple[str, ...]:
        """The sets to remove, oldest first: whoever is stopped on the way has kept the newer ones."""
        return tuple(verdict.name for verdict in reversed(self.verdicts) if not verdict.stays)


def is_verified(found: Record) -> bool:
    """Whether the last look at it found nothing wrong."""
    return found.state in {State.VERIFIED, State.PROVED}


def plan(sets: Iterable[Record], now: datetime, awaited: Collection[str] = ()) -> Plan:
    """What stays and what goes; `awaited` are the names of those that are still to be copied off-site.

    A set that says it was made after `now` was made by a wrong clock, or the present one is wrong: it stays, and takes
    nobody's place.
    """
    ordered = sorted(sets, key=lambda found: (found.made_at, found.name), reverse=True)
    verified = [found for found in ordered if is_verified(found) and found.made_at <= now]
    reasons: dict[str, list[str]] = {found.name: [] for found in ordered}
    for label, bucket, count in _RULES:
        for found in _newest_of_each(verified, bucket, count):
            reasons[found.name].append(label)
    days = sorted({_day(found) for found in verified}, reverse=True)[:DAILY]
    for found in ordered:
        recent = not is_verified(found) and (len(days) < DAILY or _day(found) >= days[-1])
        told = ((found.made_at > now, FUTURE), (found.name in awaited, NOT_AWAY), (recent, RECENT))
        reasons[found.name] += [reason for holds, reason in told if holds]
    for found in verified[:FLOOR]:
        reasons[found.name] = reasons[found.name] or [LAST]
    return Plan(tuple(_verdict(found, reasons[found.name]) for found in ordered))


def _day(found: Record) -> tuple[int, ...]:
    return found.made_at.timetuple()[:3]


def _week(found: Record) -> tuple[int, ...]:
    return found.made_at.isocalendar()[:2]


def _month(found: Record) -> tuple[int, ...]:
    return found.made_at.timetuple()[:2]


_RULES: tuple[tuple[str, Callable[[Record], Hashable], int], ...] = (
    ("daily", _day, DAILY),
    ("weekly", _week, WEEKLY),
    ("monthly", _month, MONTHLY),
)


def _newest_of_each(newest_first: Sequence[Record], bucket: Callable[[Record], Hashable], count: int) -> list[Record]:
    """The newest set of each of the last `count` days, weeks or months that have one."""
    first: dict[Hashable, Record] = {}
    for found in newest_first:
        first.setdefault(bucket(found), found)
    return list(first.values())[:count]


def _verdict(found: Record, reasons: Sequence[str]) -> Verdict:
    if reasons:
        return Verdict(found.name, stays=True, reasons=tuple(reasons))
    return Verdict(found.name, stays=False, reasons=(REPLACED if is_verified(found) else NEVER_VERIFIED,))
