"""A job is ended before its time: it seals nothing more and says what it did."""

import threading

import pytest
from hivematrix_archive.domain.jobs import Status
from hivematrix_archive.services import background, engine, history, jobs, schedule, session
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import Problem
from sqlalchemy import text

OCTOBER = Period(2025, 10)


@pytest.fixture
def archive(peered_archive):
    return peered_archive


def job():
    session().rollback()
    return session().execute(text("SELECT * FROM snapshot_jobs")).one()


def order():
    job_id = schedule.order(session(), OCTOBER, None, "maya")
    session().commit()
    return job_id


def cancel(job_id, who="ada"):
    return history.cancel(session(), engine(), job_id, who)


def asked(peers):
    return sorted(account for _, accounts, _ in peers.asked for account in accounts)


def test_one_that_waits_ends_at_once_and_is_never_begun(archive, peers):
    ended = cancel(order())
    assert (ended["status"], ended["error"]) == ("cancelled", "cancelled by ada: 0 sealed, 0 of 0 not reached")
    assert ended["completed_at"] == "2025-12-01T02:00:07Z"
    background.Background(archive.app).look()
    assert (job().status, peers.asked) == ("cancelled", [])


def test_one_that_runs_records_what_is_on_its_way_and_begins_nothing_more(archive, peers, small_pages, monkeypatch):
    """The first page is being sealed when somebody has it end; the second was not sent yet."""
    monkeypatch.setattr(jobs, "IN_FLIGHT", 1)
    inside, go_on, usual = threading.Event(), threading.Event(), peers.accept

    def wait(request):
        inside.set()
        go_on.wait(10)
        return usual(request)

    peers.ledger.answers("POST", "/api/bills/accept", wait)
    job_id = order()

    def look():
        with archive.app.app_context():
            background.Background(archive.app).look()

    thread = threading.Thread(target=look)
    thread.start()
    assert inside.wait(10)
    going_on = cancel(job_id)
    assert (going_on["status"], going_on["cancel_asked_by"], going_on["completed_at"]) == ("running", "ada", None)
    go_on.set()
    thread.join()
    assert asked(peers) == ["1", "2"]
    row = job()
    assert (row.status, row.success, row.completed_companies) == ("cancelled", False, 2)
    assert row.error == "cancelled by ada: 2 sealed, 3 of 5 not reached"
    assert (row.output["sealed"], row.output["success_count"]) == (2, 2)
    assert jobs.run_due(jobs.runner(archive.settings, engine())) == []
    assert asked(peers) == ["1", "2"]


def test_one_that_had_reached_everybody_by_then_is_done(archive, peers):
    def ended_meanwhile(request):
        with archive.app.app_context():
            cancel(job_id)
        return usual(request)

    usual, job_id = peers.accept, order()
    peers.ledger.answers("POST", "/api/bills/accept", ended_meanwhile)
    background.Background(archive.app).look()
    assert (job().status, job().completed_companies, job().error) == ("completed", 5, None)


def test_one_that_a_dead_process_left_says_what_it_did(archive, peers, small_pages, die_at):
    die_at("job-page-recorded")
    with pytest.raises(Exception, match="job-page-recorded"):
        jobs.run_asked(jobs.runner(archive.settings, engine()), OCTOBER, None, "ada")
    die_at(None)
    before = asked(peers)
    assert job().status == "running"
    ended = cancel(job().id)
    assert (ended["status"], ended["completed_companies"]) == ("cancelled", 2)
    assert ended["error"] == "cancelled by ada: 2 sealed, 3 of 5 not reached"
    assert asked(peers) == before


def test_a_scheduled_one_that_waits_for_its_next_try_is_tried_no_more(archive, peers):
    session().execute(text("UPDATE scheduled_snapshots SET created_at = '2025-11-05'"))
    session().commit()
    runner = jobs.runner(archive.settings, engine())
    peers.fates["2"] = {"status": "failed", "reason": "no database", "retryable": True}
    assert jobs.run_due(runner)[0].job.status is Status.RETRYING
    assert cancel(job().id)["error"] == "cancelled by ada: 4 sealed, 0 of 5 not reached"
    peers.asked.clear()
    assert jobs.run_due(runner) == []
    assert peers.asked == []


def test_one_that_has_ended_cannot_be_cancelled_and_one_that_is_cancelled_stays_so(archive, peers):
    job_id = order()
    cancel(job_id)
    assert cancel(job_id, "bob")["cancel_asked_by"] == "ada"
    done = jobs.run_asked(jobs.runner(archive.settings, engine()), OCTOBER, ("1",), "ada").job.id
    with pytest.raises(Problem, match="has ended already: completed") as caught:
        cancel(done)
    assert caught.value.code == "conflict"
    with pytest.raises(Problem, match="There is no such job") as caught:
        cancel("nobody")
    assert caught.value.code == "not_found"


def test_over_http_by_those_who_may_order_one(archive, peers):
    job_id = order()
    path = f"/api/scheduler/jobs/{job_id}/cancel"
    assert archive.post(path, "auditor").status_code == 403
    answer = archive.post(path, "peer_service")
    assert (answer.status_code, answer.get_json()["job"]["status"]) == (200, "cancelled")
    assert "cancelled by peer-service" in answer.get_json()["message"]
    listed = archive.get("/api/scheduler/jobs?status=cancelled", "auditor").get_json()["jobs"]
    assert [(one["id"], one["duration_seconds"]) for one in listed] == [(job_id, 0.0)]


def test_each_companys_end_comes_as_a_file_without_running_in_a_spreadsheet(archive, peers):
    peers.fates["2"] = {"status": "failed", "reason": "=HYPERLINK(1)"}
    job_id = order()
    background.Background(archive.app).look()
    answer = archive.get(f"/api/scheduler/jobs/{job_id}/results.csv", "auditor")
    lines = answer.text.splitlines()
    assert lines[0] == "Company,What happened,Why,Invoice,Total,When"
    assert [line.split(",")[:4] for line in lines[1:3]] == [
        ["1", "sealed", "", "1-202510"],
        ["2", "failed", "'=HYPERLINK(1)", "2-202510"],
    ]
    assert answer.headers["Content-Disposition"] == f'attachment; filename="job-{job_id}.csv"'
    assert archive.get("/api/scheduler/jobs/nobody/results.csv").status_code == 404


def test_a_progress_can_be_read_while_it_runs(archive, peers, small_pages, monkeypatch):
    monkeypatch.setattr(jobs, "IN_FLIGHT", 1)
    seen = []
    usual = peers.accept

    def look(request):
        with archive.app.app_context():
            state = history.progress(session(), job_id)
            seen.append((state["job"].completed_companies, state["counts"]["sealed"], state["is_alive"]))
        return usual(request)

    peers.ledger.answers("POST", "/api/bills/accept", look)
    job_id = order()
    background.Background(archive.app).look()
    assert seen == [(0, 0, True), (2, 2, True), (4, 4, True)]
    session().execute(text("UPDATE snapshot_jobs SET status = 'running', completed_at = NULL"))
    session().commit()
    assert history.progress(session(), job_id)["is_alive"] is False
