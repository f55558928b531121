"""The service's own runner: takes up the jobs that are asked for over HTTP, one at a time, in a thread."""

import logging
import threading

from flask import Flask
from hivematrix_common.errors import Problem, first_line
from hivematrix_common.logs import start_trace
from sqlalchemy.exc import SQLAlchemyError

from hivematrix_archive.services import jobs, log
from hivematrix_archive.services.jobs import LockedError
from hivematrix_archive.store import engine, session
from hivematrix_archive.store.outside import Outside

LOOK_SECONDS = 30.0
_log = logging.getLogger("hivematrix.archive")


class Background(threading.Thread):
    """Looks for jobs when woken, and now and then for those that a dead process left. Ends with the process."""

    def __init__(self, app: Flask) -> None:
        super().__init__(name="sealing-jobs", daemon=True)
        self._app = app
        self._woken = threading.Event()
        self._sound = False

    def wake(self) -> None:
        self._woken.set()

    def run(self) -> None:
        while True:
            with self._app.app_context():
                start_trace(None)
                self.look()
            self._woken.wait(LOOK_SECONDS)
            self._woken.clear()

    def look(self) -> None:
        """Check once that the database is not behind the checkpoint file; then do what is there to do."""
        settings = self._app.settings  # type: ignore[attr-defined]
        try:
            if not self._sound:
                self._sound = self._check(self._app.extensions["hivematrix_outside"])
            if settings.scheduler.enabled and jobs.any_bulk(engine()):
                jobs.run_bulk(jobs.runner(settings, engine()))
        except LockedError as error:
            _log.info("job waits", extra={"reason": str(error)})
        except (SQLAlchemyError, Problem) as error:
            _log.warning("job not run", extra={"reason": first_line(error)})

    def _check(self, outside: Outside) -> bool:
        if outside.signer():
            with outside.growing():
                log.ensure_sound(session(), outside)
        session().rollback()
        return True


def start(app: Flask) -> None:
    """Start the runner of a serving process; ConfigError when its key cannot be used."""
    app.extensions["hivematrix_outside"].signer()
    runner = Background(app)
    app.extensions["hivematrix_wake"] = runner.wake
    runner.start()
