"""The schedule's row, as people see and change it; and what they order beside it."""

import uuid
from typing import Any
from zoneinfo import ZoneInfo

from hivematrix_common import clock
from hivematrix_common.database import AnySession
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import FieldError, Problem

from hivematrix_archive.domain.jobs import Job, Kind, Status
from hivematrix_archive.domain.schedule import coming, due_periods
from hivematrix_archive.services import jobs
from hivematrix_archive.services.reading import shown
from hivematrix_archive.store import jobs as store

_SETTINGS = (
    *("id", "enabled", "day_of_month", "hour", "snapshot_previous_month", "snapshot_all_companies"),
    *("account_numbers", "last_run_at", "last_run_status", "last_run_count", "last_run_log"),
    *("created_at", "updated_at"),
)
DATES_SHOWN = 5


def read(session: AnySession) -> dict[str, Any] | None:
    row = store.schedule_row(session)
    return shown({name: getattr(row, name) for name in _SETTINGS}) if row else None


def change(session: AnySession, values: dict[str, Any]) -> dict[str, Any]:
    """Change the given settings; the others stay. Problem(invalid) when the row would mean some companies and name
    none.
    """
    row = store.schedule_row(session)
    if row is None:
        raise Problem("conflict", jobs.MISSING_ROW)
    wanted = {name: values.get(name, getattr(row, name)) for name in ("snapshot_all_companies", "account_numbers")}
    if wanted.keys() & values.keys() and not (wanted["snapshot_all_companies"] or wanted["account_numbers"]):
        message = "expected one account number or more where snapshot_all_companies is false"
        raise Problem("invalid", f"account_numbers: {message}.", fields=[FieldError("account_numbers", message)])
    store.change_schedule(session, values | {"updated_at": clock.now()})
    session.commit()
    return read(session) or {}


def plan(session: AnySession, zone: ZoneInfo) -> dict[str, Any]:
    """The row, when the next months are sealed, and which are due already; no row, no plan."""
    row, schedule, now = store.schedule_row(session), store.read_schedule(session), clock.now()
    if row is None or schedule is None:
        return {"row": None, "coming": [], "due": []}
    settled = store.finished_periods(session)
    return {
        "row": row,
        "coming": coming(schedule, zone, now, DATES_SHOWN),
        "due": due_periods(schedule, zone, now, settled),
    }


def last_ended(zone: ZoneInfo) -> Period:
    """The newest month that can be sealed."""
    return Period.of(clock.now().astimezone(zone).date()).plus(-1)


def order(session: AnySession, period: Period, accounts: list[str] | None, asked_by: str) -> str:
    """A bulk job for the background runner to take up; the caller commits. Returns its id."""
    wanted = None if accounts is None else tuple(dict.fromkeys(accounts))
    job = Job(str(uuid.uuid4()), Kind.BULK, Status.QUEUED, period, wanted, 0, asked_by)
    store.add_job(session.connection(), job, clock.now())
    return job.id
