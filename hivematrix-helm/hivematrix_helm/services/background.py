"""What a serving Helm does by itself, at its intervals."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Event

from apscheduler.executors.pool import ThreadPoolExecutor
from apscheduler.schedulers.background import BackgroundScheduler
from flask import Flask
from hivematrix_common import metrics
from hivematrix_common.health import prober
from hivematrix_common.logs import start_trace
from sqlalchemy.exc import SQLAlchemyError
from tzlocal import get_localzone

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain.timers import Signal
from hivematrix_helm.services import audit, proofs, rounds, timer, timers, witness

COLLECT_SECONDS, WITNESS_SECONDS, PROOF_SECONDS = 5, 10, 60
# By the clock on the wall, as the systemd timers do it.
BACKUP_HOUR, DRILL_HOUR = 3, 4
# What was due while the machine was off is made up for once the services have come up.
FIRST_RUN = timedelta(minutes=1)
# How soon a wrong clock that was set right is noticed, and what counts as a leap of it.
LOOK_SECONDS, LEAP = 30.0, timedelta(hours=2)
TIMER_OF = {unit: name for name, unit in timers.UNITS.items()}
_log = logging.getLogger("hivematrix.helm")


class SteadyScheduler(BackgroundScheduler):  # type: ignore[misc]  # the library has no types
    """Its jobs do not wait for the time a clock showed before it was set back, nor count each run it leapt over."""

    def _process_jobs(self) -> float:
        now = datetime.now(UTC)
        for job in self.get_jobs():
            following = job.trigger.get_next_fire_time(now, now)
            if job.next_run_time < now - LEAP:
                job.modify(next_run_time=now)
            elif following and job.next_run_time > following:
                job.modify(next_run_time=following)
        wait = super()._process_jobs()
        return LOOK_SECONDS if wait is None else min(wait, LOOK_SECONDS)


def start(app: Flask, settings: HelmSettings) -> BackgroundScheduler:
    """Begin; the first collection and the first look at the log are made at once. It ends with the process."""
    logging.getLogger("apscheduler").setLevel(logging.WARNING)  # it tells of every run
    scheduler = SteadyScheduler(
        timezone=UTC,
        executors={
            name: ThreadPoolExecutor(1) for name in ("default", "witness", "timer", "backup", *rounds.EXECUTORS)
        },
        job_defaults={"coalesce": True, "max_instances": 1, "misfire_grace_time": None},
    )
    now = datetime.now(UTC)
    if settings.audit.collect:
        scheduler.add_job(_collecting(app, settings), "interval", seconds=COLLECT_SECONDS, next_run_time=now)
    if settings.witness.enabled:
        look = _looking(app, settings)
        scheduler.add_job(look, "interval", seconds=WITNESS_SECONDS, next_run_time=now, executor="witness")
    seal = _sealing(app, settings)
    scheduler.add_job(seal, "cron", minute=0, executor="timer")
    scheduler.add_job(seal, "date", run_date=now + FIRST_RUN, executor="timer")
    scheduler.add_job(_judging(app, settings), "interval", seconds=PROOF_SECONDS, next_run_time=now)
    nights = ((BACKUP_HOUR, timer.BACKUP_UNIT, timer.back_up), (DRILL_HOUR, timer.DRILL_UNIT, timer.drill))
    for hour, unit, work in nights:
        nightly = _nightly(app, settings, unit, work)
        scheduler.add_job(nightly, "cron", hour=hour, minute=0, timezone=get_localzone(), executor="backup")
    scheduler.add_job(_making_up(app, settings), "date", run_date=now + FIRST_RUN, executor="backup")
    rounds.add_jobs(scheduler, app, settings)
    scheduler.start()
    return scheduler


def _collecting(app: Flask, settings: HelmSettings) -> Callable[[], None]:
    feeds, faults, draining = audit.feeds(settings), dict[str, str](), prober(app).draining

    def collect() -> None:
        start_trace(None)
        with app.app_context():
            audit.collect_all(feeds, faults, lambda: not draining.is_set())

    return collect


def _looking(app: Flask, settings: HelmSettings) -> Callable[[], None]:
    log, gauges, draining = witness.log_of(settings), witness.Gauges(metrics.of(app)), prober(app).draining
    directory, faults = settings.witness.path, set[str]()

    def look() -> None:
        start_trace(None)
        with app.app_context():
            try:
                witness.look(log, directory, lambda: not draining.is_set())
                gauges.set(witness.state(directory))
                faults.clear()
            except SQLAlchemyError as error:
                reason = str(error).splitlines()[0]
                if not faults:
                    _log.warning("log not looked at", extra={"reason": reason})
                faults.add(reason)

    return look


def _sealing(app: Flask, settings: HelmSettings) -> Callable[[], None]:
    draining = prober(app).draining

    def seal() -> None:
        start_trace(None)
        current = settings.current()
        if timer.is_ours(current):
            _signalled(app, "seal", lambda: timer.run(current.home, draining))

    return seal


def _nightly(app: Flask, settings: HelmSettings, unit: str, work: Callable[[Path, Event], int]) -> Callable[[], None]:
    draining = prober(app).draining

    def run() -> None:
        start_trace(None)
        current = settings.current()
        if timer.is_ours(current, unit):
            _signalled(app, TIMER_OF[unit], lambda: work(current.home, draining))

    return run


def _signalled(app: Flask, name: str, work: Callable[[], int]) -> None:
    """Work of a timer between its signals; a database that cannot keep them stops no work."""
    _keep(app, lambda: timers.signal(name, Signal.START))
    code = work()
    _keep(app, lambda: timers.ended(name, code))


def _keep(app: Flask, signal: Callable[[], None]) -> None:
    with app.app_context():
        try:
            signal()
        except SQLAlchemyError as error:
            _log.warning("a timer's signal was not kept", extra={"reason": str(error).splitlines()[0]})


def _making_up(app: Flask, settings: HelmSettings) -> Callable[[], None]:
    """The night that passed while nothing ran here, as systemd's `Persistent=` has it."""
    nights = [_nightly(app, settings, timer.BACKUP_UNIT, timer.back_up)]
    nights.append(_nightly(app, settings, timer.DRILL_UNIT, timer.drill))

    def make_up() -> None:
        if proofs.missed(settings.current(), datetime.now(get_localzone()), BACKUP_HOUR):
            for night in nights:
                night()

    return make_up


def _judging(app: Flask, settings: HelmSettings) -> Callable[[], None]:
    gauges, faults = proofs.Gauges(metrics.of(app)), set[str]()

    def judge() -> None:
        start_trace(None)
        with app.app_context():
            try:
                proofs.look(settings.current())
                gauges.set(proofs.state(settings.current()))
                faults.clear()
            except (SQLAlchemyError, OSError) as error:
                reason = str(error).splitlines()[0]
                if not faults:
                    _log.warning("backups not looked at", extra={"reason": reason})
                faults.add(reason)

    return judge
