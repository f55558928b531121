"""The scheduled reading of every service's metrics, their tiers, and what people ask of them."""

import logging
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

from hivematrix_common import clock
from hivematrix_common.clock import instant_text
from hivematrix_common.errors import Problem
from hivematrix_common.tables import Listing, Table
from sqlalchemy import Row

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain import measures, times
from hivematrix_helm.domain.measures import MOST_SERIES, Reading, Scrape
from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.services import unacceptable
from hivematrix_helm.store import measures as store
from hivematrix_helm.store import session
from hivematrix_helm.system import scraping

DAY = timedelta(days=1)
_log = logging.getLogger("hivematrix.helm")


class Meter:
    """Reads all services side by side and keeps what they counted last, to know how much it grew."""

    def __init__(self, settings: HelmSettings) -> None:
        self._settings = settings
        self._last: dict[str, Scrape] = {}
        self._full: set[str] = set()

    def look(self) -> None:
        """One round, and the tiers up to now."""
        now = clock.now()
        with ThreadPoolExecutor(len(SERVICES)) as pool:
            found = list(pool.map(self._read, SERVICES))
        for name, readings in zip(SERVICES, found, strict=True):
            if readings is not None:
                self.take(name, readings, now)
        store.roll(now)
        session().commit()

    def take(self, service: str, readings: list[Reading], at: datetime) -> None:
        """Keep what a service said; the caller commits."""
        seen = measures.gather(readings, at)
        kept = measures.samples(self._last.get(service), seen)
        known, rows = store.numbers(service), []
        for sample in kept:
            number = known.get((sample.name, sample.labels))
            if number is None and len(known) < MOST_SERIES:
                number = known[sample.name, sample.labels] = store.add_series(service, sample)
            if number is None:
                self._tell_full(service, sample.name)
            else:
                rows.append((number, sample.value))
        store.add_samples(at, rows)
        self._last[service] = seen

    def _read(self, name: str) -> list[Reading] | None:
        return scraping.read(self._settings.peer_url(name), self._settings.peer_token(name))

    def _tell_full(self, service: str, name: str) -> None:
        if service not in self._full:
            self._full.add(service)
            _log.warning("too many series", extra={"unit": service, "series": name, "most": MOST_SERIES})


def listing(table: Table) -> Listing:
    """Every series with its newest sample, as the address asks for them."""
    return table.of_query(session(), store.listed())


def span(since: str, until: str) -> tuple[datetime, datetime]:
    """From when to when, by instants or spans ago; the last 24 hours when nothing is said."""
    now = clock.now()
    try:
        end = times.before(until, now) if until else now
        begin = times.before(since, now) if since else end - DAY
    except ValueError as error:
        raise unacceptable("from", str(error)) from None
    if begin >= end:
        raise unacceptable("from", "expected a time before the end")
    return begin, end


def answer(service: str, name: str, since: str, until: str) -> dict[str, Any]:
    """The series of a service that bear a name, in the tier that fits the span."""
    if service not in SERVICES:
        raise Problem("not_found", f"There is no service {service}; there are {', '.join(SERVICES)}.")
    begin, end = span(since, until)
    tier = measures.tier_for(end - begin)
    found = [drawn(row, begin, end) for row in store.of_service(service, name)]
    return {"service": service, "metric_name": name, "step_seconds": tier.step if tier else 0, "series": found}


def names(service: str) -> list[str]:
    """What is kept of a service."""
    if service not in SERVICES:
        raise Problem("not_found", f"There is no service {service}; there are {', '.join(SERVICES)}.")
    return sorted({name for name, _ in store.numbers(service)})


def drawn(row: Row[Any], begin: datetime, end: datetime) -> dict[str, Any]:
    """One series with its points."""
    points = store.points(row.id, measures.tier_for(end - begin), begin, end)
    return {
        "id": row.id,
        "service": row.service,
        "name": row.name,
        "labels": row.labels,
        "kind": row.kind,
        "points": [
            {"at": instant_text(one.at), "mean": one.mean, "min": one.low, "max": one.high, "count": one.n}
            for one in points
        ],
    }


def one(number: int, since: str, until: str) -> dict[str, Any]:
    """A series by its number; Problem(not_found)."""
    row = store.one(number)
    if row is None:
        raise Problem("not_found", f"There is no series {number}.")
    begin, end = span(since, until)
    tier = measures.tier_for(end - begin)
    ends = {"from": instant_text(begin), "to": instant_text(end), "step_seconds": tier.step if tier else 0}
    return drawn(row, begin, end) | ends


def slots(found: dict[str, Any], interval: int) -> list[float | None]:
    """A series' means at even distances, with None where nothing was measured, as `ui.series` draws them."""
    step = found["step_seconds"] or interval
    begin, end = clock.parse_instant(found["from"]), clock.parse_instant(found["to"])
    means: list[float | None] = [None] * max(1, int((end - begin).total_seconds() // step) + 1)
    for point in found["points"]:
        means[int((clock.parse_instant(point["at"]) - begin).total_seconds() // step)] = point["mean"]
    return means
