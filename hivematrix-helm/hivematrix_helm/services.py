"""Helm's use cases: what runs, start and stop it, what it wrote, who may call."""

import contextlib
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
from hivematrix_common import clock, logs, tokens
from hivematrix_common.config import conf_path
from hivematrix_common.errors import FieldError, Problem, first_line
from sqlalchemy.exc import SQLAlchemyError

from hivematrix_helm import store
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain.loglines import Entry, Filter
from hivematrix_helm.domain.mesh import DESCRIPTIONS, SERVICES, services_of
from hivematrix_helm.domain.times import before
from hivematrix_helm.system import control, logfiles, meshfile, probes
from hivematrix_helm.system.confs import registrations

ACTIONS = {"start": "starting", "stop": "stopping", "restart": "restarting"}
_log = logging.getLogger("hivematrix.helm")


def listed(settings: HelmSettings) -> list[dict[str, Any]]:
    return [
        {"name": name, "url": url, "port": probes.port_of(url), "description": DESCRIPTIONS[name]}
        for name in SERVICES
        for url in [settings.peer_url(name)]
    ]


def statuses(settings: HelmSettings) -> dict[str, Any]:
    """Every service's process and readiness, asked side by side."""
    mesh = meshfile.read(settings.home)
    running = mesh is not None and mesh.running
    units = mesh.units if mesh and running else {}
    with ThreadPoolExecutor(len(SERVICES)) as pool:
        found = list(pool.map(lambda name: _status(settings, name, units.get(name)), SERVICES))
    return {"supervised": running, "postgres": _postgres(settings, units.get("postgres")), "services": found}


def status(settings: HelmSettings, name: str) -> dict[str, Any]:
    _check(name)
    mesh = meshfile.read(settings.home)
    return _status(settings, name, mesh.units.get(name) if mesh and mesh.running else None)


def operate(settings: HelmSettings, action: str, name: str, caller: str) -> dict[str, Any]:
    """Have the supervisor start, stop or restart a service; it answers before the service has done so."""
    _check(name)
    try:
        answer = control.ask(meshfile.run_folder(settings.home), {"do": action, "service": name})
    except control.NoSupervisorError as error:
        detail = "No supervisor runs here; services are started by `hivematrix-helm up` or by systemd."
        raise Problem("peer_unavailable", detail) from error
    if "error" in answer:
        raise Problem("conflict", f"The supervisor refuses: {answer['error']}.")
    _log.info("operated", extra={"operation": action, "unit": name, "caller": caller})
    # A database that is down must not keep anyone from restarting a service: the log above has it in any case.
    try:
        store.add_operation(caller, name, action, logs.trace_id())
        store.session().commit()
    except SQLAlchemyError as error:
        store.session().rollback()
        _log.warning("operation not recorded", extra={"reason": first_line(error)})
    return {"success": True, "message": f"{name} is {ACTIONS[action]}", "pid": answer["pid"]}


def log_filter(level: str, trace_id: str | None, since: str | None) -> Filter:
    try:
        return Filter(level, trace_id, before(since, clock.now()) if since else None)
    except ValueError as error:
        raise _unacceptable("since", str(error)) from None


def log_names(home: Path, service: str | None) -> list[str]:
    """The logs to read: one, or all there are."""
    known = logfiles.services(home)
    if service and service not in {*known, *SERVICES}:
        raise Problem("not_found", f"There is no log of {service}; there are {', '.join(known)}.")
    return [service] if service else known


def log_entries(home: Path, service: str | None, wanted: Filter, limit: int) -> list[Entry]:
    """The newest entries that fit, oldest first."""
    return logfiles.last(home, logfiles.ends(home, log_names(home, service)), wanted, limit)


def issue_token(home: Path, name: str, scopes: Sequence[str], expires: datetime | None) -> str:
    """A new token, live within two seconds with every service its scopes name; Problem says what is not acceptable."""
    if name in SERVICES:
        raise _unacceptable("name", f"{name} is a service; `hivematrix-helm init` gives services their tokens")
    if not tokens.CALLER.fullmatch(name):
        raise _unacceptable("name", f"expected small letters, digits and hyphens, got {name!r}")
    if unknown := sorted(set(scopes) - set(tokens.SCOPES)):
        raise _unacceptable("scope", f"unknown {', '.join(unknown)}; known are {', '.join(tokens.SCOPES)}")
    if expires and expires <= clock.now():
        raise _unacceptable("expires", f"{clock.instant_text(expires)} is past")
    wanted = services_of(tuple(scopes))
    token = tokens.generate(name)
    for service, its in wanted.items():
        tokens.register(conf_path(home, service), token, name, its, expires)
    return token


def issued_tokens(home: Path) -> list[dict[str, Any]]:
    """Every token that a service knows, the services' own included, by caller; digests are not shown."""
    found: dict[str, dict[str, Any]] = {}
    for service in SERVICES:
        for entry in registrations(home, service):
            new = {"id": entry.id, "caller": entry.caller, "scopes": [], "services": []}
            row = found.setdefault(entry.id, new)
            row["services"].append(service)
            row["scopes"] += sorted(entry.scopes)
            row |= {"created": _text(entry.created), "expires": _text(entry.expires)}
    return sorted(found.values(), key=lambda row: (row["caller"], row["created"] or ""))


def revoke_tokens(home: Path, name_or_id: str) -> list[str]:
    """Unregister everywhere; the ids that are gone. A service's name revokes nothing, its token's id does."""
    gone = set()
    for service in SERVICES:
        for entry in registrations(home, service):
            named = entry.caller == name_or_id and name_or_id not in SERVICES
            if (named or entry.id == name_or_id) and tokens.unregister(conf_path(home, service), entry.id):
                gone.add(entry.id)
    return sorted(gone)


def _status(settings: HelmSettings, name: str, unit: dict[str, Any] | None) -> dict[str, Any]:
    url = settings.peer_url(name)
    fault = probes.fault(url)
    answers = not fault.startswith("does not answer")
    unit = unit or {"state": "running" if answers else "unknown"}
    health = "healthy" if not fault else "unready" if answers else "unreachable"
    return {
        "service_name": name,
        "configured_port": probes.port_of(url),
        "configured_url": url,
        "status": unit["state"],
        "pid": unit.get("pid"),
        "started_at": unit.get("since") if unit["state"] == "running" else None,
        "memory_mb": _memory(unit.get("pid")),
        "restarts": unit.get("restarts", 0),
        "health": health,
        "health_message": fault or None,
        "why": unit.get("why") or None,
    }


def _postgres(settings: HelmSettings, unit: dict[str, Any] | None) -> dict[str, Any] | None:
    """The embedded server's process; None where another server is used."""
    if not settings.postgres.embedded:
        return None
    unit = unit or {"state": "unknown"}
    told = {"status": unit["state"], "pid": unit.get("pid"), "port": settings.postgres.port}
    return told | {"restarts": unit.get("restarts", 0), "why": unit.get("why") or None}


def _memory(pid: int | None) -> float | None:
    with contextlib.suppress(psutil.Error):
        return round(psutil.Process(pid).memory_info().rss / 2**20, 1) if pid else None
    return None


def _check(name: str) -> None:
    if name not in SERVICES:
        raise Problem("not_found", f"There is no service {name}; there are {', '.join(SERVICES)}.")


def _unacceptable(field: str, message: str) -> Problem:
    return Problem("invalid", f"{field}: {message}", fields=[FieldError(field, message)])


def _text(at: datetime | None) -> str | None:
    return clock.instant_text(at) if at else None
