"""/health, /livez, /readyz: answered from what a background probe saw last; a hung database hangs none."""

import logging
import threading
import time
from dataclasses import dataclass, field
from typing import Any

import psycopg2
import requests
from flask import Flask, Response, current_app, request
from sqlalchemy.engine import make_url

from hivematrix_common import auth, clock, disk, migrations
from hivematrix_common.config import Settings
from hivematrix_common.errors import first_line
from hivematrix_common.schemas import Health
from hivematrix_common.version import VERSION
from hivematrix_common.web import Api, App, json_answer

PROBE_SECONDS = 2.0
STALE_SECONDS = 8.0
_REVISION = "SELECT version_num FROM migrations.alembic_version"
_log = logging.getLogger("hivematrix.health")
api = Api("health", __name__)


@dataclass(frozen=True, slots=True)
class Check:
    """What a probe saw: an empty `fault` is a pass."""

    fault: str
    seconds: float = 0.0
    at: float = field(default_factory=time.monotonic)


class Prober(threading.Thread):
    """Looks at database and schema every two seconds, and at the peers more rarely."""

    def __init__(self, settings: Settings, peers: tuple[str, ...]) -> None:
        super().__init__(name="health-probe", daemon=True)
        self.settings, self.peers = settings, peers
        self.head = ""
        self.draining = threading.Event()
        self.started_at = clock.now()
        self.database = Check("not looked at yet")
        self.peer_checks: dict[str, Check] = {}
        self._stop = threading.Event()

    def run(self) -> None:
        while not self._stop.is_set():
            self.look()
            self._stop.wait(PROBE_SECONDS)

    def stop(self) -> None:
        self._stop.set()

    def look(self) -> None:
        """One round of probes; a failure is a finding, never an exception."""
        self.head = self.head or migrations.head(f"hivematrix_{self.settings.service_name}")
        began = time.monotonic()
        fault = self._database_fault()
        if fault != self.database.fault:
            _log.log(logging.WARNING if fault else logging.INFO, "database", extra={"fault": fault or None})
        self.database = Check(fault, time.monotonic() - began)
        for peer in self.peers:
            began = time.monotonic()
            self.peer_checks[peer] = Check(self._peer_fault(peer), time.monotonic() - began)

    def fault(self) -> str:
        """Why the service is not ready; empty when it is."""
        if time.monotonic() - self.database.at > STALE_SECONDS:
            return f"the database has not answered for {STALE_SECONDS:.0f} seconds"
        return self.database.fault

    def _database_fault(self) -> str:
        url = make_url(self.settings.database.sqlalchemy_url).set(drivername="postgresql")
        options = "-c statement_timeout=2000"
        try:
            connection = psycopg2.connect(
                url.render_as_string(hide_password=False), connect_timeout=2, options=options, application_name="probe"
            )
        except psycopg2.OperationalError as error:
            return f"database: {first_line(error)}"
        try:
            with connection.cursor() as cursor:
                cursor.execute(_REVISION)
                row = cursor.fetchone()
        except psycopg2.errors.UndefinedTable:
            return "schema: the database was never migrated; run init_db.py"
        except psycopg2.Error as error:
            return f"database: {first_line(error)}"
        finally:
            connection.close()
        found = row[0] if row else "nothing"
        return "" if found == self.head else f"schema: at {found}, this release needs {self.head}; run init_db.py"

    def _peer_fault(self, peer: str) -> str:
        try:
            answer = requests.get(f"{self.settings.peer_url(peer)}/livez", timeout=1, allow_redirects=False)
        except requests.RequestException as error:
            return f"{peer}: {type(error).__name__}"
        return "" if answer.ok else f"{peer}: answered {answer.status_code}"


def init_health(app: App, peers: tuple[str, ...] = ()) -> None:
    """Add the three routes. The probe runs once `start_probe` is called: making an app touches nothing."""
    app.extensions["hivematrix_prober"] = Prober(app.settings, peers)
    app.register_api(api)


def prober(app: Flask) -> Prober:
    found: Prober = app.extensions["hivematrix_prober"]
    return found


@api.get("/health", scope=None, responses={200: Health, 503: Health}, summary="Whether database and schema are fine")
def health() -> Response:
    found = prober(current_app)
    fault = found.fault()
    body: dict[str, Any] = {"status": "fail" if fault else "ok", "service": found.settings.service_name}
    if request.args.get("verbose") == "1" and auth.is_local_or_known():
        body |= _details(found, fault)
    return json_answer(body, 503 if fault else 200)


@api.get("/livez", scope=None, responses={200: Health}, summary="Whether the process answers")
def livez() -> Response:
    return json_answer({"status": "ok", "service": prober(current_app).settings.service_name})


@api.get("/readyz", scope=None, responses={200: Health, 503: Health}, summary="Whether requests may be sent here")
def readyz() -> Response:
    found = prober(current_app)
    fault = "draining" if found.draining.is_set() else found.fault()
    body = {"status": "fail" if fault else "ok", "service": found.settings.service_name}
    if fault and auth.is_local_or_known():
        body["reason"] = fault
    return json_answer(body, 503 if fault else 200)


def _details(found: Prober, fault: str) -> dict[str, Any]:
    checks = {"database:connection": [_check(fault, found.database.seconds, "datastore")]}
    checks["disk:free"] = [_disk_check(room) for room in disk.rooms(found.settings.home, found.settings.service)]
    for peer, seen in found.peer_checks.items():
        checks[f"{peer}:responseTime"] = [_check(seen.fault, seen.seconds, "component")]
    uptime = int((clock.now() - found.started_at).total_seconds())
    return {"version": VERSION, "uptime_s": uptime, "checks": checks}


def _disk_check(room: disk.Room) -> dict[str, Any]:
    seen = {
        "componentId": str(room.folder),
        "componentType": "system",
        "observedValue": room.free,
        "observedUnit": "bytes",
        "status": room.status,
        "time": clock.instant_text(clock.now()),
    }
    return seen | ({"output": room.fault} if room.fault else {})


def _check(fault: str, seconds: float, kind: str) -> dict[str, Any]:
    seen = {
        "componentType": kind,
        "observedValue": round(seconds * 1000, 1),
        "observedUnit": "ms",
        "status": "fail" if fault else "pass",
        "time": clock.instant_text(clock.now()),
    }
    return seen | ({"output": fault} if fault else {})
