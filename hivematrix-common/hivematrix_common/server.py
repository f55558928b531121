"""Waitress for a service: its limits, a drain on SIGTERM, and problems where it would answer plain text."""

import gc
import logging
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any

import orjson
from waitress.channel import HTTPChannel
from waitress.server import create_server
from waitress.task import ErrorTask

from hivematrix_common import logs, metrics, starter
from hivematrix_common.config import PORTS
from hivematrix_common.errors import Problem, code_for_status
from hivematrix_common.exhaustion import end_if_exhausted, end_with_any_thread
from hivematrix_common.health import Prober, prober
from hivematrix_common.web import BODY_LIMIT, PROBLEM, App

# A page of 500 bills is 20 MB: Waitress's own 8 KiB a turn and temporary files cost more than the bills' checks.
IO_BYTES, IN_MEMORY = 256 * 1024, 32 * 1024 * 1024
FULL_PAUSE = 0.1  # without a free file descriptor every try fails, at once and with a line of log
LOOKS = 3  # a request may lie between two of its parts when we look
_log = logging.getLogger("hivematrix.server")


class ProblemTask(ErrorTask):
    """What Waitress refuses before the app sees it (huge or broken requests), in our error shape."""

    def execute(self) -> None:
        error: Any = self.request.error  # type: ignore[attr-defined]
        problem = Problem(code_for_status(error.code), f"{error.reason}: {error.body}".strip())
        place = {"trace_id": logs.start_trace(), "instance": getattr(self.request, "path", "") or "/"}
        body = orjson.dumps(problem.as_json() | {"status": error.code} | place)
        self.status = f"{error.code} {error.reason}"
        self.response_headers = [("Content-Type", PROBLEM), ("Content-Length", str(len(body))), ("Connection", "close")]
        self.content_length = len(body)
        self.close_on_finish = True
        self.write(body)


class Channel(HTTPChannel):
    error_task_class = ProblemTask

    def handle_error(self) -> None:
        end_if_exhausted()
        super().handle_error()


def make_server(app: App) -> Any:
    """A Waitress server bound to the configured address; OSError when the port is taken."""
    service = app.settings.service
    door = starter.inherited_door(service.bind, app.settings.port)
    where: dict[str, Any] = {"sockets": [door]} if door else {"host": service.bind, "port": app.settings.port}
    limits = [getattr(view, "hm_max_body", BODY_LIMIT) for view in app.view_functions.values()]
    with on_one_cpu(app):
        server: Any = create_server(
            app,
            **where,
            threads=service.threads,
            connection_limit=service.connection_limit,
            channel_timeout=service.channel_timeout,
            asyncore_use_poll=True,
            max_request_header_size=16 * 1024,
            recv_bytes=IO_BYTES,
            send_bytes=IO_BYTES,
            inbuf_overflow=IN_MEMORY,
            outbuf_overflow=IN_MEMORY,
            max_request_body_size=max(limits),
            clear_untrusted_proxy_headers=False,
            ident=None,
        )
    server.channel_class = Channel
    server.handle_error = partial(_handle_error, server.handle_error)
    server.accept = partial(_accept, server.accept)
    return server


@contextmanager
def on_one_cpu(app: App) -> Iterator[None]:
    """Threads that are started within stay on one of our CPUs; neighbours in the mesh on different ones.

    Only one of them runs Python at a time. On two CPUs the interpreter's lock changes its place with every way to the
    database and back, which costs a third of a request.
    """
    name, allowed = app.settings.service_name, os.sched_getaffinity(0)
    if not app.settings.service.one_cpu or name == "helm":  # Helm starts programs, which would stay there too
        yield
        return
    with suppress(OSError):  # a unit may forbid it
        os.sched_setaffinity(0, {sorted(allowed)[list(PORTS).index(name) % len(allowed)]})
    try:
        yield
    finally:
        with suppress(OSError):
            os.sched_setaffinity(0, allowed)


def _accept(usual: Callable[[], Any]) -> Any:
    try:
        return usual()
    except OSError:
        time.sleep(FULL_PAUSE)
        raise


def _handle_error(usual: Callable[[], None]) -> None:
    end_if_exhausted()
    usual()


def serve(app: App) -> int:
    """Run until SIGTERM or SIGINT; then /readyz says 503, running requests finish, and 0 is returned."""
    server = make_server(app)
    starter.tell(keep=server.socket)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    end_with_any_thread()
    probe = prober(app)
    probe.start()
    _settle_memory()
    with on_one_cpu(app):
        threading.Thread(target=server.run, name="waitress", daemon=True).start()
    _log.info("listening", extra={"bind": app.settings.service.bind, "port": app.settings.port})
    starter.tell("READY=1")
    _live(server, probe, stop)
    starter.tell("STOPPING=1")
    probe.draining.set()
    _drain(app, server)
    server.task_dispatcher.shutdown(cancel_pending=False, timeout=1)
    probe.stop()
    _log.info("stopped")
    return 0


def _live(server: Any, probe: Prober, stop: threading.Event) -> None:
    """Wait for `stop`. The sign of life comes from the thread that all connections need: when it hangs, none comes."""
    while not stop.wait(starter.watchdog_seconds()):
        status = f"STATUS={probe.fault() or 'ready'}"
        server.trigger.pull_trigger(partial(starter.tell, "WATCHDOG=1", status))


def _settle_memory() -> None:
    # Hundreds of parsed documents a request make the default collector walk them over and over.
    gc.collect()
    gc.freeze()
    gc.set_threshold(200_000, 20, 50)


def _drain(app: App, server: Any) -> None:
    """Finish what runs while /readyz says 503, then refuse new connections and finish what came meanwhile."""
    begun, until = metrics.of(app).begun, time.monotonic() + app.settings.service.drain_seconds
    told = time.monotonic()
    _wait(lambda: all(start > told for start in list(begun.values())), until)
    server.trigger.pull_trigger(lambda: _stop_listening(server))
    _wait(lambda: not begun, until)


def _stop_listening(server: Any) -> None:
    """Close the door behind everyone who stands in it: whom the kernel let in already would be cut off."""
    before = -1
    while before != len(server.active_channels):
        before = len(server.active_channels)
        server.handle_accept()
    server.del_channel()
    server.socket.close()


def _wait(done: Callable[[], bool], until: float) -> None:
    quiet = 0
    while time.monotonic() < until and quiet < LOOKS:
        quiet = quiet + 1 if done() else 0
        time.sleep(0.05)
