"""A sync: fetch everything into the stage, carry it out in one transaction, remember what was done.

Nothing is changed before the fetch has ended; what could not be fetched whole retires nothing.
"""

import contextlib
import logging
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, Literal

from hivematrix_common import audit, clock, logs
from hivematrix_common.cells import shown
from hivematrix_common.database import AnySession
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.errors import Problem, first_line
from hivematrix_common.failpoints import failpoint
from hivematrix_common.transactions import connection_beside
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from hivematrix_codex import staging, store
from hivematrix_codex.config import CodexSettings
from hivematrix_codex.domain import merging
from hivematrix_codex.domain.facts import Fact, Record, Told
from hivematrix_codex.providers.base import Page, Provider, ProviderError
from hivematrix_codex.services.carrying import Carrier, Report, Run
from hivematrix_codex.services.providing import NAMES, configured
from hivematrix_codex.store import changes, syncing

Mode = Literal["incremental", "full", "wanted"]
# A provider's clock is not ours, and a list takes a while to be read.
OVERLAP = timedelta(minutes=10)
LOCK = "codex-sync"
_log = logging.getLogger("hivematrix.codex")
Progress = Callable[[dict[str, int]], None]


class LockedError(Exception):
    """Another run is at work."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended, and what it did or would do."""

    job_id: str
    provider: str
    status: str
    report: Report

    def as_json(self) -> dict[str, Any]:
        return {
            "job": self.job_id,
            "provider": self.provider,
            "status": self.status,
            "counts": self.report.as_counts(),
            "errors": [*([self.report.stopped] if self.report.stopped else []), *self.report.errors],
        }


def require_provider(settings: CodexSettings, name: str) -> None:
    """Problem `not_found` unless the provider is one of ours and configured."""
    if name not in NAMES:
        raise Problem("not_found", f"There is no provider {name}; known are {', '.join(NAMES)}.")
    if name not in configured(settings):
        raise Problem("not_found", f"{name} is not configured: set [{name}] in {settings.conf}.")


def order(
    session: AnySession, provider: str, mode: Mode, *, dry_run: bool = False, accepted: int = 0, asked_by: str
) -> str:
    """Have a sync made: the job's id. One that waits to do the same is that job. The caller commits."""
    waiting = None if dry_run else syncing.waiting(session, provider, mode, accepted)
    if waiting:
        return waiting
    job_id, now = str(uuid.uuid4()), clock.now()
    syncing.add_job(session, job_id, provider, mode, dry_run=dry_run, accepted=accepted, asked_by=asked_by, at=now)
    return job_id


@contextlib.contextmanager
def sole_run() -> Iterator[None]:
    """Be the one run of all processes; LockedError when there is one. A dead run holds nothing."""
    session = store.session()
    with connection_beside(session) as connection:
        if not connection.scalar(_TRY, {"name": LOCK}):
            raise LockedError("another sync is running; wait for its end")
        _end_transaction(connection, session)
        try:
            syncing.end_deserted(session, clock.now())
            session.commit()
            yield
        finally:
            session.rollback()
            with contextlib.suppress(DBAPIError):
                connection.execute(_RELEASE, {"name": LOCK})
                _end_transaction(connection, session)


_TRY = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
_RELEASE = text("SELECT pg_advisory_unlock(hashtextextended(:name, 0))")


def _end_transaction(connection: Any, session: AnySession) -> None:
    """The lock is the connection's, so its transaction need not stay open; the session ends its own."""
    if session.get_bind() is not connection:
        connection.commit()


def run(settings: CodexSettings, job_id: str, progress: Progress | None = None) -> Outcome:
    """Do what the job says. Call it within `sole_run`."""
    session = store.session()
    job = syncing.job(session, job_id)
    if job is None:
        raise Problem("not_found", f"There is no sync {job_id}.")
    provider, report = configured(settings).get(job["provider"]), Report()
    if provider is None:
        report.errors.append(f"{job['provider']} is not configured")
        return _give_up(job, report)
    try:
        return _Sync(settings, provider, job, report, progress or (lambda _: None)).run()
    except (ProviderError, SQLAlchemyError) as error:
        report.errors.append(str(error) if isinstance(error, ProviderError) else f"database: {first_line(error)}")
        return _give_up(job, report)
    except BaseException:
        report.errors.append("an unexpected fault; the log has it")
        _give_up(job, report)
        raise


def _give_up(job: dict[str, Any], report: Report) -> Outcome:
    session = store.session()
    session.rollback()
    _finish(session, job["id"], "failed", report)
    session.commit()
    _log.error("sync failed", extra={"provider": job["provider"], "reason": report.errors[-1]})
    return Outcome(job["id"], job["provider"], "failed", report)


def _finish(session: AnySession, job_id: str, status: str, report: Report) -> None:
    told = [*([report.stopped] if report.stopped else []), *report.errors]
    counts, errors = report.as_counts(), told[: syncing.LISTED]
    syncing.end_job(session, job_id, status, counts=counts, errors=errors, at=clock.now())
    syncing.add_changes(session, job_id, report.changes)
    syncing.clear_staged(session, job_id)


@dataclass(slots=True)
class _Sync:
    """One run of one provider."""

    settings: CodexSettings
    provider: Provider
    job: dict[str, Any]
    report: Report
    progress: Progress
    began: datetime = field(default_factory=clock.now)
    whole: set[str] = field(default_factory=set)
    broken: set[str] = field(default_factory=set)
    counts: dict[str, int] = field(default_factory=dict)
    wants: list[tuple[str, str, str]] = field(default_factory=list)
    session: AnySession = field(default_factory=store.session)

    def run(self) -> Outcome:
        syncing.begin_job(self.session, self.job["id"], self.began)
        self.session.commit()
        if self.job["mode"] != "wanted":
            for kind in self.provider.kinds:
                self._fetch(kind)
        self._fetch_wanted()
        for kind in sorted(self.whole - {"time_entries"}):
            self._confirm(kind)
        failpoint("sync-fetched")
        return self._carry_out()

    # -- fetching

    def _fetch(self, kind: str) -> None:
        since = None
        if self.job["mode"] == "incremental" and self.provider.is_incremental(kind):
            mark = syncing.mark(self.session, self.provider.name, kind)
            since = mark - OVERLAP if mark else None
        self.session.commit()
        try:
            for page in self.provider.pages(kind, since):
                self._stage(kind, page)
        except ProviderError as error:
            if error.refused:
                raise
            self.broken.add(kind)
            self.report.errors.append(f"{error}; {kind} are known in part, none was retired")
            return
        if since is None:
            self._be_whole(kind)

    def _be_whole(self, kind: str) -> None:
        """All of a kind was told; nothing at all is no answer to believe when there was something before."""
        name = self.provider.name
        if syncing.count_staged(self.session, self.job["id"], kind) or not syncing.count_active(
            self.session, name, kind
        ):
            self.whole.add(kind)
        else:
            self.report.errors.append(f"{name}: it told of no {kind} at all; none was retired")
        self.session.commit()

    def _fetch_wanted(self) -> None:
        if "tickets" not in self.provider.kinds:
            return
        found = syncing.wanted(self.session, self.provider.name)
        self.session.commit()
        for external_id in found:
            try:
                record = self.provider.one("tickets", external_id)
            except ProviderError as error:
                if error.refused:
                    raise
                self.report.errors.append(str(error))
                continue
            if record is None:
                syncing.stage(self.session, self.job["id"], [("tickets", external_id)])
                self.session.commit()
            else:
                self._stage("tickets", Page([record]))

    def _confirm(self, kind: str) -> None:
        """Ask for each record that the list left out, before it counts as gone: lists shift while they are read."""
        session, name, rules = self.session, self.provider.name, self.settings.sync
        gone = syncing.missing(session, self.job["id"], name, kind)
        known = syncing.count_active(session, name, kind)
        session.commit()
        is_much = merging.too_many(len(gone), known, rules.retire_percent, rules.retire_free)
        if is_much and len(gone) > self.job["accepted_retirements"]:
            return
        for external_id in gone:
            try:
                record = self.provider.one(kind, external_id)
            except ProviderError as error:
                self.whole.discard(kind)
                self.report.errors.append(f"{error}; no {kind} were retired")
                return
            if record is not None:
                self._stage(kind, Page([record]))

    def _stage(self, kind: str, page: Page) -> None:
        staged: list[Fact | tuple[str, str]] = []
        for record in page.records:
            staged += self._told(kind, record)
        for external_id, reason in page.failed:
            self.report.errors.append(reason)
            self.wants.append((external_id, "", "it could not be fetched whole"))
            staged.append((kind, external_id))
        syncing.stage(self.session, self.job["id"], staged)
        self.counts[kind] = self.counts.get(kind, 0) + len(page.records) + len(page.failed)
        syncing.tell_progress(self.session, self.job["id"], self.counts)
        self.session.commit()
        self.progress(self.counts)

    def _told(self, kind: str, record: Record) -> list[Fact | tuple[str, str]]:
        external_id = self.provider.id_of(kind, record)
        try:
            told = self.provider.told(kind, record)
        except DomainError as error:
            message = f"{self.provider.name} {kind} {shown(external_id)}: {error.field}: {shown(error.message, 200)}"
            self.report.errors.append(message)
            return [(kind, external_id)] if external_id else []
        if told.unsettled:
            self.wants.append((external_id, "", told.unsettled))
        return [_marked(fact, told) for fact in told.facts]

    # -- carrying out

    def _carry_out(self) -> Outcome:
        session, settings, job = self.session, self.settings, self.job
        name, zone, accepted = self.provider.name, settings.billing.timezone, job["accepted_retirements"]
        now = Run(job["id"], name, clock.now(), zone, settings.sync, frozenset(self.whole), accepted)
        staging.begin(session)
        self._tell_history()
        syncing.settle(session, job["id"], name, self.began)
        Carrier(session, now, self.report).carry_out()
        if self.report.stopped or job["dry_run"]:
            session.rollback()
        else:
            self._remember(now)
        status = "stopped" if self.report.stopped else "partial" if self.report.errors else "completed"
        _finish(session, job["id"], status, self.report)
        failpoint("sync-carried-out")
        session.commit()
        failpoint("sync-committed")
        _log.info("synced", extra={"provider": name, "status": status, "counts": self.report.as_counts()})
        return Outcome(job["id"], name, status, self.report)

    def _remember(self, now: Run) -> None:
        session, name = self.session, self.provider.name
        if self.job["mode"] != "wanted":
            for kind in self.provider.kinds:
                if kind not in self.broken:
                    syncing.set_mark(session, name, kind, self.began)
        syncing.want(session, name, self.wants, now.at)
        syncing.forget_before(session, now.at - timedelta(days=self.settings.sync.keep_days))
        audit.done(session, "codex sync", name, mode=self.job["mode"], **_acts(self.report))

    def _tell_history(self) -> None:
        """Who changes rows in this transaction, for the history that the database keeps of them."""
        changes.begin(
            self.session,
            actor=self.provider.name,
            kind="sync",
            action=f"{self.job['mode']} sync {self.job['id']}",
            trace_id=logs.trace_id() or None,
            at=self.began,
        )


def _acts(report: Report) -> dict[str, int]:
    acts: dict[str, int] = {}
    for counter in report.counts.values():
        for act, number in counter.items():
            acts[act] = acts.get(act, 0) + number
    return acts


def _marked(fact: Fact, told: Told) -> Fact:
    """A ticket that came with all its entries says so."""
    return replace(fact, parent=told.entries_of) if fact.kind == "tickets" and told.entries_of else fact


def sync(settings: CodexSettings, names: Sequence[str], mode: Mode, **options: Any) -> list[Outcome]:
    """Sync these providers now, one after the other; LockedError when another run is at work."""
    progress = options.pop("progress", None)
    outcomes = []
    with sole_run():
        for name in names:
            job_id = order(store.session(), name, mode, **options)
            store.session().commit()
            outcomes.append(run(settings, job_id, progress))
    return outcomes
