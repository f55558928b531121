"""Keeps what bills are searched by up to date, in moments when nothing is sealed. Searches are right without it."""

import logging
import threading

from flask import Flask
from hivematrix_common.failpoints import failpoint
from hivematrix_common.logs import start_trace
from sqlalchemy.exc import SQLAlchemyError

from hivematrix_archive.store import session
from hivematrix_archive.store.search import fill

LOOK_SECONDS = 30.0
# A month is sealed page after page; a pause as long as this one is its end.
PAUSE_SECONDS = 5.0
AT_ONCE = 500
_log = logging.getLogger("hivematrix.archive")


class Indexing(threading.Thread):
    """Fills after what was sealed, and now and then looks for what a dead process left. Ends with the process."""

    def __init__(self, app: Flask) -> None:
        super().__init__(name="search-index", daemon=True)
        self._app = app
        self._sealed = threading.Event()

    def wake(self) -> None:
        self._sealed.set()

    def run(self) -> None:
        while True:
            self._sealed.wait(LOOK_SECONDS)
            while self._sealed.is_set():
                self._sealed.clear()
                self._sealed.wait(PAUSE_SECONDS)
            with self._app.app_context():
                start_trace(None)
                self.fill()

    def fill(self) -> None:
        """Fill until nothing is left, or until something is sealed again."""
        try:
            while not self._sealed.is_set() and fill(session(), AT_ONCE):
                failpoint("search-fill")
                session().commit()
                failpoint("search-filled")
        except SQLAlchemyError as error:
            _log.warning("search not filled", extra={"reason": str(error).splitlines()[0]})
        finally:
            session().rollback()


def start(app: Flask) -> None:
    """Start filling in a serving process."""
    filler = Indexing(app)
    app.extensions["hivematrix_sealed"] = filler.wake
    filler.start()
