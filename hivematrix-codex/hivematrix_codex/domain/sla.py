"""Which open tickets wait for whom, from what is known of them; what is not known is said to be unknown."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

# A ticket with one of these waits for nobody, closed or not.
SETTLED: Final = frozenset({"resolved", "closed", "spam", "deleted", "billing_complete"})
REPLIED: Final = "customer_replied"
# An open ticket is to be looked at this often.
UPDATE_WITHIN: Final = {
    "urgent": timedelta(minutes=30),
    "high": timedelta(days=2),
    "medium": timedelta(days=3),
    "low": timedelta(days=4),
}
_CRITICAL, _WARNING = timedelta(hours=4), timedelta(hours=12)


class Section(StrEnum):
    NEEDS_RESPONSE = "section1"
    CUSTOMER_REPLIED = "section2"
    UPDATE_OVERDUE = "section3"
    OTHER = "section4"


class Due(StrEnum):
    """How the first response stands: the time that is left, or that nobody said one."""

    BREACHED = "breached"
    CRITICAL = "critical"
    WARNING = "warning"
    IN_TIME = "in_time"
    RESPONDED = "responded"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Placed:
    """A ticket in its section. `overdue_by` is how long it was not looked at beyond what its priority allows."""

    ticket: Mapping[str, Any]
    section: Section
    first_response: Due
    overdue_by: timedelta | None


def placed(tickets: Iterable[Mapping[str, Any]], now: datetime) -> list[Placed]:
    """Open tickets in their sections, in the order in which somebody should look at them."""
    found = [_placed(ticket, now) for ticket in tickets if ticket["status"] not in SETTLED]
    return sorted(found, key=lambda one: (one.section, *_urgency(one, now)))


def _placed(ticket: Mapping[str, Any], now: datetime) -> Placed:
    due, overdue = _first_response(ticket, now), _overdue_by(ticket, now)
    if due in {Due.BREACHED, Due.CRITICAL, Due.WARNING, Due.IN_TIME}:
        section = Section.NEEDS_RESPONSE
    elif ticket["status"] == REPLIED:
        section = Section.CUSTOMER_REPLIED
    else:
        section = Section.UPDATE_OVERDUE if overdue else Section.OTHER
    return Placed(ticket, section, due, overdue)


def _first_response(ticket: Mapping[str, Any], now: datetime) -> Due:
    if ticket["first_responded_at"] or ticket["agent_responded_at"]:
        return Due.RESPONDED
    if ticket["fr_due_by"] is None:
        return Due.UNKNOWN
    left = ticket["fr_due_by"] - now
    if left < timedelta(0):
        return Due.BREACHED
    if left < _CRITICAL:
        return Due.CRITICAL
    return Due.WARNING if left < _WARNING else Due.IN_TIME


def _overdue_by(ticket: Mapping[str, Any], now: datetime) -> timedelta | None:
    within, looked_at = UPDATE_WITHIN.get(ticket["priority"] or ""), ticket["last_updated_at"]
    if within is None or looked_at is None or now - looked_at <= within:
        return None
    over: timedelta = now - looked_at - within
    return over


def _urgency(one: Placed, now: datetime) -> tuple[timedelta, str]:
    """The least time left first, then what is longest overdue."""
    if one.section is Section.NEEDS_RESPONSE:
        return one.ticket["fr_due_by"] - now, one.ticket["uid"]
    return -(one.overdue_by or timedelta(0)), one.ticket["uid"]
