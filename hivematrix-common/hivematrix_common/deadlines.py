"""How long the caller still waits: `X-Request-Deadline`, milliseconds left, handed on to every peer."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from flask import Flask, Response, request

from hivematrix_common.errors import Problem

HEADER = "X-Request-Deadline"
_until: ContextVar[float | None] = ContextVar("until", default=None)


def remaining() -> float | None:
    """Seconds the caller still waits; None when it set no limit."""
    until = _until.get()
    return None if until is None else until - time.monotonic()


def check() -> None:
    """Stop work nobody waits for any more: Problem(deadline_exceeded)."""
    left = remaining()
    if left is not None and left <= 0:
        raise Problem("deadline_exceeded", "The caller's deadline has passed.")


@contextmanager
def within(seconds: float) -> Iterator[None]:
    """Work that nobody asked for has a deadline too."""
    before = _until.set(time.monotonic() + seconds)
    try:
        yield
    finally:
        _until.reset(before)


def init_deadlines(app: Flask) -> None:
    @app.before_request
    def begin() -> None:
        text = request.headers.get(HEADER, "")
        _until.set(time.monotonic() + int(text[:9]) / 1000 if text.isdigit() else None)
        check()

    @app.after_request
    def end(response: Response) -> Response:
        _until.set(None)
        return response
