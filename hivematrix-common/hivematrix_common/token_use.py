"""Which token was used last, when and from where; and a warning before a used one ends."""

import logging
import threading
import time
from collections.abc import Hashable
from datetime import timedelta

from flask import Flask, Response, current_app, g, request

from hivematrix_common import clock
from hivematrix_common.tokens import Registration

NOTE_EVERY = 60.0  # seconds
WARN_EVERY = 24 * 3600.0
ENDS_SOON = timedelta(days=14)
_log = logging.getLogger("hivematrix.auth")


class Seldom:
    """Says yes to each name once in so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._lock = seconds, threading.Lock()
        self._last: dict[Hashable, float] = {}

    def due(self, name: Hashable) -> bool:
        now = time.monotonic()
        with self._lock:
            if now - self._last.get(name, -self._seconds) < self._seconds:
                return False
            self._last[name] = now
            return True


def init_token_use(app: Flask) -> None:
    notes, warnings = Seldom(NOTE_EVERY), Seldom(WARN_EVERY)

    @app.after_request
    def note(response: Response) -> Response:
        entry: Registration | None = g.pop("used_token", None)
        if entry is None:
            return response
        if ends_soon(entry) and warnings.due(entry.id):
            fields = {"caller": entry.caller, "token": entry.id, "expires": entry.expires}
            _log.warning("a token in use ends soon; run: hivematrix-helm tokens rotate", extra=fields)
        if notes.due(entry.id):
            current_app.extensions.get("hivematrix_note_use", _nowhere)(entry.id, request.remote_addr)
        return response


def ends_soon(entry: Registration) -> bool:
    """Whether somebody has to see to it; a token that was replaced ends on purpose."""
    return entry.expires is not None and not entry.replaced_by and entry.expires - clock.now() < ENDS_SOON


def _nowhere(_token_id: str, _address: str | None) -> None:
    """A service without a database keeps no account of it."""
