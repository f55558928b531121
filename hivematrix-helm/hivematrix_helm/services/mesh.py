"""What runs, and starting and stopping it."""

import contextlib
import logging
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psutil
from hivematrix_common import logs
from hivematrix_common.errors import Problem, first_line
from sqlalchemy.exc import SQLAlchemyError

from hivematrix_helm import store
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain.mesh import DESCRIPTIONS, SERVICES
from hivematrix_helm.system import control, meshfile, probes, systemd

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
    started_by, units = _started_by(settings)
    with ThreadPoolExecutor(len(SERVICES)) as pool:
        found = list(pool.map(lambda name: _status(settings, name, units.get(name)), SERVICES))
    told = {"supervised": started_by == "helm", "started_by": started_by}
    return told | {"postgres": _postgres(settings, units.get("postgres")), "services": found}


def status(settings: HelmSettings, name: str) -> dict[str, Any]:
    _check(name)
    return _status(settings, name, _started_by(settings)[1].get(name))


def _started_by(settings: HelmSettings) -> tuple[str, dict[str, Any]]:
    """Who starts and watches the services, and what it says of each: this home's supervisor, or systemd."""
    mesh = meshfile.read(settings.home)
    if mesh and mesh.running:
        return "helm", mesh.units
    units = systemd.units(settings.home)
    return "systemd" if units else "nobody", units


def operate(settings: HelmSettings, action: str, name: str, caller: str) -> dict[str, Any]:
    """Have a service started, stopped or restarted by who does that here; answers before it has done so."""
    _check(name)
    try:
        pid = _order(settings, action, name)
    except control.NoSupervisorError as error:
        detail = "No supervisor runs here; services are started by `hivematrix-helm up` or by systemd."
        raise Problem("peer_unavailable", detail) from error
    except systemd.SystemdError as error:
        detail = f"systemd does not do it: {error} What lets Helm order it is the file systemd/50-hivematrix.rules."
        raise Problem("peer_unavailable", detail) from error
    _log.info("operated", extra={"operation": action, "unit": name, "caller": caller})
    # A database that is down must not keep anyone from restarting a service: the log above has it in any case.
    try:
        store.add_operation(caller, name, action, logs.trace_id())
        store.session().commit()
    except SQLAlchemyError as error:
        store.session().rollback()
        _log.warning("operation not recorded", extra={"reason": first_line(error)})
    return {"success": True, "message": f"{name} is {ACTIONS[action]}", "pid": pid}


def _order(settings: HelmSettings, action: str, name: str) -> int | None:
    """The process of the service as it was when the order was taken."""
    started_by, units = _started_by(settings)
    if started_by == "systemd" and name in units:
        systemd.order(action, name)
        found: int | None = units[name]["pid"]
        return found
    answer = control.ask(meshfile.run_folder(settings.home), {"do": action, "service": name})
    if "error" in answer:
        raise Problem("conflict", f"The supervisor refuses: {answer['error']}.")
    return int(answer["pid"]) if answer["pid"] else None


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
