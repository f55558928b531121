"""What a serving Codex does by itself: syncs by the schedule, those that people order, tickets that webhooks name."""

import logging
import threading
from collections.abc import Callable
from datetime import UTC
from typing import cast

from apscheduler.schedulers.background import BackgroundScheduler
from apscheduler.triggers.cron import CronTrigger
from flask import Flask
from hivematrix_common import clock
from hivematrix_common.errors import Problem, first_line
from hivematrix_common.logs import start_trace
from sqlalchemy.exc import SQLAlchemyError

from hivematrix_codex import store
from hivematrix_codex.config import CodexSettings
from hivematrix_codex.services import syncing
from hivematrix_codex.services.providing import configured, schedules
from hivematrix_codex.services.syncing import LockedError, Mode
from hivematrix_codex.store import syncing as stored

LOOK_SECONDS = 30.0
WAKE = "hivematrix_sync_wake"
_log = logging.getLogger("hivematrix.codex")


class Background(threading.Thread):
    """Looks for ordered syncs when woken, and now and then for those of another process. Ends with the process."""

    def __init__(self, app: Flask, settings: CodexSettings) -> None:
        super().__init__(name="syncs", daemon=True)
        self._app, self._settings = app, settings
        self._woken = threading.Event()

    def wake(self) -> None:
        self._woken.set()

    def run(self) -> None:
        while True:
            self._woken.wait(LOOK_SECONDS)
            self._woken.clear()
            with self._app.app_context():
                start_trace(None)
                self.look()

    def look(self) -> None:
        """Do what is ordered, one after the other."""
        try:
            look(self._settings)
        except LockedError as error:
            _log.info("sync waits", extra={"reason": str(error)})
        except (SQLAlchemyError, Problem) as error:
            _log.warning("sync not made", extra={"reason": first_line(error)})


def look(settings: CodexSettings) -> None:
    """Order what webhooks asked for; do every sync that waits. LockedError while another process does so."""
    session = store.session()
    known = configured(settings)
    for provider in stored.named_by_webhooks(session, clock.now()):
        if provider in known:
            syncing.order(session, provider, "wanted", asked_by="webhook")
    waiting = [job["id"] for job in stored.unfinished(session)]
    session.commit()
    if waiting:
        with syncing.sole_run():
            for job_id in [job["id"] for job in stored.unfinished(session)]:
                syncing.run(settings, job_id)


def start(app: Flask, settings: CodexSettings) -> None:
    """Start the runner and the schedule of a serving process."""
    if not settings.sync.enabled:
        return
    runner = Background(app, settings)
    app.extensions[WAKE] = runner.wake
    runner.start()
    logging.getLogger("apscheduler").setLevel(logging.WARNING)  # it tells of every run
    scheduler = BackgroundScheduler(timezone=UTC, job_defaults={"coalesce": True, "max_instances": 1})
    for provider, mode, times in schedules(settings):
        trigger = CronTrigger.from_crontab(times, settings.billing.timezone)
        scheduler.add_job(_ordering(app, runner, provider, mode), trigger)
    scheduler.start()


def _ordering(app: Flask, runner: Background, provider: str, mode: str) -> Callable[[], None]:
    def order() -> None:
        start_trace(None)
        with app.app_context():
            try:
                syncing.order(store.session(), provider, cast(Mode, mode), asked_by="schedule")
                store.session().commit()
            except SQLAlchemyError as error:
                _log.warning("sync not ordered", extra={"provider": provider, "reason": first_line(error)})
        runner.wake()

    return order
