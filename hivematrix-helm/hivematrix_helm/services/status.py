"""The status page's document: what everybody may know, in words that say nothing of the inside."""

import threading
from collections import defaultdict
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Any

from hivematrix_common import clock
from hivematrix_common.clock import instant_text
from sqlalchemy import Row
from sqlalchemy.exc import SQLAlchemyError

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain import status as domain
from hivematrix_helm.domain import watching
from hivematrix_helm.domain.status import BARS, PARTS, Minutes, Planned
from hivematrix_helm.domain.watching import State
from hivematrix_helm.store import health as store

FRESH = timedelta(seconds=5)


class Board:
    """The document as it was made last: crowds cost one reading, and it stands while the database is away."""

    def __init__(self, settings: HelmSettings) -> None:
        self._settings, self._lock = settings, threading.Lock()
        self._made: tuple[datetime, dict[str, Any]] | None = None

    def document(self) -> dict[str, Any]:
        """SQLAlchemyError only when none was made yet."""
        with self._lock:
            now, made = clock.now(), self._made
            if made is None or not timedelta(0) <= now - made[0] < FRESH:
                try:
                    self._made = now, document(self._settings, now)
                except SQLAlchemyError:
                    if made is None:
                        raise
            assert self._made
            return self._made[1]


def document(settings: HelmSettings, now: datetime) -> dict[str, Any]:
    """Days are days in UTC, as the page says."""
    first = (now - timedelta(days=BARS - 1)).date()
    since = datetime.combine(first, datetime.min.time(), now.tzinfo)
    work, known = store.planned_since(since), minutes_by_day(first)
    plans = [Planned(row.begins_at, row.ends_at, tuple(row.services)) for row in work]
    states = current(settings, now)
    kind, words = domain.headline(list(states.values()))
    return {
        "title": settings.health.title,
        "state": kind,
        "words": words,
        "checked_at": _checked(now),
        "first_day": first.isoformat(),
        "last_day": now.date().isoformat(),
        "parts": [_part(name, states[name], known[name], plans, now.date()) for name in PARTS],
        "events": _events(store.incidents_since(since), work, now),
    }


def current(settings: HelmSettings, now: datetime) -> dict[str, State]:
    """How every part stands now."""
    standing, interval = store.standing(), timedelta(seconds=settings.health.interval_seconds)
    return {name: watching.now_state(store.as_watched(standing.get(name)), now, interval) for name in PARTS}


def minutes_by_day(first: date) -> defaultdict[str, dict[date, Minutes]]:
    found: defaultdict[str, dict[date, Minutes]] = defaultdict(dict)
    for row in store.days_since(first):
        found[row.service][row.day] = Minutes(row.up, row.slow, row.down)
    return found


def _checked(now: datetime) -> str | None:
    seen = [row.looked_at for row in store.standing().values() if row.looked_at <= now]
    return instant_text(max(seen)) if seen else None


def _part(
    service: str, state: State, known: dict[date, Minutes], plans: Sequence[Planned], today: date
) -> dict[str, Any]:
    bars = domain.bars(service, known, plans, today)
    share = domain.uptime(known.values())
    return {
        "name": PARTS[service],
        "state": domain.WORDS[state][0],
        "words": domain.WORDS[state][1],
        "uptime": str(share) if share is not None else None,
        "uptime_words": domain.percent(share),
        "days": [{"day": bar.day.isoformat(), "state": bar.kind, "words": bar.words} for bar in bars],
    }


def _events(incidents: Sequence[Row[Any]], work: Sequence[Row[Any]], now: datetime) -> list[dict[str, Any]]:
    """What happened and what is planned, the latest first."""
    found = [_incident(row) for row in incidents if row.service in PARTS] + [_planned(row, now) for row in work]
    return sorted(found, key=lambda event: str(event["from"]), reverse=True)


def _incident(row: Row[Any]) -> dict[str, Any]:
    part = PARTS[row.service]
    over = row.ended_at is not None
    return {
        "state": "ok" if over else "bad",
        "words": "Over" if over else "Going on",
        "title": row.title or f"{part}: no answer",
        "text": row.told or ("" if over else "We are looking at it."),
        "parts": [part],
        "from": instant_text(row.began_at),
        "to": instant_text(row.ended_at) if over else None,
    }


def _planned(row: Row[Any], now: datetime) -> dict[str, Any]:
    begun, over = row.begins_at <= now, row.ends_at <= now
    return {
        "state": "ok" if over else "busy",
        "words": "Done" if over else "Under way" if begun else "Planned",
        "title": row.title,
        "text": row.told,
        "parts": [PARTS[name] for name in PARTS if name in row.services],
        "from": instant_text(row.begins_at),
        "to": instant_text(row.ends_at),
    }
