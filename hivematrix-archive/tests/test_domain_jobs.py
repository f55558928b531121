"""What a job keeps of each company, what it still has to do, and when it is finished."""

import pytest
from hivematrix_archive.domain.jobs import (
    MOST_RETRIES,
    Happened,
    Job,
    Kind,
    Result,
    Status,
    Tally,
    exit_code_of,
    failed_page,
    left_to_do,
    pages,
    settle_page,
    status_after,
)
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.period import Period

SEALED = Result("1", Happened.SEALED, invoice_number="1-202510", total="912.50")
UNBILLABLE = Result("2", Happened.FAILED, "unknown plan Platin")
PASSING = Result("3", Happened.FAILED, "codex: no answer", retryable=True)
SKIPPED = Result("4", Happened.SKIPPED, "inactive")


def job(kind=Kind.SCHEDULED, attempts=1):
    return Job("j1", kind, Status.RUNNING, Period(2025, 10), None, attempts)


def test_ledgers_line_becomes_a_result():
    line = {"account_number": "1", "status": "sealed", "invoice_number": "1-202510", "total": "912.50"}
    assert Result.parse(line) == SEALED
    assert Result.parse({"account_number": "2", "status": "failed", "reason": "unknown plan Platin"}) == UNBILLABLE
    assert Result.parse({"account_number": "2", "status": "failed", "retryable": True}).retryable
    assert not Result.parse({"account_number": "2", "status": "sealed", "retryable": True}).retryable


@pytest.mark.parametrize("line", [None, [], {}, {"account_number": "1"}, {"account_number": "1", "status": "lost"}])
def test_what_is_no_result_is_refused(line):
    with pytest.raises(DomainError, match="a company's result"):
        Result.parse(line)


@pytest.mark.parametrize(
    ("results", "code"),
    [
        ([], 0),
        ([SEALED, SKIPPED, Result("5", Happened.ALREADY)], 0),
        ([SEALED, UNBILLABLE], 3),
        ([UNBILLABLE], 3),
        ([SEALED, PASSING], 3),
        ([PASSING], 1),
    ],
)
def test_the_exit_code_tells_all_some_or_nothing(results, code):
    assert Tally(len(results), results).exit_code == code


def test_a_company_counts_once_by_its_latest_result():
    again = Result("3", Happened.SEALED)
    tally = Tally(4, [SEALED, PASSING, UNBILLABLE, SKIPPED, again])
    assert (tally.completed, tally.failed, tally.retryable, tally.errors) == (4, 1, 0, ["2: unknown plan Platin"])
    assert tally.as_output() == {
        "success_count": 3,
        "failed_count": 1,
        "sealed": 2,
        "already": 0,
        "skipped": 1,
        "failed": 1,
        "errors": ["2: unknown plan Platin"],
    }


def test_a_scheduled_job_is_tried_again_for_passing_reasons_only_and_24_times():
    assert status_after(job(), Tally(2, [SEALED, PASSING])) is Status.RETRYING
    assert status_after(job(attempts=MOST_RETRIES), Tally(1, [PASSING])) is Status.RETRYING
    assert status_after(job(attempts=MOST_RETRIES + 1), Tally(1, [PASSING])) is Status.COMPLETED
    assert status_after(job(), Tally(2, [SEALED, UNBILLABLE])) is Status.COMPLETED


@pytest.mark.parametrize("kind", [Kind.MANUAL, Kind.BULK])
def test_a_run_somebody_asked_for_is_never_tried_again(kind):
    assert status_after(job(kind), Tally(1, [PASSING])) is Status.COMPLETED


def test_a_job_goes_on_where_it_stopped():
    accounts = ["1", "2", "3", "4", "5"]
    first = [(1, SEALED), (1, UNBILLABLE), (1, PASSING)]
    assert left_to_do(accounts, first, 1) == ["4", "5"]
    assert left_to_do(accounts, first, 2) == ["3", "4", "5"]
    assert left_to_do(accounts, [*first, (2, PASSING)], 2) == ["4", "5"]


def test_pages_hold_375_after_two_smaller_ones_and_lose_nobody():
    accounts = [str(number) for number in range(1201)]
    assert [len(page) for page in pages(accounts)] == [125, 250, 375, 375, 76]
    assert [len(page) for page in pages(accounts[:125])] == [125]
    assert [len(page) for page in pages(accounts[:3], 2)] == [2, 1]
    assert [account for page in pages(accounts) for account in page] == accounts
    assert pages([]) == []


def test_a_page_settles_everyone_asked_and_nobody_else():
    settled = settle_page(["1", "3"], [SEALED, SKIPPED])
    assert settled == [SEALED, Result("3", Happened.FAILED, "ledger gave no answer for it", retryable=True)]
    assert all(result.retryable for result in failed_page(["1", "2"], "ledger: no answer"))


def test_several_jobs_exit_as_one():
    assert [exit_code_of(codes) for codes in ([], [0, 0], [1], [0, 1], [0, 3], [3, 3])] == [0, 0, 1, 3, 3, 3]
