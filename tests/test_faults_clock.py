"""A clock that is wrong or moves: no month is sealed twice, none before its end, and what was missed is caught up."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from faulty import hung_up
from hivematrix_archive.domain.jobs import DONE, Status
from hivematrix_archive.services import jobs
from hivematrix_common.domain.period import Period

pytestmark = pytest.mark.mesh
ACCOUNTS = ("183729", "620547")
# Two companies; each test has its own day and hour, and its own years.
ROW = """
    UPDATE scheduled_snapshots SET created_at = %s, day_of_month = %s, hour = %s, snapshot_all_companies = false,
        account_numbers = '["183729", "620547"]'"""


@pytest.fixture
def at(strained: Any, set_clock: Callable[[str], None]) -> Iterator[Callable[[str], list[str]]]:
    """`at(instant)`: the whole mesh's clock is moved there, and the hourly timer fires; the periods it has sealed."""
    set_clock(f"@{strained.home}/now")

    def fire(instant: str) -> list[str]:
        strained.move_clock(instant)
        with strained.timer() as runner:
            reports = jobs.run_due(runner)
        assert {report.code for report in reports} <= {DONE}, [report.tally.errors for report in reports]
        return [str(report.job.period) for report in reports]

    yield fire
    strained.move_clock("")


def schedule(mesh: Any, created_at: str, day: int, hour: int) -> None:
    mesh.sql("archive", ROW, (created_at, day, hour), role="owner")


def assert_sealed_once(mesh: Any, *periods: str) -> None:
    mesh.assert_sound(*((found.year, found.month) for found in map(Period.parse, periods)))


def assert_open(mesh: Any, period: Period) -> None:
    """Nobody can seal it: not the command, not a clerk, not a job asked for over HTTP."""
    command = ("--year", str(period.year), "--month", str(period.month), "--accounts", ACCOUNTS[0])
    assert "has not ended" in mesh.snapshots(*command, code=2).stderr
    bill = {"account_number": ACCOUNTS[0], "year": period.year, "month": period.month}
    order = {"year": period.year, "month": period.month}
    answers = [
        mesh.ask("POST", "ledger", "/api/bill/accept", json=bill),
        mesh.ask("POST", "archive", "/api/snapshots/bulk/create", json=order),
    ]
    assert [(answer.status_code, answer.json()["code"]) for answer in answers] == [(422, "period_open")] * 2


def test_a_clock_moved_by_a_day_or_a_year_seals_nothing_twice_and_nothing_open(
    strained: Any, at: Callable[[str], list[str]]
) -> None:
    schedule(strained, "2021-05-10T00:00:00Z", 1, 2)
    assert at("2021-06-01T00:00:00Z") == ["2021-05"]
    assert at("2021-05-31T00:00:00Z") == []
    assert_open(strained, Period(2021, 5))
    assert at("2020-06-01T00:00:00Z") == []
    assert at("2021-06-02T00:00:00Z") == []
    ahead = [f"2021-{month:02}" for month in range(6, 13)] + [f"2022-{month:02}" for month in range(1, 6)]
    assert at("2022-06-01T00:00:00Z") == ahead
    assert at("2021-06-01T00:00:00Z") == []
    assert_open(strained, Period(2021, 7))
    assert at("2022-07-01T00:00:00Z") == ["2022-06"]
    assert_sealed_once(strained, "2021-05", *ahead, "2022-06")


def test_the_29th_of_february_and_changes_of_the_clock_count_as_in_the_billing_time_zone(
    strained: Any, at: Callable[[str], list[str]]
) -> None:
    """Berlin: day 31 is clamped to 29 February; 31 March has no two o'clock, 27 October has two."""
    schedule(strained, "2024-02-01T12:00:00Z", 31, 2)
    assert at("2024-02-29T00:59:59Z") == []
    assert at("2024-02-29T01:00:00Z") == ["2024-01"]
    assert at("2024-02-29T22:59:59Z") == []
    assert_open(strained, Period(2024, 2))
    assert at("2024-03-31T00:59:59Z") == []
    assert at("2024-03-31T01:00:00Z") == ["2024-02"]
    schedule(strained, "2024-10-01T00:00:00Z", 27, 2)
    assert at("2024-10-26T23:59:59Z") == []
    assert at("2024-10-27T00:00:00Z") == ["2024-09"]
    assert at("2024-10-27T01:00:00Z") == []
    assert_sealed_once(strained, "2024-01", "2024-02", "2024-09")


def test_a_clock_set_back_in_mid_run_leaves_the_rest_to_a_later_run(
    strained: Any, at: Callable[[str], list[str]]
) -> None:
    schedule(strained, "2023-01-10T00:00:00Z", 1, 2)
    strained.move_clock("2023-02-01T02:00:00Z")
    strained.strike("accept-noted=sleep:2")
    with ThreadPoolExecutor(1) as pool, strained.timer() as runner:
        run = pool.submit(jobs.run_due, runner)
        strained.wait_struck()
        strained.move_clock("2022-02-01T02:00:00Z")
        [report] = run.result()
    assert (report.job.status, report.tally.retryable) == (Status.RETRYING, len(ACCOUNTS))
    assert strained.sql("archive", "SELECT 1 FROM billing_snapshots WHERE billing_year = 2023") == []
    assert at("2023-02-01T03:00:00Z") == ["2023-01"]
    assert_sealed_once(strained, "2023-01")


def test_a_job_of_a_clock_that_was_ahead_waits_for_its_month(strained: Any, at: Callable[[str], list[str]]) -> None:
    """Ledger is away while the clock is a month ahead, so that the job is left to be tried again."""
    schedule(strained, "2023-02-10T00:00:00Z", 1, 2)
    strained.move_clock("2023-03-01T02:00:00Z")
    with strained.links["ledger"].giving(hung_up, forever=True), strained.timer() as runner:
        [report] = jobs.run_due(runner)
    assert report.job.status is Status.RETRYING
    for _ in range(3):
        assert at("2023-02-11T02:00:00Z") == []
    assert at("2023-03-01T03:00:00Z") == ["2023-02"]
    [(attempts,)] = strained.sql("archive", "SELECT max(attempts) FROM snapshot_jobs WHERE target_year = 2023")
    assert attempts == 2
    assert_sealed_once(strained, "2023-02")
