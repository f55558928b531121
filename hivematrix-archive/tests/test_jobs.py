"""Sealing jobs against fake peers: what is due, what each company got, what a dead process left behind."""

import subprocess
import sys
import threading
import time
from contextlib import ExitStack
from datetime import UTC, datetime

import pytest
from hivematrix_archive.domain.jobs import Happened, Kind, Status
from hivematrix_archive.services import background, engine, indexing, jobs, schedule, session
from hivematrix_archive.services.jobs import LockedError
from hivematrix_archive.store import jobs as store
from hivematrix_common.config import ConfigError
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import Problem
from hivematrix_common.failpoints import FailpointError
from sqlalchemy import text

OCTOBER = Period(2025, 10)


@pytest.fixture
def archive(peered_archive):
    return peered_archive


@pytest.fixture
def runner(archive):
    seen = []
    made = jobs.runner(
        archive.settings, engine(), lambda job, tally: seen.append((job.id, tally.completed, tally.total))
    )
    yield made
    assert all(done <= total for _, done, total in seen)


def results_of(report):
    return {result.account_number: result.happened for _, result in store.results(session(), report.job.id)}


def row(table="snapshot_jobs"):
    session().rollback()
    return session().execute(text(f"SELECT * FROM {table}")).one()


def installed(at):
    session().execute(text("UPDATE scheduled_snapshots SET created_at = :at"), {"at": at})
    session().commit()


def test_a_run_keeps_what_happened_to_each_company(runner, peers, small_pages):
    peers.fates["2"] = {"status": "skipped", "reason": "plan is Inactive"}
    peers.fates["3"] = {"status": "failed", "reason": "unknown plan Platin"}
    peers.fates["4"] = {"status": "already", "total": "1.00"}
    report = jobs.run_asked(runner, OCTOBER, None, "ada")
    assert results_of(report) == {
        "1": Happened.SEALED,
        "2": Happened.SKIPPED,
        "3": Happened.FAILED,
        "4": Happened.ALREADY,
        "5": Happened.SEALED,
    }
    assert report.code == 3
    job = row()
    assert (job.status, job.job_type, job.success, job.triggered_by) == ("completed", "manual", False, "ada")
    assert (job.total_companies, job.completed_companies, job.failed_companies) == (5, 5, 1)
    assert job.output["errors"] == ["3: unknown plan Platin"]
    assert sorted(accounts for _, accounts, _ in peers.asked) == [["1", "2"], ["3", "4"], ["5"]]


def test_a_run_for_some_companies_asks_for_those_and_does_not_ask_codex(runner, peers):
    report = jobs.run_asked(runner, OCTOBER, ("2", "9", "2"), "ada")
    assert results_of(report) == {"2": Happened.SEALED, "9": Happened.SEALED}
    assert [call.path for call in peers.codex.calls if call.path != "/livez"] == []


def test_a_period_that_has_not_ended_is_refused(runner):
    with pytest.raises(Problem, match="2025-12 has not ended") as caught:
        jobs.run_asked(runner, Period(2025, 12), None, "ada")
    assert caught.value.code == "period_open"


def test_a_second_run_is_told_of_the_first(runner, archive, peers):
    inside, go_on = threading.Event(), threading.Event()

    def wait(request):
        inside.set()
        go_on.wait(10)
        return peers.accept(request)

    peers.ledger.answers("POST", "/api/bills/accept", wait)

    def first():
        with archive.app.app_context():
            jobs.run_asked(runner, OCTOBER, None, "ada")

    thread = threading.Thread(target=first)
    thread.start()
    assert inside.wait(10)
    try:
        with pytest.raises(
            LockedError, match=r"job [0-9a-f-]{36} for 2025-10, begun 2025-12-01 02:00:07Z by .+ process \d+"
        ):
            jobs.run_due(runner)
    finally:
        go_on.set()
        thread.join()
    assert jobs.run_due(runner) == []


def test_nothing_is_due_on_the_day_of_the_installation(runner, peers):
    installed("2025-12-01T02:00:06Z")
    assert jobs.run_due(runner) == []
    assert peers.asked == []


def test_what_is_due_is_sealed_once_and_the_row_says_so(runner, peers):
    installed("2025-10-05T00:00:00Z")
    reports = jobs.run_due(runner)
    assert [report.job.period for report in reports] == [OCTOBER, Period(2025, 11)]
    assert {report.job.status for report in reports} == {Status.COMPLETED}
    found = row("scheduled_snapshots")
    assert (found.last_run_status, found.last_run_count) == ("success", 5)
    assert found.last_run_at == datetime(2025, 12, 1, 2, 0, 7, tzinfo=UTC)
    assert jobs.run_due(runner) == []


def test_a_disabled_schedule_runs_nothing_by_itself_and_what_is_asked_for_all_the_same(runner):
    installed("2025-10-05T00:00:00Z")
    schedule.change(session(), {"enabled": False})
    assert jobs.run_due(runner) == []
    assert jobs.preview_due(runner) == []
    assert jobs.run_asked(runner, OCTOBER, None, "ada").code == 0


def test_a_disabled_schedule_tries_nothing_again(runner, peers):
    installed("2025-11-05T00:00:00Z")
    peers.down = True
    assert jobs.run_due(runner)[0].job.status is Status.RETRYING
    schedule.change(session(), {"enabled": False})
    assert jobs.run_due(runner) == []


def test_a_manual_run_marks_no_period_done(runner):
    installed("2025-11-05T00:00:00Z")
    jobs.run_asked(runner, Period(2025, 11), None, "ada")
    assert [report.job.kind for report in jobs.run_due(runner)] == [Kind.SCHEDULED]


def test_the_row_may_name_the_companies(runner, peers):
    installed("2025-11-05T00:00:00Z")
    schedule.change(session(), {"snapshot_all_companies": False, "account_numbers": ["2", "4"]})
    [report] = jobs.run_due(runner)
    assert set(results_of(report)) == {"2", "4"}
    assert jobs.read_accounts(engine()) == ("2", "4")


def test_a_row_that_names_nobody_is_a_configuration_error(runner):
    installed("2025-11-05T00:00:00Z")
    session().execute(text("UPDATE scheduled_snapshots SET snapshot_all_companies = false"))
    session().commit()
    with pytest.raises(ConfigError, match="account_numbers names none"):
        jobs.run_due(runner)
    assert session().execute(text("SELECT count(*) FROM snapshot_jobs")).scalar() == 0


def test_companies_that_failed_for_a_passing_reason_are_tried_again_and_only_they(runner, peers):
    installed("2025-11-05T00:00:00Z")
    peers.fates["2"] = {"status": "failed", "reason": "no database", "retryable": True}
    peers.fates["3"] = {"status": "failed", "reason": "unknown plan Platin"}
    [first] = jobs.run_due(runner)
    assert (first.code, first.job.status, row().status) == (3, Status.RETRYING, "retrying")
    del peers.fates["2"]
    [second] = jobs.run_due(runner)
    assert second.job.id == first.job.id
    assert (second.job.attempts, second.job.status, second.code) == (2, Status.COMPLETED, 3)
    assert peers.asked[-1][1] == ["2"]
    assert (row().completed_companies, row().failed_companies) == (5, 1)
    assert jobs.run_due(runner) == []


def test_after_24_tries_more_the_period_is_done(runner, peers):
    installed("2025-11-05T00:00:00Z")
    peers.fates = {account: {"status": "failed", "reason": "x", "retryable": True} for account in peers.accounts}
    statuses = [jobs.run_due(runner)[0].job.status for _ in range(25)]
    assert statuses == [Status.RETRYING] * 24 + [Status.COMPLETED]
    assert jobs.run_due(runner) == []
    assert len(peers.asked) == 25


def test_a_ledger_that_is_down_fails_everyone_for_now(runner, peers):
    installed("2025-11-05T00:00:00Z")
    peers.down = True
    [report] = jobs.run_due(runner)
    assert (report.code, report.job.status) == (1, Status.RETRYING)
    assert report.tally.errors[0] == "1: ledger: no database"
    peers.down = False
    assert jobs.run_due(runner)[0].code == 0


def test_a_job_made_while_the_clock_was_ahead_waits_for_its_months_end(runner, peers, set_clock):
    installed("2025-11-05T00:00:00Z")
    peers.down = True
    jobs.run_due(runner)
    peers.down = False
    set_clock("2025-11-20T02:00:00Z")
    assert [jobs.run_due(runner) for _ in range(3)] == [[]] * 3
    assert (row().status, row().attempts) == ("retrying", 1)
    set_clock("2025-12-01T03:00:00Z")
    assert jobs.run_due(runner)[0].code == 0


def test_a_company_that_ledger_passes_over_is_tried_again(runner, peers):
    installed("2025-11-05T00:00:00Z")
    peers.fates["4"] = None
    [report] = jobs.run_due(runner)
    assert report.tally.errors == ["4: ledger gave no answer for it"]
    assert report.job.status is Status.RETRYING


def test_a_codex_that_is_down_costs_a_scheduled_job_none_of_its_tries(runner, peers):
    installed("2025-11-05T00:00:00Z")
    peers.codex.answers("GET", "/api/companies", {"detail": "no database"}, 500)
    [report] = jobs.run_due(runner)
    assert (report.code, report.error, row().status, row().attempts) == (1, "codex: no database", "retrying", 0)
    peers.codex.answers("GET", "/api/companies", peers.companies)
    [report] = jobs.run_due(runner)
    assert (report.code, row().status, row().attempts, row().error) == (0, "completed", 1, None)


def test_a_codex_that_is_down_fails_a_manual_run(runner, peers):
    peers.codex.answers("GET", "/api/companies", {"detail": "no database"}, 500)
    report = jobs.run_asked(runner, OCTOBER, None, "ada")
    assert (report.code, row().status, row().success) == (1, "failed", False)


PLACES = [
    *("job-added", "job-running", "job-listed", "job-page-answered", "job-page-inserted", "job-page-recorded"),
    "job-finished",
]


def test_a_scheduled_run_that_dies_anywhere_is_taken_over_and_asks_nobody_twice(runner, peers, small_pages, die_at):
    installed("2025-11-05T00:00:00Z")
    for place in PLACES:
        peers.asked.clear()
        session().execute(text("UPDATE snapshot_jobs SET target_year = target_year - 1"))
        session().commit()
        die_at(place)
        with pytest.raises(FailpointError, match=place):
            jobs.run_due(runner)
        die_at(None)
        reports = jobs.run_due(runner)
        assert [report.code for report in reports] == ([] if place == "job-finished" else [0])
        asked = [account for _, accounts, _ in peers.asked for account in accounts]
        # Pages of two that were on their way when it died are asked for again; what was recorded never is.
        lost = {"job-page-answered": jobs.IN_FLIGHT, "job-page-inserted": jobs.IN_FLIGHT}
        unrecorded = 2 * (lost | {"job-page-recorded": jobs.IN_FLIGHT - 1}).get(place, 0)
        assert len(asked) <= 5 + unrecorded, place
        assert set(asked) == set(peers.accounts)
        found = session().execute(text("SELECT status, attempts, completed_companies FROM snapshot_jobs")).all()
        assert set(found) == {("completed", 1, 5)}, place
        session().rollback()


def test_a_manual_run_that_died_goes_on_when_it_is_asked_for_again(runner, peers, small_pages, die_at):
    die_at("job-page-recorded", 2)
    with pytest.raises(FailpointError):
        jobs.run_asked(runner, OCTOBER, None, "ada")
    die_at(None)
    peers.asked.clear()
    report = jobs.run_asked(runner, OCTOBER, None, "bob")
    assert peers.asked[0][1] == ["5"]
    assert (report.tally.completed, row().status, row().triggered_by) == (5, "completed", "ada")


def test_a_manual_run_that_died_is_finished_by_the_timer_even_when_the_schedule_is_off(runner, die_at):
    schedule.change(session(), {"enabled": False})
    die_at("job-listed")
    with pytest.raises(FailpointError):
        jobs.run_asked(runner, OCTOBER, None, "ada")
    die_at(None)
    [report] = jobs.run_due(runner)
    assert (report.job.kind, report.job.status) == (Kind.MANUAL, Status.COMPLETED)


def test_the_lock_of_a_dead_process_is_free(archive, runner):
    program = f"""
import os, sqlalchemy
from hivematrix_archive.services.jobs import sole_run
with sole_run(sqlalchemy.create_engine({archive.settings.database.sqlalchemy_url!r})):
    print("locked", flush=True)
    os.kill(os.getpid(), 9)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (-9, "locked\n")
    deadline = time.monotonic() + 10
    while locked(runner):
        assert time.monotonic() < deadline
        time.sleep(0.02)


def locked(runner):
    try:
        jobs.run_due(runner)
    except LockedError:
        return True
    return False


def test_a_job_that_was_ordered_is_run_in_the_background(archive, peers):
    session().rollback()
    job_id = schedule.order(session(), OCTOBER, ["3", "1"], "ada")
    session().commit()
    assert row().status == "queued"
    background.Background(archive.app).look()
    assert (row().id, row().status, row().completed_companies) == (job_id, "completed", 2)
    assert len(peers.asked) == 1
    background.Background(archive.app).look()
    assert len(peers.asked) == 1


def test_the_background_waits_while_another_run_holds_the_lock(archive, peers):
    schedule.order(session(), OCTOBER, None, "ada")
    session().commit()
    with jobs.sole_run(engine()):
        background.Background(archive.app).look()
    assert row().status == "queued"


def test_with_every_connection_in_use_the_threads_live_and_try_later(archive, peers, monkeypatch, caplog):
    """As under a long lock: a thread that ended here took the whole service along."""
    schedule.order(session(), OCTOBER, None, "ada")
    session().commit()
    monkeypatch.setattr(engine().pool, "_timeout", 0.05)
    with ExitStack() as others:
        for _ in range(engine().pool.size()):
            others.enter_context(engine().connect())
        background.Background(archive.app).look()
        indexing.Indexing(archive.app).fill()
    assert [record.getMessage() for record in caplog.records] == ["job not run", "search not filled"]
    background.Background(archive.app).look()
    assert row().status == "completed"


def test_retries_of_a_page_carry_the_same_key_and_other_pages_another(runner, peers, small_pages):
    jobs.run_asked(runner, OCTOBER, None, "ada")
    keys = [key for _, _, key in peers.asked]
    assert len(set(keys)) == 3
    assert all(key.startswith(f"job-{row().id}-1-") for key in keys)


def trail():
    columns = "actor, actor_kind, action, target, details ->> 'kind', trace_id"
    with engine().connect() as connection:
        return connection.execute(text(f"SELECT {columns} FROM audit.entries ORDER BY id")).all()


def test_what_the_timer_does_is_its_jobs_and_not_a_persons(archive, runner, peers, monkeypatch):
    """Each pass leaves one row; the calls it makes carry its trace and its job's key."""
    installed("2025-11-05T00:00:00Z")
    traces, usual = set(), peers.accept

    def noting(request):
        traces.add(request.headers["traceparent"][3:35])
        return usual(request)

    peers.ledger.answers("POST", "/api/bills/accept", noting)
    jobs.run_due(runner)
    jobs.run_asked(runner, OCTOBER, ("1", "2"), "ada at the command line")
    timer, person = trail()
    assert timer[:5] == ("schedule", "job", "sealing job", "2025-11", "scheduled")
    assert person[:5] == ("ada at the command line", "job", "sealing job", "2025-10", "manual")
    assert traces == {timer.trace_id, person.trace_id}


def test_a_job_is_attributed_to_who_ordered_it(archive, peers):
    archive.post("/api/snapshots/bulk/create", "peer_service", json={"year": 2025, "month": 10})
    background.Background(archive.app).look()
    asked, done = trail()
    assert (asked.actor, asked.action, asked.target) == ("peer-service", "POST /api/snapshots/bulk/create", "2025-10")
    assert done[:5] == ("peer-service", "job", "sealing job", "2025-10", "bulk")
