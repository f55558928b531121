"""The schedule's row and the jobs, as people see and change them."""

import uuid
from typing import Any

from hivematrix_common import clock
from hivematrix_common.database import AnySession
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import Problem
from sqlalchemy import Row

from hivematrix_archive.domain.jobs import Job, Kind, Status
from hivematrix_archive.services.reading import shown
from hivematrix_archive.store import jobs as store

_SETTINGS = (
    *("id", "enabled", "day_of_month", "hour", "snapshot_previous_month", "snapshot_all_companies"),
    *(
        "account_numbers",
        "last_run_at",
        "last_run_status",
        "last_run_count",
        "last_run_log",
        "created_at",
        "updated_at",
    ),
)
_JOB = (
    *("id", "job_type", "status", "target_year", "target_month", "target_account_numbers", "total_companies"),
    *("completed_companies", "failed_companies", "started_at", "completed_at", "success", "triggered_by", "attempts"),
)


def read(session: AnySession) -> dict[str, Any] | None:
    row = store.schedule_row(session)
    return shown({name: getattr(row, name) for name in _SETTINGS}) if row else None


def change(session: AnySession, values: dict[str, Any]) -> dict[str, Any] | None:
    """Change the given settings; the others stay."""
    store.change_schedule(session, values | {"updated_at": clock.now()})
    session.commit()
    return read(session)


def order(session: AnySession, period: Period, accounts: list[str] | None, asked_by: str) -> str:
    """A bulk job for the background runner to take up; the caller commits. Returns its id."""
    wanted = None if accounts is None else tuple(dict.fromkeys(accounts))
    job = Job(str(uuid.uuid4()), Kind.BULK, Status.QUEUED, period, wanted, 0, asked_by)
    store.add_job(session.connection(), job, clock.now())
    return job.id


def jobs(session: AnySession, limit: int, offset: int, status: str | None) -> dict[str, Any]:
    total, rows = store.list_jobs(session, limit, offset, status)
    return {"total": total, "limit": limit, "offset": offset, "jobs": [_job(row) for row in rows]}


def job(session: AnySession, job_id: str, limit: int, cursor: str) -> dict[str, Any]:
    """A job with what happened to each company, one page of them by account number."""
    row = store.job(session, job_id)
    if row is None:
        raise Problem("not_found", f"There is no job {job_id}.")
    found = store.latest_results(session, job_id, cursor, limit + 1)
    page = found[:limit]
    results = [shown(result._asdict()) | {"status": result.happened} for result in page]
    for result in results:
        del result["happened"]
    more = page[-1].account_number if len(found) > limit else None
    return _job(row) | {"output": row.output, "error": row.error, "results": results, "next": more}


def _job(row: Row[Any]) -> dict[str, Any]:
    output = row.output or {}
    counts = {"success_count": output.get("success_count", 0), "failed_count": output.get("failed_count", 0)}
    return shown({name: getattr(row, name) for name in _JOB}) | counts
