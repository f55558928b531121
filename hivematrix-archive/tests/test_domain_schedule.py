"""When a period falls due: clamping, clock changes, catching up, history left alone."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hivematrix_archive.domain.schedule import Schedule, due_moment, due_periods
from hivematrix_common.domain.period import Period
from hypothesis import given, settings
from hypothesis import strategies as st

BERLIN, UTC_ZONE = ZoneInfo("Europe/Berlin"), ZoneInfo("UTC")
ROW = Schedule(
    enabled=True,
    day_of_month=1,
    hour=2,
    previous_month=True,
    all_companies=True,
    accounts=(),
    created_at=datetime(2025, 9, 15, tzinfo=UTC),
)


def at(*parts):
    return datetime(*parts, tzinfo=UTC)


@pytest.mark.parametrize(
    ("period", "day", "hour", "zone", "moment"),
    [
        (Period(2025, 10), 1, 2, UTC_ZONE, at(2025, 11, 1, 2)),
        (Period(2025, 12), 1, 2, UTC_ZONE, at(2026, 1, 1, 2)),
        (Period(2025, 10), 1, 0, BERLIN, at(2025, 10, 31, 23)),
        (Period(2025, 1), 31, 2, UTC_ZONE, at(2025, 2, 28, 2)),
        (Period(2024, 1), 31, 2, UTC_ZONE, at(2024, 2, 29, 2)),
        (Period(2025, 3), 31, 23, UTC_ZONE, at(2025, 4, 30, 23)),
        # 2025-03-30 02:00 does not exist in Berlin, the clock goes on to 03:00; 2025-10-26 02:00 comes twice.
        (Period(2025, 2), 30, 2, BERLIN, at(2025, 3, 30, 1)),
        (Period(2025, 9), 26, 2, BERLIN, at(2025, 10, 26, 0)),
    ],
)
def test_a_period_falls_due_in_the_next_month(period, day, hour, zone, moment):
    assert due_moment(period, replace(ROW, day_of_month=day, hour=hour), zone) == moment


def test_without_previous_month_the_periods_own_last_day_counts_and_it_must_have_ended():
    row = replace(ROW, previous_month=False, day_of_month=5, hour=3)
    assert due_moment(Period(2025, 10), row, UTC_ZONE) == at(2025, 11, 1)


def test_nothing_is_due_before_the_hour_and_one_period_after_it():
    assert due_periods(ROW, UTC_ZONE, at(2025, 10, 1, 1, 59, 59), set()) == []
    assert due_periods(ROW, UTC_ZONE, at(2025, 10, 1, 2), set()) == [Period(2025, 9)]
    assert due_periods(ROW, UTC_ZONE, at(2025, 10, 1, 3), {Period(2025, 9)}) == []


def test_what_was_missed_while_the_machine_was_off_is_caught_up_oldest_first():
    found = due_periods(ROW, UTC_ZONE, at(2026, 2, 10), {Period(2025, 11)})
    assert found == [Period(2025, 9), Period(2025, 10), Period(2025, 12), Period(2026, 1)]


def test_history_from_before_the_installation_is_not_sealed_by_itself():
    row = replace(ROW, created_at=at(2025, 9, 1, 2))
    assert due_periods(row, UTC_ZONE, at(2025, 10, 5), set()) == [Period(2025, 9)]
    assert due_periods(replace(ROW, created_at=at(2025, 9, 1, 1, 59)), UTC_ZONE, at(2025, 9, 5), set()) == [
        Period(2025, 8)
    ]


def test_a_clock_a_year_behind_finds_nothing_due():
    assert due_periods(ROW, UTC_ZONE, at(2024, 10, 1, 3), set()) == []


@given(st.integers(1, 31), st.integers(0, 23), st.booleans(), st.integers(0, 400), st.sampled_from([BERLIN, UTC_ZONE]))
@settings(max_examples=60)
def test_every_period_falls_due_once_and_never_before_its_end(day, hour, previous, days, zone):
    row = replace(ROW, day_of_month=day, hour=hour, previous_month=previous)
    now = row.created_at + timedelta(days=days)
    finished: set[Period] = set()
    for step in range(days + 1):
        moment = row.created_at + timedelta(days=step)
        found = due_periods(row, zone, moment, finished)
        assert all(period.has_ended(moment, zone) for period in found)
        finished |= set(found)
    assert due_periods(row, zone, now, finished) == []
    assert sorted(finished) == due_periods(row, zone, now, set())
