"""The business among Helm's metrics: bills and revenue of the month, hours, storage and what it costs."""

import logging
from decimal import Decimal
from pathlib import Path
from typing import Any

from hivematrix_common import clock
from hivematrix_common.errors import Problem
from hivematrix_common.peers import PeerClient
from prometheus_client import CollectorRegistry, Gauge

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain import costs
from hivematrix_helm.system.sets import Sets

PAGE = 250
KINDS = ("user", "asset", "backup", "hours", "item", "tax")
_log = logging.getLogger("hivematrix.helm")


class Gauges:
    """Named after Prometheus' rules: base units, `_ratio`, no abbreviations; amounts bear their currency as a label."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(name, text, labels, registry=registry)

        self.bills = gauge("hm_business_bills", "This month's companies by how their bill stands", "state")
        self.revenue = gauge("hm_business_revenue", "What this month's bills come to so far", "kind", "currency")
        self.recurring = gauge("hm_business_recurring_revenue", "What of it comes again each month", "currency")
        self.findings = gauge("hm_business_findings", "Open findings on this month's bills")
        self.hours = gauge("hm_business_worked_seconds", "Billable time worked this year, to the month's end")
        self.storage = gauge("hm_storage_bytes", "What the mesh keeps on disk", "part")
        self.cost = gauge("hm_storage_monthly_cost", "What it costs a month, by [costs]", "part", "currency")
        self.counted = gauge("hm_business_counted_timestamp_seconds", "When the month was counted last")


def count(settings: HelmSettings, gauges: Gauges) -> None:
    """Ask Ledger what the month comes to, and look at what lies on disk. What is not answered stays as it was."""
    _weigh(settings.current(), gauges)
    ledger, now = PeerClient(settings, "ledger", tries=1), clock.now().astimezone(settings.billing.timezone)
    try:
        board = ledger.get_json(f"/api/months/{now:%Y-%m}")
        hours = _hours(ledger, now.year, now.month)
    except (Problem, KeyError, TypeError, ValueError) as error:
        _log.warning("the month was not counted", extra={"reason": str(error)})
        return
    _set(gauges, board)
    gauges.hours.set(float(hours) * 3600)
    gauges.counted.set(clock.now().timestamp())


def _set(gauges: Gauges, board: dict[str, Any]) -> None:
    for state, number in board["states"].items():
        gauges.bills.labels(state).set(number)
    for total in board["totals"]:
        for kind in KINDS:
            gauges.revenue.labels(kind, total["currency"]).set(float(total[kind]))
        gauges.recurring.labels(total["currency"]).set(float(total["mrr"]))
    gauges.findings.set(sum(row["findings"] for row in board["companies"]))


def _hours(ledger: PeerClient, year: int, month: int) -> Decimal:
    whole, cursor = Decimal(0), ""
    while True:
        asked = {"year": year, "month": month, "limit": PAGE} | ({"cursor": cursor} if cursor else {})
        page = ledger.get_json("/api/billing/dashboard", asked)
        whole += sum((Decimal(row["hours"]) for row in page["companies"]), Decimal(0))
        if not (cursor := page["next"] or ""):
            return whole


def _weigh(settings: HelmSettings, gauges: Gauges) -> None:
    parts = stored(settings)
    for part, size in parts.items():
        gauges.storage.labels(part).set(size)
    for part, cost in costs.monthly(parts, prices(settings)).items():
        gauges.cost.labels(part, settings.costs.currency).set(float(cost))


def stored(settings: HelmSettings) -> dict[str, int]:
    """Bytes on disk: the embedded databases, logs, backup sets, and as much again where sets are off-site."""
    place = Sets.of(settings)
    backups = _size(place.folder)
    return {
        "database": _size(settings.home / "postgres"),
        "logs": _size(settings.home / "logs"),
        "backups": backups,
        "offsite": backups if settings.offsite.copy else 0,
    }


def prices(settings: HelmSettings) -> costs.Prices:
    told = settings.costs
    return costs.Prices(Decimal(told.machine), Decimal(told.disk_gb), Decimal(told.offsite_gb))


def _size(folder: Path) -> int:
    """What vanishes while it is counted weighs nothing."""
    total = 0
    for path in folder.rglob("*"):
        try:
            total += path.lstat().st_size if path.is_file() and not path.is_symlink() else 0
        except OSError:
            continue
    return total
