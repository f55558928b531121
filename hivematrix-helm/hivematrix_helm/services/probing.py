"""The scheduled look at every service: its minutes, its bars, and the incidents that follow."""

import logging
import shutil
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from hivematrix_common import clock
from prometheus_client import CollectorRegistry, Gauge

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain import watching
from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.domain.watching import Probe
from hivematrix_helm.store import health as store
from hivematrix_helm.store import session
from hivematrix_helm.system import answers

MINUTES_KEPT, DAYS_KEPT = timedelta(days=14), timedelta(days=365)
# What was seen while the database was away is written down when it is back; a day of it at most.
HELD = 25_000
_log = logging.getLogger("hivematrix.helm")
Look = tuple[Probe, dict[str, Any]]


class Gauges:
    """How the services and the disk are, among Helm's metrics."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        self._up = gauge("hm_service_up", "1: ready at the last probe", "service")
        self._answer = gauge("hm_service_answer_seconds", "How long the last probe took", "service")
        self._free = gauge("hm_disk_free_bytes", "Free on the disk of HIVEMATRIX_HOME")
        self._size = gauge("hm_disk_size_bytes", "Size of the disk of HIVEMATRIX_HOME")

    def set(self, looks: Sequence[Look], home: Path) -> None:
        for probe, _ in looks:
            self._up.labels(probe.service).set(not probe.fault)
            self._answer.labels(probe.service).set(probe.ms / 1000)
        disk = shutil.disk_usage(home)
        self._free.set(disk.free)
        self._size.set(disk.total)


class Watch:
    """Probes all services side by side. What cannot be written down now is kept for the next time."""

    def __init__(self, settings: HelmSettings, gauges: Gauges) -> None:
        self._settings, self._gauges = settings, gauges
        self._held: deque[Look] = deque(maxlen=HELD)

    def look(self) -> None:
        """One round. An SQLAlchemyError means that its probes wait for the database."""
        found = _seen(self._settings, clock.now())
        self._held.extend(found)
        self._gauges.set(found, self._settings.home)
        record(list(self._held), self._settings.health.slow_ms)
        self._held.clear()


def _seen(settings: HelmSettings, at: datetime) -> list[Look]:
    def ask(name: str) -> Look:
        seen = answers.ask(settings.peer_url(name), settings.peer_token(name))
        return Probe(name, at, seen.ms, seen.fault), seen.details

    with ThreadPoolExecutor(len(SERVICES)) as pool:
        return list(pool.map(ask, SERVICES))


def record(looks: Sequence[Look], slow_ms: float) -> None:
    """Write down what probes saw, oldest first, all of it or nothing."""
    standing = {name: store.as_watched(row) for name, row in store.standing().items()}
    newest: dict[str, Look] = {}
    for probe, details in looks:
        store.add_probe(probe, slow_ms)
        before = standing.get(probe.service)
        after = standing[probe.service] = watching.follow(before, probe, slow_ms)
        newest[probe.service] = probe, details
        _tell_turn(probe.service, before, after)
    for service, (probe, details) in newest.items():
        found = standing[service]
        assert found
        store.keep(service, found, probe.ms, details)
    _tidy(min(probe.at for probe, _ in looks), clock.now())
    session().commit()


def _tell_turn(service: str, before: watching.Watched | None, after: watching.Watched) -> None:
    if watching.is_down(before) == watching.is_down(after):
        return
    if watching.is_down(after):
        store.open_incident(service, after.since, after.fault)
        _log.warning("a service is down", extra={"unit": service, "reason": after.fault})
    else:
        store.close_incident(service, after.streak_since)
        _log.info("a service is up again", extra={"unit": service})


def _tidy(oldest: datetime, now: datetime) -> None:
    """The bars of the days that were written to, and the end of what is old."""
    store.roll((oldest - timedelta(minutes=5)).date())
    store.prune(now - MINUTES_KEPT, (now - DAYS_KEPT).date())
