"""Sealing jobs: what is due, what was asked for, what a dead process left; one run at a time, each page recorded."""

import contextlib
import contextvars
import hashlib
import logging
import os
import socket
import uuid
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from typing import Any
from zoneinfo import ZoneInfo

from hivematrix_common import audit, clock
from hivematrix_common.config import ConfigError, Settings
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import FieldError, Problem
from hivematrix_common.failpoints import failpoint
from hivematrix_common.logs import start_trace
from hivematrix_common.peers import PeerError
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DBAPIError

from hivematrix_archive.clients import Bills, Codex, Companies, Ledger
from hivematrix_archive.domain import jobs as domain
from hivematrix_archive.domain.jobs import Job, Kind, Result, Status, Tally
from hivematrix_archive.domain.schedule import Schedule, due_periods
from hivematrix_archive.store import jobs as store

# One is fetched, one computed, one checked, one stored: what each adds was measured.
IN_FLIGHT = 4
_log = logging.getLogger("hivematrix.archive")


class LockedError(Exception):
    """Another run holds the lock; the text names it."""


@dataclass(frozen=True, slots=True)
class Runner:
    """What a run needs. `progress` is told after every page."""

    engine: Engine
    zone: ZoneInfo
    codex: Companies
    ledger: Bills
    progress: Callable[[Job, Tally], None] = lambda _job, _tally: None


@dataclass(frozen=True, slots=True)
class Report:
    """How a job's pass ended. `error` is why it could not even begin."""

    job: Job
    tally: Tally
    error: str | None = None

    @property
    def code(self) -> int:
        return domain.FAILED if self.error else self.tally.exit_code


def runner(settings: Settings, engine: Engine, progress: Callable[[Job, Tally], None] | None = None) -> Runner:
    """A runner that asks the configured peers."""
    peers = (Codex(settings), Ledger(settings))
    return Runner(engine, settings.billing.timezone, *peers, *([progress] if progress else []))


def run_due(runner: Runner) -> list[Report]:
    """The timer's run: what dead processes left, what is to be tried again, then every due period.

    A job whose month has not ended was made while the clock was ahead: it waits, and loses none of its tries.
    """
    with sole_run(runner.engine) as connection:
        row = _schedule(connection)
        ended = [job for job in _unfinished(connection) if job.period.has_ended(clock.now(), runner.zone)]
        left = [job for job in ended if row.enabled or job.kind is not Kind.SCHEDULED]
        reports = [_run(runner, connection, job) for job in left]
        if row.enabled:
            reports += [_run(runner, connection, job) for job in _due_jobs(runner, connection, row)]
        return reports


def run_asked(runner: Runner, period: Period, accounts: tuple[str, ...] | None, asked_by: str) -> Report:
    """A manual run; one like it that a dead process left is continued. `accounts` None means every company."""
    require_ended(period, runner.zone)
    with sole_run(runner.engine) as connection:
        wanted = (Kind.MANUAL, period, accounts)
        same = (job for job in _unfinished(connection) if (job.kind, job.period, job.accounts) == wanted)
        job = next(same, None) or _new_job(connection, Kind.MANUAL, period, accounts, asked_by)
        return _run(runner, connection, job)


def run_bulk(runner: Runner) -> list[Report]:
    """The jobs that were asked for over HTTP, those a dead process left among them."""
    with sole_run(runner.engine) as connection:
        return [_run(runner, connection, job) for job in _unfinished(connection) if job.kind is Kind.BULK]


def any_bulk(engine: Engine) -> bool:
    """Whether a job that was asked for over HTTP waits, or was left by a dead process."""
    with engine.connect() as connection:
        return any(job.kind is Kind.BULK for job in store.unfinished(connection))


def preview_due(runner: Runner) -> list[tuple[Period, tuple[str, ...] | None]]:
    """The periods that the timer's run would seal now, and of whom."""
    with runner.engine.connect() as connection:
        row = _schedule(connection)
        if not row.enabled:
            return []
        return [(period, accounts_of(row)) for period in _due(runner, connection, row)]


def accounts_of(row: Schedule) -> tuple[str, ...] | None:
    """Whom the row means; ConfigError when it means some companies and names none."""
    if row.all_companies:
        return None
    if not row.accounts:
        raise ConfigError(["scheduled_snapshots: snapshot_all_companies is false and account_numbers names none"])
    return row.accounts


def read_accounts(engine: Engine) -> tuple[str, ...] | None:
    with engine.connect() as connection:
        return accounts_of(_schedule(connection))


def require_ended(period: Period, zone: ZoneInfo) -> None:
    if not period.has_ended(clock.now(), zone):
        message = f"{period} has not ended in {zone.key}"
        raise Problem("period_open", f"{message}.", fields=[FieldError("period", message)])


@contextlib.contextmanager
def sole_run(engine: Engine) -> Iterator[Connection]:
    """Hold the one lock of all runs; it goes with its connection, so a dead run never holds it."""
    with engine.connect() as connection:
        with connection.begin():
            if not store.try_lock(connection):
                raise LockedError(_first(connection))
        try:
            yield connection
        finally:
            _release(connection)


def _release(connection: Connection) -> None:
    try:
        connection.rollback()
        with connection.begin():
            store.unlock(connection)
    except DBAPIError:
        connection.invalidate()


def _first(connection: Connection) -> str:
    row = store.running(connection)
    if row is None:
        return "another run holds the lock; its job has just begun"
    begun = f"begun {row.started_at:%Y-%m-%d %H:%M:%SZ} by {row.runner}"
    return f"another run holds the lock: job {row.id} for {Period(row.target_year, row.target_month)}, {begun}"


def _schedule(connection: Connection) -> Schedule:
    with _reading(connection):
        row = store.read_schedule(connection)
    if row is None:
        raise ConfigError(["scheduled_snapshots: the row with id 1 is missing; run: init_db.py --migrate-only"])
    return row


def _unfinished(connection: Connection) -> list[Job]:
    with _reading(connection):
        return store.unfinished(connection)


def _due(runner: Runner, connection: Connection, row: Schedule) -> list[Period]:
    with _reading(connection):
        settled = store.finished_periods(connection)
        settled |= {job.period for job in store.unfinished(connection) if job.kind is Kind.SCHEDULED}
    return due_periods(row, runner.zone, clock.now(), settled)


def _due_jobs(runner: Runner, connection: Connection, row: Schedule) -> Iterator[Job]:
    for period in _due(runner, connection, row):
        yield _new_job(connection, Kind.SCHEDULED, period, accounts_of(row), "schedule")


def _reading(connection: Connection) -> contextlib.AbstractContextManager[Any]:
    return contextlib.nullcontext() if connection.in_transaction() else connection.begin()


def _new_job(
    connection: Connection, kind: Kind, period: Period, accounts: tuple[str, ...] | None, asked_by: str
) -> Job:
    job = Job(str(uuid.uuid4()), kind, Status.QUEUED, period, accounts, 0, asked_by)
    with connection.begin():
        store.add_job(connection, job, clock.now())
    failpoint("job-added")
    return job


def _run(runner: Runner, connection: Connection, job: Job) -> Report:
    """One pass over a job. A job found running belonged to a dead process and goes on within the same attempt."""
    attempt = job.attempts if job.status is Status.RUNNING else job.attempts + 1
    running = replace(job, status=Status.RUNNING, attempts=attempt)
    who = f"{socket.gethostname()} process {os.getpid()}"
    start_trace()  # the calls of a pass are found by it in every service's audit
    with connection.begin():
        store.change_job(connection, job.id, status=Status.RUNNING, attempts=attempt, runner=who)
        audit.record(connection, _pass_entry(running))
    failpoint("job-running")
    try:
        accounts = list(dict.fromkeys(job.accounts if job.accounts is not None else runner.codex.accounts()))
    except PeerError as error:
        return _not_begun(connection, running, error)
    tally = _work(runner, connection, running, accounts)
    return _finish(connection, running, tally)


def _pass_entry(job: Job) -> audit.Entry:
    told: dict[str, audit.Detail] = {"job": job.id, "kind": str(job.kind), "attempt": job.attempts}
    if job.accounts is not None:
        told["companies"] = len(job.accounts)
    return audit.Entry(
        service="archive",
        action="sealing job",
        actor=job.triggered_by,
        actor_kind="job",
        target=str(job.period),
        details=told,
    )


def _work(runner: Runner, connection: Connection, job: Job, accounts: Sequence[str]) -> Tally:
    with connection.begin():
        known = store.results(connection, job.id)
        left = domain.left_to_do(accounts, known, job.attempts)
        tally = Tally(len(accounts), (result for _, result in known))
        store.change_job(connection, job.id, total_companies=tally.total)
    failpoint("job-listed")
    for settled in _settled_pages(runner, job, domain.pages(left)):
        failpoint("job-page-answered")
        tally.add(settled)
        counts = {"completed_companies": tally.completed, "failed_companies": tally.failed}
        with connection.begin():
            store.add_results(connection, job.id, job.attempts, settled, clock.now())
            failpoint("job-page-inserted")
            store.change_job(connection, job.id, **counts)
        failpoint("job-page-recorded")
        runner.progress(job, tally)
    return tally


def _settled_pages(runner: Runner, job: Job, pages: Iterable[Sequence[str]]) -> Iterator[list[Result]]:
    """The pages' results in order, with four pages on their way at a time."""
    with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="accept") as pool:
        under_way: deque[Future[list[Result]]] = deque()
        for page in pages:
            under_way.append(pool.submit(contextvars.copy_context().run, _accept, runner, job, page))
            if len(under_way) == IN_FLIGHT:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def _accept(runner: Runner, job: Job, page: Sequence[str]) -> list[Result]:
    asked = hashlib.sha256(",".join(page).encode()).hexdigest()[:16]
    try:
        answered = runner.ledger.accept(job.period, page, f"job-{job.id}-{job.attempts}-{asked}")
    except (PeerError, DomainError) as error:
        _log.warning("page failed", extra={"job": job.id, "companies": len(page), "reason": str(error)})
        return domain.failed_page(page, str(error))
    return domain.settle_page(page, answered)


def _not_begun(connection: Connection, job: Job, error: PeerError) -> Report:
    """Nobody could be asked: a scheduled job waits without losing one of its tries, any other has failed."""
    waits = job.kind is Kind.SCHEDULED
    values: dict[str, Any] = {"status": Status.RETRYING if waits else Status.FAILED, "error": error.detail}
    values |= {"attempts": job.attempts - 1} if waits else {"completed_at": clock.now(), "success": False}
    with connection.begin():
        store.change_job(connection, job.id, **values)
        if waits:
            _note_run(connection, "failed", 0, error.detail)
    _log.error("job not begun", extra={"job": job.id, "period": str(job.period), "reason": error.detail})
    return Report(replace(job, status=values["status"]), Tally(0), error.detail)


def _finish(connection: Connection, job: Job, tally: Tally) -> Report:
    status = domain.status_after(job, tally)
    done = status in domain.FINISHED
    values = {"output": tally.as_output(), "success": tally.failed == 0, "error": None}
    with connection.begin():
        store.change_job(connection, job.id, status=status, completed_at=clock.now() if done else None, **values)
        if job.kind is Kind.SCHEDULED:
            outcome = {domain.DONE: "success", domain.PART: "partial"}.get(tally.exit_code, "failed")
            _note_run(connection, outcome, tally.completed - tally.failed, "\n".join(tally.errors[:100]) or None)
    failpoint("job-finished")
    if tally.failed and done:
        _log.error("job finished with failures", extra={"alert": "job_failed", "job": job.id, "failed": tally.failed})
    return Report(replace(job, status=status), tally)


def _note_run(connection: Connection, outcome: str, count: int, log: str | None) -> None:
    values = {"last_run_at": clock.now(), "last_run_status": outcome, "last_run_count": count, "last_run_log": log}
    store.change_schedule(connection, values)
