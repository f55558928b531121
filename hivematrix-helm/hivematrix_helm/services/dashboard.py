"""The business at a glance: what the month comes to, what is kept on disk, what it costs and will cost."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from hivematrix_common import clock
from hivematrix_common.clock import instant_text

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain import costs
from hivematrix_helm.domain.measures import GAP, TIERS, unwritten
from hivematrix_helm.services import business
from hivematrix_helm.store import measures as store

AHEAD, PAST = 182, timedelta(days=90)
PARTS = {"database": "Databases", "backups": "Backups", "logs": "Logs", "offsite": "Off-site copies"}
KINDS = {"user": "People", "asset": "Machines", "backup": "Backup", "hours": "Hours", "item": "Items", "tax": "Tax"}


def business_now(settings: HelmSettings) -> dict[str, Any]:
    """As Helm counted it last; members are empty where nothing was counted yet."""
    now = clock.now()
    known = _newest(now)
    parts = {part: int(value) for part, value in known.get("hm_storage_bytes", {}).items()}
    later = _later(parts, now)
    counted = known.get("hm_business_counted_timestamp_seconds", {}).get("")
    return {
        "counted_at": instant_text(datetime.fromtimestamp(counted, now.tzinfo)) if counted else None,
        "bills": {state: int(number) for state, number in known.get("hm_business_bills", {}).items()},
        "revenue": _revenue(known.get("hm_business_revenue", {})),
        "recurring": {name: _money(value) for name, value in known.get("hm_business_recurring_revenue", {}).items()},
        "findings": int(known.get("hm_business_findings", {}).get("", 0)),
        "hours": round(known.get("hm_business_worked_seconds", {}).get("", 0.0) / 3600, 1),
        "storage": [(PARTS[part], parts[part], later.get(part)) for part in PARTS if part in parts],
        "costs": _costs(settings, parts, later),
        "currency": settings.costs.currency,
    }


def _newest(now: datetime) -> dict[str, dict[str, float]]:
    """Metric -> its one label's value, or for revenue `currency/kind` -> the newest number."""
    found: dict[str, dict[str, float]] = {}
    for row in store.newest(now - GAP):
        if row.service == "helm" and row.name.startswith(("hm_business_", "hm_storage_")):
            told = unwritten(row.labels)
            found.setdefault(row.name, {})["/".join(told[name] for name in sorted(told))] = row.value
    return found


def _revenue(known: Mapping[str, float]) -> dict[str, list[tuple[str, Decimal]]]:
    """By currency the kinds in their order."""
    currencies = sorted({name.partition("/")[0] for name in known})
    return {
        currency: [(word, _money(known.get(f"{currency}/{kind}", 0.0))) for kind, word in KINDS.items()]
        for currency in currencies
    }


def _later(parts: Mapping[str, int], now: datetime) -> dict[str, int]:
    """Bytes in half a year, by the line through the days that were measured."""
    found = {}
    for row in store.of_service("helm", "hm_storage_bytes"):
        part = unwritten(row.labels).get("part", "")
        points = store.points(row.id, TIERS[-1], now - PAST, now)
        guess = costs.forecast([(point.at.toordinal(), point.mean) for point in points], AHEAD)
        if guess is not None and part in parts:
            found[part] = int(guess)
    return found


def _costs(
    settings: HelmSettings, parts: Mapping[str, int], later: Mapping[str, int]
) -> list[tuple[str, Decimal, Decimal | None]]:
    """Each part's cost a month, now and in half a year; what is not known then is None."""
    prices = business.prices(settings)
    if prices == costs.Prices():
        return []
    then = costs.monthly(later, prices) if later.keys() >= parts.keys() else {}
    words = {"machine": "Machine", "disk": "Disk", "offsite": "Off-site"}
    return [(words[part], cost, then.get(part)) for part, cost in costs.monthly(parts, prices).items()]


def _money(value: float) -> Decimal:
    return Decimal(str(round(value, 2)))
