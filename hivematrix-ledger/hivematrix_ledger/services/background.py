"""Runs in a thread of the serving process; what a request asked for goes on after its answer."""

import logging
import threading

from flask import Flask
from hivematrix_common.errors import Problem, first_line
from hivematrix_common.logs import start_trace
from sqlalchemy.exc import SQLAlchemyError

from hivematrix_ledger.services import closing

AT_ONCE_SECONDS = 0.5
_log = logging.getLogger("hivematrix.ledger")


def start(app: Flask, run_id: int) -> None:
    """Work on a run; what takes less than half a second is over when this returns."""
    worker = threading.Thread(target=_work, args=(app, run_id), name=f"run-{run_id}", daemon=True)
    worker.start()
    worker.join(AT_ONCE_SECONDS)


def _work(app: Flask, run_id: int) -> None:
    with app.app_context():
        start_trace(None)
        try:
            closing.work(app.extensions["hivematrix_ledger"], run_id)
        except (SQLAlchemyError, Problem) as error:
            _log.warning("run stopped", extra={"run": run_id, "reason": first_line(error)})
