"""When a period is sealed by itself: the row `scheduled_snapshots` decides, in the billing time zone."""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from hivematrix_common.domain.period import Period


@dataclass(frozen=True, slots=True)
class Schedule:
    """The row. `accounts` counts only when `all_companies` is false."""

    enabled: bool
    day_of_month: int
    hour: int
    previous_month: bool
    all_companies: bool
    accounts: tuple[str, ...]
    created_at: datetime


def due_moment(period: Period, schedule: Schedule, zone: ZoneInfo) -> datetime:
    """The instant from which `period` is sealed, never before its end.

    The day is clamped to the month's length. An hour that a clock change skips falls to the hour after it, one that
    comes twice counts the first time. Without `previous_month` the period's own last day counts.
    """
    month = period.plus(1) if schedule.previous_month else period
    day = min(schedule.day_of_month, month.days) if schedule.previous_month else month.days
    moment = datetime(month.year, month.month, day, schedule.hour, tzinfo=zone)
    return max(moment.astimezone(UTC), period.bounds(zone)[1].astimezone(UTC))


def coming(schedule: Schedule, zone: ZoneInfo, now: datetime, number: int) -> list[tuple[Period, datetime]]:
    """The next months that fall due, and when."""
    period = Period.of(now.astimezone(zone).date()).plus(-1)
    while due_moment(period, schedule, zone) <= now:
        period = period.plus(1)
    return [(month, due_moment(month, schedule, zone)) for month in map(period.plus, range(number))]


def due_periods(schedule: Schedule, zone: ZoneInfo, now: datetime, finished: Collection[Period]) -> list[Period]:
    """Every period that is due and has no finished scheduled job, oldest first.

    What fell due before the row was made is history and stays unsealed; what was missed since is caught up.
    """
    period = Period.of(schedule.created_at.astimezone(zone).date()).plus(-1)
    last = Period.of(now.astimezone(zone).date())
    found = []
    while period <= last:
        if schedule.created_at < due_moment(period, schedule, zone) <= now and period not in finished:
            found.append(period)
        period = period.plus(1)
    return found
