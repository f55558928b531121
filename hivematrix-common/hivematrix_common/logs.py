"""Logs: one JSON object a line on stdout, with the request's trace (W3C Trace Context) and never a token or a body."""

import json
import logging
import os
import re
import secrets
import sys
import time
from contextvars import ContextVar
from datetime import UTC, datetime
from io import TextIOWrapper
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

import orjson
from flask import Flask, Response, g, request

from hivematrix_common.sections import Service
from hivematrix_common.tokens import masked

_TRACEPARENT = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_NO_TRACE = "0" * 32
_trace: ContextVar[str] = ContextVar("trace", default="")
_PLAIN = set(logging.LogRecord("", 0, "", 0, "", (), None).__dict__) | {"message", "asctime", "taskName"}


class JsonFormatter(logging.Formatter):
    def __init__(self, service: str) -> None:
        super().__init__()
        self.service = service

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "service": self.service,
            "logger": record.name,
            "message": record.getMessage(),
            "trace_id": trace_id() or None,
        }
        line |= {name: value for name, value in record.__dict__.items() if name not in _PLAIN}
        if record.exc_info:
            line["exception"] = self.formatException(record.exc_info)
        return masked(_spelled(line))


def _spelled(line: dict[str, Any]) -> str:
    try:
        return orjson.dumps(line, default=str).decode()
    except TypeError:  # what it does not take, such as half a surrogate or a huge number
        return json.dumps(line, default=str, ensure_ascii=False)


class LogFile(RotatingFileHandler):
    """A log in HIVEMATRIX_HOME/logs of which this process is the only writer. What is too long is put aside whole;
    where stdout and stderr lead to the log, they lead to the new one then: no line is lost or cut.
    """

    def __init__(self, path: Path, limits: Service) -> None:
        super().__init__(path, maxBytes=limits.log_max_mb * 2**20, backupCount=limits.log_keep, encoding="utf-8")

    def doRollover(self) -> None:  # noqa: N802 - the library's name
        led_here = [number for number in (1, 2) if _leads_to(number, Path(self.baseFilename))]
        super().doRollover()
        if self.stream:
            for number in led_here:
                os.dup2(self.stream.fileno(), number)

    def _open(self) -> TextIOWrapper:
        stream = super()._open()
        os.fchmod(stream.fileno(), 0o600)
        return stream


def _leads_to(number: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(number), path.stat())
    except OSError:
        return False


def init_logging(service: str, limits: Service, home: Path) -> None:
    """Send every logger of this process to stdout as JSON lines; where Helm made stdout a log, that is kept short."""
    path = home / "logs" / f"{service}.log"
    handler = LogFile(path, limits) if _leads_to(1, path) else logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter(service))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(limits.log_level.upper())
    logging.getLogger("waitress.queue").setLevel(logging.ERROR)


def trace_id() -> str:
    """The current trace, or an empty text outside of one."""
    return _trace.get()


def start_trace(parent: str | None = None) -> str:
    """Go on with the caller's trace, or begin one; returns its id."""
    match = _TRACEPARENT.fullmatch(parent or "")
    identity = match[1] if match and match[1] != _NO_TRACE else secrets.token_hex(16)
    _trace.set(identity)
    return identity


def traceparent() -> str:
    """The header that hands this trace on to a peer."""
    return f"00-{trace_id() or start_trace()}-{secrets.token_hex(8)}-01"


def init_access_log(app: Flask) -> None:
    """One line a request: route (never its parameters), status, duration, caller."""
    log = logging.getLogger("hivematrix.access")

    @app.before_request
    def begin() -> None:
        g.started = time.perf_counter()
        start_trace(request.headers.get("traceparent"))

    @app.after_request
    def finish(response: Response) -> Response:
        response.headers["X-Trace-Id"] = trace_id()
        rule = request.url_rule.rule if request.url_rule else None
        quiet = rule in {"/health", "/livez", "/readyz", "/metrics"} and response.status_code < 400  # noqa: PLR2004
        fields = {
            "method": request.method,
            "route": rule,
            "status": response.status_code,
            "duration_ms": round((time.perf_counter() - g.started) * 1000, 1),
            "caller": g.caller.name if g.get("caller") else None,
            "remote": request.remote_addr,
        }
        log.log(logging.DEBUG if quiet else logging.INFO, "request", extra=fields)
        return response
