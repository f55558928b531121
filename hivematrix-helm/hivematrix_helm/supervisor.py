"""The process that owns a mesh: it starts the embedded PostgreSQL and the four services and keeps them running.

Everything happens in one thread, the one its children are tied to: when it ends, by SIGTERM or by kill -9, so do they.
"""

import logging
import os
import selectors
import signal
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack, closing, suppress
from pathlib import Path
from typing import Any, Protocol

from hivematrix_common import clock
from hivematrix_common.durable import file_lock
from hivematrix_common.logs import JsonFormatter, LogFile
from hivematrix_common.sections import Service

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.domain.unit import State, Unit
from hivematrix_helm.system import database, logfiles, meshfile, probes
from hivematrix_helm.system.control import Listener
from hivematrix_helm.system.database import PostgresProcess
from hivematrix_helm.system.processes import ServiceProcess, identify

TICK = 0.25
GRACE = 25.0  # a service drains for 20
_log = logging.getLogger("hivematrix.mesh")


class Runner(Protocol):
    """How one kind of process is started, looked at and ended."""

    @property
    def pid(self) -> int | None: ...
    def launch(self) -> None: ...
    def exit_code(self) -> int | None: ...
    def terminate(self) -> None: ...
    def kill(self) -> None: ...
    def last_words(self) -> str: ...
    def close_door(self) -> None: ...


class Supervisor:
    """`limits` say how long PostgreSQL's log may become, and how many are kept."""

    def __init__(self, home: Path, runners: dict[str, Runner], limits: Service) -> None:
        self.home, self.runners, self.limits = home, runners, limits
        self.units = dict.fromkeys(runners, Unit())
        self._unwritten = False
        self.stop_asked = threading.Event()
        self._mesh = meshfile.Mesh(identify(os.getpid()), clock.instant_text(clock.now()))

    def run(self) -> None:
        """Supervise until SIGTERM or SIGINT, then end the services, and PostgreSQL after them."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_: self.stop_asked.set())
        self._write()
        listener = Listener(meshfile.run_folder(self.home))
        with closing(listener), selectors.DefaultSelector() as selector:
            selector.register(listener.socket, selectors.EVENT_READ)
            while not self.stop_asked.is_set():
                self.step(time.monotonic())
                self._shorten_log()
                if selector.select(TICK):
                    listener.serve_one(self.answer)
        self.shut_down()

    def step(self, now: float) -> None:
        """Look at every unit once; start what is due, kill what did not end in time."""
        before = dict(self.units)
        for name in self.units:
            self.units[name] = self._advance(name, self.units[name], now)
        if self.units != before or self._unwritten:
            self._write()

    def answer(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Carry out `{"do": "start" | "stop" | "restart", "service": name}` and tell the unit's state afterwards."""
        name, now = asked.get("service"), time.monotonic()
        if name not in SERVICES or name not in self.units:
            return {"error": f"no service {name}"}
        unit, runner = self.units[name], self.runners[name]
        match asked.get("do"):
            case "start":
                after = unit.start(now)
            case "stop":
                after = unit.stop(now, GRACE)
            case "restart":
                after = unit.restart(now, GRACE)
            case other:
                return {"error": f"cannot {other}"}
        _log.info("asked", extra={"unit": name, "do": asked["do"]})
        if after.state is State.STOPPING and unit.state is State.RUNNING:
            runner.terminate()
        self.units[name] = after
        self._write()
        return {"state": after.state.value, "pid": runner.pid}

    def shut_down(self) -> None:
        """Services first, side by side; what they still write finds its database."""
        for names in ([n for n in self.units if n in SERVICES], [n for n in self.units if n not in SERVICES]):
            for name in names:
                was = self.units[name]
                self.units[name] = was.stop(time.monotonic(), GRACE)
                if was.state is State.RUNNING:
                    self.runners[name].terminate()
            while any(self.units[name].state is not State.STOPPED for name in names):
                self.step(time.monotonic())
                time.sleep(0.02)
        _log.info("down")

    def _advance(self, name: str, unit: Unit, now: float) -> Unit:
        runner = self.runners[name]
        if unit.state in {State.RUNNING, State.STOPPING} and (code := runner.exit_code()) is not None:
            unit = unit.exited(now, code, runner.last_words())
            level = logging.INFO if unit.state is State.STOPPED else logging.WARNING
            fields = {"unit": name, "exit_code": code, "state": unit.state.value, "why": unit.why}
            _log.log(level, "ended", extra=fields)
            if not unit.is_back_soon(now):
                runner.close_door()
        if unit.state is State.STOPPING and unit.is_due(now):
            runner.kill()
        if unit.state is State.WAITING and unit.is_due(now):
            runner.launch()
            unit = unit.started(now)
            _log.info("started", extra={"unit": name, "pid": runner.pid})
        return unit

    def _write(self) -> None:
        for name, unit in self.units.items():
            known = {"state": unit.state.value, "restarts": unit.restarts, "failures": unit.failures, "why": unit.why}
            told = self._mesh.units.get(name, {})
            process = meshfile.described(self.runners[name].pid)
            since = told.get("since") if told.get("state") == known["state"] and told["pid"] == process["pid"] else None
            self._mesh.units[name] = known | process | {"since": since or clock.instant_text(clock.now())}
        try:
            meshfile.write(self.home, self._mesh)
            self._unwritten = False
        except OSError as error:  # a full disk ends no service; it is written once there is room
            if not self._unwritten:
                _log.warning("state not written", extra={"reason": str(error)})
            self._unwritten = True

    def _shorten_log(self) -> None:
        with suppress(OSError):
            logfiles.shorten(self.home / "logs" / "postgres.log", self.limits)


class LockedError(Exception):
    """Another process runs this mesh; the text names it."""


def supervise(settings: HelmSettings, on_ready: Callable[[], None] | None = None) -> None:
    """Run this home's mesh until SIGTERM. LockedError when it runs already; PortsTakenError before anything starts."""
    home = settings.home
    with ExitStack() as stack:
        try:
            stack.enter_context(file_lock(meshfile.run_folder(home) / "mesh.lock", wait=False))
        except BlockingIOError:
            raise LockedError(running_already(home)) from None
        meshfile.clear_leftovers(home)
        probes.refuse_taken_ports(_ports(settings))
        _log_to(home / "logs" / "mesh.log", settings.service)
        if on_ready:
            threading.Thread(target=on_ready, daemon=True).start()
        Supervisor(home, runners(settings), settings.service).run()


def _ports(settings: HelmSettings) -> dict[str, int]:
    """Where our processes will listen."""
    ports = {name: probes.port_of(settings.peer_url(name)) for name in SERVICES}
    if settings.postgres.embedded and database.stopped_clean(settings.home):
        ports["PostgreSQL"] = settings.postgres.port
    return ports


def running_already(home: Path) -> str:
    mesh = meshfile.read(home)
    who = f"process {mesh.supervisor.pid} since {mesh.started}" if mesh and mesh.running else "another `up`"
    return f"{home}: the mesh is run by {who} already; see: hivematrix-helm status"


def runners(settings: HelmSettings) -> dict[str, Runner]:
    """PostgreSQL where it is ours, and the services. All start at once: a service waits for what it needs by itself."""
    found: dict[str, Runner] = {name: ServiceProcess(name, settings.home) for name in SERVICES}
    if settings.postgres.embedded:
        cluster = database.embedded(settings.home, settings.postgres.port)
        return {"postgres": PostgresProcess(cluster)} | found
    return found


def _log_to(path: Path, limits: Service) -> None:
    handler = LogFile(path, limits)
    handler.setFormatter(JsonFormatter("mesh"))
    logging.getLogger("hivematrix").addHandler(handler)
    logging.getLogger("hivematrix").setLevel(logging.INFO)
