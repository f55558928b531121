"""Time entries for providers that only report a ticket's total so far."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal

from hivematrix_common.domain.errors import DomainError


@dataclass(frozen=True, slots=True)
class Entry:
    uid: str
    ticket_uid: str
    worked_on: date
    hours: Decimal
    billable: bool = True


@dataclass(frozen=True, slots=True)
class Difference:
    """`changed` entries are new or smaller than before. `unexplained` hours are in accepted entries, but no longer in
    the provider's total: a finding, never an edit.
    """

    changed: tuple[Entry, ...]
    unexplained: Decimal


def by_difference(
    ticket_uid: str, recorded: Sequence[Entry], total: Decimal, seen_on: date, accepted: Collection[str]
) -> Difference:
    """What a ticket's new cumulative `total` changes in the entries `recorded` so far (oldest first).

    A rise is one new entry dated `seen_on`. A fall takes from the newest entries that no accepted bill holds.
    """
    if total < 0:
        raise DomainError("total", f"hours are never negative, got {total}")
    rise = total - sum((entry.hours for entry in recorded), Decimal(0))
    if rise > 0:
        return Difference((Entry(f"{ticket_uid}/{len(recorded) + 1}", ticket_uid, seen_on, rise),), Decimal(0))
    return _fall(recorded, -rise, accepted)


def _fall(recorded: Sequence[Entry], excess: Decimal, accepted: Collection[str]) -> Difference:
    changed: list[Entry] = []
    for entry in reversed(recorded):
        taken = Decimal(0) if entry.uid in accepted else min(entry.hours, excess)
        if taken:
            changed.append(replace(entry, hours=entry.hours - taken))
            excess -= taken
    return Difference(tuple(changed), excess)
