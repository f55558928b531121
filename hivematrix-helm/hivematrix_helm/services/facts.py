"""What the alert rules look at: states of services, backup, log, timers, tokens and disk, and what was measured."""

import logging
import shutil
from collections.abc import Callable
from datetime import datetime, timedelta

from hivematrix_common import clock
from sqlalchemy.exc import SQLAlchemyError

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain import timers as timing
from hivematrix_helm.domain import watching
from hivematrix_helm.domain.measures import GAP, unwritten
from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.domain.rules import Fact, labels
from hivematrix_helm.domain.timers import TIMERS
from hivematrix_helm.domain.watching import State
from hivematrix_helm.services import proofs, timers, tokens, witness
from hivematrix_helm.store import health, measures
from hivematrix_helm.system import meshfile

_log = logging.getLogger("hivematrix.alerts")


def gather(settings: HelmSettings, now: datetime) -> list[Fact]:
    """Everything there is to look at now. A part that cannot be looked at is a fact too, and keeps no other away."""
    found: list[Fact] = []
    for name, look in _PARTS.items():
        try:
            found += look(settings, now)
            found.append(Fact("look_state", labels(part=name), "good"))
        except SQLAlchemyError:
            raise
        except Exception as error:  # noqa: BLE001 - whatever it is, the other parts are looked at
            _log.exception("not looked at", extra={"part": name})
            found.append(Fact("look_state", labels(part=name), "failed", f"{type(error).__name__}: {error}"))
    return found


def _services(settings: HelmSettings, now: datetime) -> list[Fact]:
    """A service that was stopped by hand is not told to be down."""
    standing, stopped = health.standing(), _stopped(settings)
    interval = timedelta(seconds=settings.health.interval_seconds)
    reasons = {row.service: row.reason for row in health.incidents_since(now) if row.ended_at is None}
    found = []
    for name in SERVICES if settings.health.enabled else ():
        row = standing.get(name)
        state = watching.now_state(health.as_watched(row), now, interval)
        value = "stopped" if name in stopped else None if state is State.UNKNOWN else state.value
        told = reasons.get(name) or (row.fault if row else "never probed")
        found.append(Fact("service_state", labels(service=name), value, told))
    return found


def _stopped(settings: HelmSettings) -> set[str]:
    mesh = meshfile.read(settings.home)
    units = mesh.units if mesh and mesh.running else {}
    return {name for name, unit in units.items() if unit.get("state") == "stopped"}


def _disk(settings: HelmSettings, _now: datetime) -> list[Fact]:
    disk = shutil.disk_usage(settings.home)
    told = f"{disk.used / 2**30:.1f} of {disk.total / 2**30:.1f} GiB used, {disk.free / 2**30:.1f} free"
    return [Fact("disk_used_ratio", (), 1 - disk.free / disk.total, told)]


def _held(settings: HelmSettings, _now: datetime) -> list[Fact]:
    """The backup and the archive's log, as they were looked at last."""
    found = []
    backup = proofs.found()
    if backup:
        found.append(Fact("backup_state", (), backup.state, backup.detail))
    if settings.witness.enabled:
        log = witness.found()
        found.append(Fact("witness_state", (), log[0], log[1]))
    return found


def _timers(settings: HelmSettings, now: datetime) -> list[Fact]:
    found = []
    for name, run in timers.awaited(settings, now).items():
        timer, of = TIMERS[name], labels(timer=TIMERS[name].title)
        last = f"last done {run.succeeded_at:%Y-%m-%d %H:%M} UTC" if run.succeeded_at else "never done"
        told = f"{last}; expected every {_hours(timer.period)} within {_hours(timer.grace)}"
        found.append(Fact("timer_overdue_seconds", of, timing.overdue(timer, run, now), told))
        found.append(Fact("timer_outcome", of, run.outcome.value, run.said[-200:]))
    return found


def _tokens(settings: HelmSettings, now: datetime) -> list[Fact]:
    found = []
    for row in tokens.issued(settings.home):
        if row["expires"] and not row["replaced_by"]:
            ends = clock.parse_instant(row["expires"])
            days = (ends - now).total_seconds() / 86400
            of = labels(caller=row["caller"], token=row["id"])
            if ends > now:
                found.append(Fact("token_days_left", of, days, f"it ends {ends:%Y-%m-%d %H:%M} UTC"))
    return found


def _measured(_settings: HelmSettings, now: datetime) -> list[Fact]:
    """A metric that names a service itself is about that one, whoever counts it."""
    rows = measures.newest(now - GAP)
    return [Fact(row.name, labels(**{"service": row.service} | unwritten(row.labels)), row.value) for row in rows]


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:g} h"


_PARTS: dict[str, Callable[[HelmSettings, datetime], list[Fact]]] = {
    "services": _services,
    "disk": _disk,
    "backup and log": _held,
    "timers": _timers,
    "tokens": _tokens,
    "metrics": _measured,
}
