"""What the overview shows of alerts and of how busy the services are."""

from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any

from hivematrix_common import clock

from hivematrix_helm.domain.measures import GAP
from hivematrix_helm.store import measures as store

DAY, STEP = timedelta(days=1), 300
REQUESTS, SECONDS = "hm_requests_total", "hm_request_seconds_p95"
# The state of an alert: its shape; of what fires its severity says it.
SHAPES = {"acknowledged": "wait", "pending": "wait", "resolved": "ok", "critical": "bad", "warning": "warn"}


@dataclass(frozen=True, slots=True)
class Pace:
    """A service's requests a second and its 95th percentile in ms, now and in the last 24 hours."""

    requests: float | None = None
    p95: float | None = None
    day: tuple[Decimal, ...] = ()


def shape(row: dict[str, Any]) -> str:
    """How an alert is drawn: what is not known is never drawn like what is."""
    if row["kind"] != "value" and row["state"] == "firing":
        return "unknown"
    return SHAPES.get(row["state"]) or SHAPES.get(row["severity"], "busy")


def paces() -> dict[str, Pace]:
    """By service, from what was measured; what was not is None."""
    now = clock.now()
    requests: dict[str, float] = {}
    latest: dict[str, float] = {}
    for row in store.newest(now - GAP):
        if row.name == REQUESTS:
            requests[row.service] = requests.get(row.service, 0.0) + row.value
        elif row.name == SECONDS:
            latest[row.service] = row.value * 1000
    days = {
        row.service: tuple(
            Decimal(str(round(point.mean * 1000, 1))) for point in store.stretches(row.id, STEP, now - DAY)
        )
        for row in store.named(SECONDS)
    }
    names = requests.keys() | latest.keys() | days.keys()
    return {name: Pace(requests.get(name), latest.get(name), days.get(name, ())) for name in names}
