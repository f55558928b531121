"""What was done in all services: Helm's own copy, collected without loss or doubles, and its search."""

import logging
from collections.abc import Callable, Mapping
from typing import Any

from hivematrix_common import audit_feed, clock, deadlines
from hivematrix_common.config import Settings
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.errors import Problem, from_domain
from hivematrix_common.failpoints import failpoint
from hivematrix_common.peers import PeerClient
from sqlalchemy.exc import SQLAlchemyError

from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.domain.trail import Filter, Place
from hivematrix_helm.store import audit as store
from hivematrix_helm.store import session

PAGE = 1000
SECONDS = 5.0
# (source, after) -> a page of a service's rows.
Feed = Callable[[str, int], dict[str, Any]]
_log = logging.getLogger("hivematrix.helm")


def feeds(settings: Settings) -> dict[str, Feed]:
    """How each service is asked; Helm's own rows are read where they lie."""
    return {name: own_rows if name == settings.service_name else _of_peer(settings, name) for name in SERVICES}


def own_rows(source: str, after: int) -> dict[str, Any]:
    return audit_feed.page(session(), source, after, PAGE)


def collect_all(feeds: Mapping[str, Feed], faults: dict[str, str], goes_on: Callable[[], bool] = lambda: True) -> None:
    """Take over what is new everywhere, page by page while `goes_on` says so.

    A service that does not answer is told once, kept in `faults`, and asked again by the next call.
    """
    for service, feed in feeds.items():
        try:
            collect(service, feed, goes_on)
            faults.pop(service, None)
        except (Problem, SQLAlchemyError) as error:
            session().rollback()
            reason = str(error).splitlines()[0]
            if faults.get(service) != reason:
                _log.warning("audit not collected", extra={"peer": service, "reason": reason})
            faults[service] = reason


def collect(service: str, feed: Feed, goes_on: Callable[[], bool] = lambda: True) -> int:
    """Take over a service's new rows page by page; how many. Rows and place are committed together, and a row's uid is
    taken once: none is lost or doubled, whoever else collects and wherever this ends.
    """
    taken, more = 0, True
    while more and goes_on():
        place = store.place(service)
        session().commit()  # no transaction waits for a peer
        page = feed(*place)
        failpoint("audit-fetched")
        taken += store.add(service, page, clock.now())
        failpoint("audit-taken")
        session().commit()
        failpoint("audit-kept")
        more = page["more"]
    return taken


def search(wanted: Filter, limit: int, cursor: str) -> dict[str, Any]:
    """One page, newest first; with when each service's rows were last taken over."""
    rows = store.search(wanted, limit + 1, _place(cursor))
    total, exact = store.count(wanted)
    page = [dict(row._mapping) for row in rows[:limit]]  # noqa: SLF001 - a public name of SQLAlchemy
    last = page[-1] if len(rows) > limit else None
    return {
        "total": total,
        "total_exact": exact,
        "next": str(Place(last["at"], last["id"])) if last else None,
        "collected_until": {row.service: _instant(row.asked_at) for row in store.progress()},
        "entries": [_shown(row) for row in page],
    }


def _of_peer(settings: Settings, peer: str) -> Feed:
    client = PeerClient(settings, peer, read_seconds=SECONDS)

    def ask(source: str, after: int) -> dict[str, Any]:
        query = {"source": source, "after": after, "limit": PAGE}
        with deadlines.within(SECONDS):
            found: dict[str, Any] = client.get_json("/api/audit/entries", query)
        return found

    return ask


def _place(cursor: str) -> Place | None:
    try:
        return Place.parse(cursor) if cursor else None
    except DomainError as error:
        raise from_domain(error) from None


def _shown(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in audit_feed.COLUMNS} | {"at": _instant(row["at"])}


def _instant(value: Any) -> str | None:
    return value.isoformat() if value else None
