"""How each service is and was, for those who run it."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from hivematrix_common import clock
from hivematrix_common.clock import instant_text
from sqlalchemy import Row

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain import status, watching
from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.domain.status import BARS, Day, Minutes, Planned
from hivematrix_helm.services.status import minutes_by_day
from hivematrix_helm.store import health as store

STRETCH = 15  # minutes
_NEVER: dict[str, Any] = {
    "since": None,
    "looked_at": None,
    "ms": None,
    "fault": "",
    "version": None,
    "uptime_s": None,
    "details": {},
}


def summaries(settings: HelmSettings) -> list[dict[str, Any]]:
    """Every service's state now and its 90 days in figures."""
    now, standing = clock.now(), store.standing()
    known = minutes_by_day((now - timedelta(days=BARS - 1)).date())
    return [_summary(settings, name, standing.get(name), known[name].values(), now) for name in SERVICES]


def _summary(settings: HelmSettings, name: str, row: Row[Any] | None, days: Any, now: datetime) -> dict[str, Any]:
    minutes: list[Minutes] = list(days)
    interval = timedelta(seconds=settings.health.interval_seconds)
    share = status.uptime(minutes)
    told = {
        "service": name,
        "state": watching.now_state(store.as_watched(row), now, interval),
        "uptime_90_days": str(share) if share is not None else None,
        "uptime_words": status.percent(share),
        "measured_minutes": sum(one.measured for one in minutes),
    }
    return told | (_NEVER if row is None else _seen(row))


def _seen(row: Row[Any]) -> dict[str, Any]:
    return {
        "since": instant_text(row.since),
        "looked_at": instant_text(row.looked_at),
        "ms": round(row.ms, 1),
        "fault": row.fault,
        "version": row.details.get("version"),
        "uptime_s": row.details.get("uptime_s"),
        "details": row.details.get("checks") or {},
    }


def bars(name: str) -> list[Day]:
    """A service's last 90 days."""
    now = clock.now()
    first = (now - timedelta(days=BARS - 1)).date()
    begin = datetime.combine(first, datetime.min.time(), now.tzinfo)
    plans = [Planned(row.begins_at, row.ends_at, tuple(row.services)) for row in store.planned_since(begin)]
    return status.bars(name, minutes_by_day(first)[name], plans, now.date())


def pace(name: str) -> list[tuple[datetime, Decimal | None]]:
    """The mean answer time of each quarter of an hour of the last day; None where nothing was measured."""
    until = clock.now().replace(second=0, microsecond=0)
    since = until - timedelta(days=1)
    known = {at: Decimal(str(round(ms, 1))) for at, ms in store.pace(name, since, STRETCH).items()}
    steps = (since + timedelta(minutes=STRETCH * place) for place in range(24 * 60 // STRETCH))
    return [(at, known.get(at)) for at in steps]
