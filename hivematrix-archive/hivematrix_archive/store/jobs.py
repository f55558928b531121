"""The schedule's row, jobs and what happened to each company."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from hivematrix_common.database import AnySession
from hivematrix_common.domain.period import Period
from sqlalchemy import Connection, DateTime, Numeric, Row, Select, Text, case, cast, func, insert, select, text, update
from sqlalchemy.sql.selectable import TextualSelect

from hivematrix_archive.domain.jobs import FINISHED, Happened, Job, Kind, Result, Status
from hivematrix_archive.domain.schedule import Schedule
from hivematrix_archive.models import job_results, jobs, schedule, snapshots

LOCK = "archive-jobs"
_TRY_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
_UNLOCK = text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))")
# The lock as pg_locks spells it.
_LOCK_HELD = text("""
    SELECT EXISTS (
        SELECT FROM pg_locks l JOIN pg_database d ON d.oid = l.database
        WHERE d.datname = current_database() AND l.locktype = 'advisory' AND l.objsubid = 1 AND l.granted
            AND (l.classid::bigint << 32) | l.objid::bigint = hashtextextended(:name, 0))
""")
_LATEST = """
    SELECT DISTINCT ON (account_number)
        account_number, happened, reason, retryable, invoice_number, total, attempt, recorded_at
    FROM archive_data.job_results
    WHERE job_id = :job AND account_number > :after
    ORDER BY account_number, attempt DESC
"""
_LATEST_PAGE = text(f"{_LATEST} LIMIT :limit")
_LATEST_ALL = text(f"""
    SELECT r.account_number, r.happened, coalesce(r.reason, '') AS why, r.invoice_number,
        trim_scale(r.total) AS total, s.currency, r.recorded_at
    FROM ({_LATEST}) r LEFT JOIN billing_snapshots s ON s.invoice_number = r.invoice_number
    ORDER BY r.account_number
""")  # noqa: S608 - our own text
Session = AnySession | Connection


def try_lock(connection: Connection) -> bool:
    """Be the one run; the lock lives as long as the connection or until `unlock`."""
    return bool(connection.execute(_TRY_LOCK, {"name": LOCK}).scalar_one())


def unlock(connection: Connection) -> None:
    connection.execute(_UNLOCK, {"name": LOCK})


def any_run(session: Session) -> bool:
    """Whether somebody holds the lock now."""
    return bool(session.execute(_LOCK_HELD, {"name": LOCK}).scalar_one())


def read_schedule(session: Session) -> Schedule | None:
    row = schedule_row(session)
    if row is None:
        return None
    return Schedule(
        enabled=row.enabled,
        day_of_month=row.day_of_month,
        hour=row.hour,
        previous_month=row.snapshot_previous_month,
        all_companies=row.snapshot_all_companies,
        accounts=tuple(map(str, row.account_numbers or ())),
        created_at=row.created_at,
    )


def schedule_row(session: Session) -> Row[Any] | None:
    return session.execute(select(schedule).where(schedule.c.id == 1)).one_or_none()


def change_schedule(session: Session, values: dict[str, Any]) -> None:
    session.execute(update(schedule).where(schedule.c.id == 1).values(**values))


def add_job(connection: Session, job: Job, started_at: datetime) -> None:
    connection.execute(
        insert(jobs).values(
            id=job.id,
            job_type=job.kind,
            status=job.status,
            target_year=job.period.year,
            target_month=job.period.month,
            target_account_numbers=None if job.accounts is None else list(job.accounts),
            total_companies=0,
            completed_companies=0,
            failed_companies=0,
            started_at=started_at,
            triggered_by=job.triggered_by,
            attempts=job.attempts,
        )
    )


def change_job(connection: Session, job_id: str, **values: Any) -> None:
    connection.execute(update(jobs).where(jobs.c.id == job_id).values(**values))


def begin_job(connection: Session, job_id: str, attempts: int, runner: str) -> bool:
    """Make it the running job; False when it was cancelled in the meantime."""
    unfinished = jobs.c.id == job_id, jobs.c.status.not_in(FINISHED)
    values = {"status": Status.RUNNING, "attempts": attempts, "runner": runner}
    return bool(connection.execute(update(jobs).where(*unfinished).values(values).returning(jobs.c.id)).first())


def ask_cancel(session: Session, job_id: str, asked_by: str, at: datetime) -> Status | None:
    """Mark an unfinished job; one that nobody has begun, or that waits for its next try, ends at once. Its status now,
    None when there is no unfinished job of that id.
    """
    waits = jobs.c.status.in_((Status.QUEUED, Status.RETRYING))
    values = {
        "cancel_asked_at": func.coalesce(jobs.c.cancel_asked_at, at),
        "cancel_asked_by": func.coalesce(jobs.c.cancel_asked_by, asked_by),
        "status": case((waits, Status.CANCELLED), else_=jobs.c.status),
        "completed_at": case((waits, at), else_=jobs.c.completed_at),
    }
    asked = update(jobs).where(jobs.c.id == job_id, jobs.c.status.not_in(FINISHED)).values(values)
    found = session.execute(asked.returning(jobs.c.status)).scalar_one_or_none()
    return None if found is None else Status(found)


def cancel_asked_by(connection: Session, job_id: str) -> str | None:
    """Who asked for the job's end, if anybody did."""
    query = select(jobs.c.cancel_asked_by).where(jobs.c.id == job_id)
    return connection.execute(query).scalar_one_or_none()


def unfinished(connection: Session) -> list[Job]:
    """Jobs that are queued, retrying, or left running, oldest first."""
    query = select(jobs).where(jobs.c.status.not_in(FINISHED)).order_by(jobs.c.started_at, jobs.c.id)
    return [_job(row) for row in connection.execute(query)]


def finished_periods(connection: Session) -> set[Period]:
    """The periods of which a scheduled job is finished."""
    query = select(jobs.c.target_year, jobs.c.target_month).where(
        jobs.c.job_type == Kind.SCHEDULED, jobs.c.status.in_(FINISHED)
    )
    return {Period(row.target_year, row.target_month) for row in connection.execute(query)}


def sealed_accounts(connection: Session, period: Period) -> set[str]:
    """Who has a sealed invoice of the period."""
    query = select(snapshots.c.company_account_number).where(
        snapshots.c.billing_year == period.year,
        snapshots.c.billing_month == period.month,
        snapshots.c.kind == "invoice",
    )
    return set(connection.execute(query).scalars())


def running(session: Session) -> Row[Any] | None:
    query = select(jobs).where(jobs.c.status == Status.RUNNING).order_by(jobs.c.started_at.desc()).limit(1)
    return session.execute(query).one_or_none()


def results(connection: Session, job_id: str) -> list[tuple[int, Result]]:
    """(attempt, result) of a job, in the order of the attempts."""
    query = select(job_results).where(job_results.c.job_id == job_id).order_by(job_results.c.attempt)
    return [(row.attempt, _result(row)) for row in connection.execute(query)]


def add_results(connection: Session, job_id: str, attempt: int, found: Sequence[Result], recorded_at: datetime) -> None:
    rows = [
        {
            "job_id": job_id,
            "attempt": attempt,
            "account_number": result.account_number,
            "happened": result.happened,
            "reason": result.reason,
            "retryable": result.retryable,
            "invoice_number": result.invoice_number,
            "total": None if result.total is None else Decimal(result.total),
            "recorded_at": recorded_at,
        }
        for result in found
    ]
    connection.execute(insert(job_results), rows)


def job(session: Session, job_id: str) -> Row[Any] | None:
    return session.execute(select(jobs).where(jobs.c.id == job_id)).one_or_none()


def latest_results(session: Session, job_id: str, after: str, limit: int) -> Sequence[Row[Any]]:
    """The latest result of each company of a job, by account number."""
    return session.execute(_LATEST_PAGE, {"job": job_id, "after": after, "limit": limit}).all()


def all_results(job_id: str) -> TextualSelect:
    """The latest result of each company, as a table that can be sorted and searched."""
    texts = dict.fromkeys(("account_number", "happened", "why", "invoice_number", "currency"), Text)
    found = _LATEST_ALL.bindparams(job=job_id, after="")
    return found.columns(**texts, total=Numeric, recorded_at=DateTime(timezone=True))


def history() -> Select[Any]:
    """Every job, with its period as text and how long it took in seconds."""
    period = func.format("%s-%s", jobs.c.target_year, func.lpad(cast(jobs.c.target_month, Text), 2, "0"))
    took = func.extract("epoch", jobs.c.completed_at - jobs.c.started_at)
    return select(*jobs.c, cast(period, Text).label("period"), took.label("took"))


def list_jobs(session: Session, limit: int, offset: int, status: str | None) -> tuple[int, Sequence[Row[Any]]]:
    """The number of jobs, and one page of them, newest first."""
    query = select(jobs)
    if status:
        query = query.where(jobs.c.status == status)
    total = session.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    page = query.order_by(jobs.c.started_at.desc(), jobs.c.id).limit(limit).offset(offset)
    return total, session.execute(page).all()


def _job(row: Row[Any]) -> Job:
    accounts = row.target_account_numbers
    return Job(
        row.id,
        Kind(row.job_type),
        Status(row.status),
        Period(row.target_year, row.target_month),
        None if accounts is None else tuple(accounts),
        row.attempts,
        row.triggered_by,
    )


def _result(row: Row[Any]) -> Result:
    total = None if row.total is None else format(row.total, "f")
    return Result(row.account_number, Happened(row.happened), row.reason, row.retryable, row.invoice_number, total)
