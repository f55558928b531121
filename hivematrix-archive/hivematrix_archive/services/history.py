"""Jobs as people see them: their history, what each did and does now, and their end before the time."""

from typing import Any

from flask import Response
from hivematrix_common import clock
from hivematrix_common.database import AnySession
from hivematrix_common.errors import Problem
from hivematrix_common.tables import Choice, Column, Listing, Table, csv_file
from sqlalchemy import Engine, Row

from hivematrix_archive.domain.jobs import FINISHED, Happened, Status, Tally, cancelled_text
from hivematrix_archive.services import jobs
from hivematrix_archive.services.reading import shown
from hivematrix_archive.store import jobs as store

_JOB = (
    *("id", "job_type", "status", "target_year", "target_month", "target_account_numbers", "total_companies"),
    *("completed_companies", "failed_companies", "started_at", "completed_at", "success", "triggered_by", "attempts"),
    *("error", "cancel_asked_at", "cancel_asked_by"),
)
STATUS_WORDS = {
    Status.QUEUED: "Queued",
    Status.RUNNING: "Running",
    Status.RETRYING: "Will be tried again",
    Status.COMPLETED: "Done",
    Status.FAILED: "Failed",
    Status.CANCELLED: "Cancelled",
}
KIND_WORDS = {"scheduled": "Schedule", "manual": "Command line", "bulk": "Ordered"}
HAPPENED_WORDS = {"sealed": "Sealed", "already": "Sealed before", "skipped": "Skipped", "failed": "Failed"}
JOBS = Table(
    name="jobs",
    caption="Sealing jobs",
    nouns=("job", "jobs"),
    key="id",
    sort="-started_at",
    search=("triggered_by", "period"),
    columns=(
        Column("period", "Month"),
        Column("status", "State"),
        Column("completed_companies", "Companies", kind="number"),
        Column("failed_companies", "Failed", kind="number", priority=2),
        Column("triggered_by", "Asked by", priority=2),
        Column("started_at", "Began", kind="instant", priority=2),
        Column("took", "Took", sortable=False, priority=3),
    ),
    choices=(
        Choice("status", "State", tuple((str(status), word) for status, word in STATUS_WORDS.items())),
        Choice("job_type", "Begun by", tuple(KIND_WORDS.items())),
    ),
)
RESULTS = Table(
    name="results",
    caption="What happened to each company",
    nouns=("company", "companies"),
    key="account_number",
    sort="account_number",
    search=("account_number", "why"),
    columns=(
        Column("account_number", "Company"),
        Column("happened", "What happened"),
        Column("why", "Why", sortable=False, priority=2),
        Column("invoice_number", "Invoice", sortable=False, priority=2),
        Column("total", "Total", kind="number", sortable=False),
        Column("recorded_at", "When", kind="instant", priority=3),
    ),
    choices=(Choice("happened", "What happened", tuple(HAPPENED_WORDS.items())),),
)


def cancel(session: AnySession, engine: Engine, job_id: str, asked_by: str) -> dict[str, Any]:
    """Have a job end: at once when it waits or its process is dead, else after the pages that are on their way.

    Problem(not_found) when there is none, Problem(conflict) when it has ended in another way.
    """
    _row(session, job_id)
    status = store.ask_cancel(session, job_id, asked_by, clock.now())
    if status is Status.CANCELLED:
        _say_what_it_did(session, job_id, asked_by)
    session.commit()
    if status is Status.RUNNING:
        jobs.end_left(engine, job_id)
    row = _row(session, job_id)
    if status is None and row.status != Status.CANCELLED:
        raise Problem("conflict", f"Job {job_id} has ended already: {row.status}.")
    return _job(row)


def _say_what_it_did(session: AnySession, job_id: str, asked_by: str) -> None:
    row = _row(session, job_id)
    tally = Tally(row.total_companies, (result for _, result in store.results(session, job_id)))
    values = {"output": tally.as_output(), "error": cancelled_text(asked_by, tally), "success": False}
    store.change_job(session, job_id, **values)


def page(session: AnySession, limit: int, offset: int, status: str | None) -> dict[str, Any]:
    total, rows = store.list_jobs(session, limit, offset, status)
    return {"total": total, "limit": limit, "offset": offset, "jobs": [_job(row) for row in rows]}


def job(session: AnySession, job_id: str, limit: int, cursor: str) -> dict[str, Any]:
    """A job with what happened to each company, one page of them by account number."""
    row = _row(session, job_id)
    found = store.latest_results(session, job_id, cursor, limit + 1)
    page = found[:limit]
    results = [shown(result._asdict()) | {"status": result.happened} for result in page]
    for result in results:
        del result["happened"]
    more = page[-1].account_number if len(found) > limit else None
    return _job(row) | {"output": row.output, "results": results, "next": more}


def results_csv(session: AnySession, job_id: str) -> Response:
    """What happened to each company, as a file."""
    _row(session, job_id)
    rows = session.execute(store.all_results(job_id)).mappings()
    return csv_file(f"job-{job_id}", RESULTS.columns, rows)


def listing(session: AnySession) -> Listing:
    """Every job, as the address asks for them."""
    return JOBS.of_query(session, store.history())


def results(session: AnySession, job_id: str) -> Listing:
    """What happened to each company, as the address asks for it."""
    return RESULTS.of_query(session, store.all_results(job_id))


def progress(session: AnySession, job_id: str) -> dict[str, Any]:
    """The job's row as `job`, how many companies ended how, whether it goes on, and whether its process lives."""
    row = _row(session, job_id)
    output = row.output or {}
    return {
        "job": row,
        "counts": {str(happened): output.get(happened, 0) for happened in Happened},
        "goes_on": row.status in (Status.QUEUED, Status.RUNNING),
        "can_cancel": row.status not in FINISHED and row.cancel_asked_at is None,
        "is_alive": row.status != Status.RUNNING or store.any_run(session),
    }


def _row(session: AnySession, job_id: str) -> Row[Any]:
    row = store.job(session, job_id) if "\0" not in job_id else None
    if row is None:
        raise Problem("not_found", "There is no such job.")
    return row


def _job(row: Row[Any]) -> dict[str, Any]:
    output = row.output or {}
    counts = {"success_count": output.get("success_count", 0), "failed_count": output.get("failed_count", 0)}
    took = (row.completed_at - row.started_at).total_seconds() if row.completed_at else None
    return shown({name: getattr(row, name) for name in _JOB}) | counts | {"duration_seconds": took}
