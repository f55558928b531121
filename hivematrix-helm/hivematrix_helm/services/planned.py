"""Planned work and the words of incidents, as people write them."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from hivematrix_common import clock
from hivematrix_common.clock import instant_text
from hivematrix_common.errors import Problem
from sqlalchemy import Row

from hivematrix_helm.domain import times
from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.domain.status import Planned
from hivematrix_helm.services import audited, unacceptable
from hivematrix_helm.store import health as store
from hivematrix_helm.store import session

SHOWN = timedelta(days=90)
LONGEST_TITLE, LONGEST_TEXT = 120, 2000


def plan(title: str, told: str, *, begins: str, ends: str, services: Sequence[str], by: str) -> int:
    """Tell everybody of work that is planned; its alerts are not sent meanwhile. Its number.

    `begins` and `ends` are instants, or spans from now such as 2h; no service means all.
    """
    now = clock.now()
    begin, end = _instant("begins", begins, now), _instant("ends", ends, now)
    if end <= max(begin, now):
        raise unacceptable("ends", "expected a time after the beginning that is still to come")
    if strange := sorted(set(services) - set(SERVICES)):
        raise unacceptable("services", f"there is no service {strange[0]}; there are {', '.join(SERVICES)}")
    values = {"begins_at": begin, "ends_at": end, "services": list(services or SERVICES), "title": _title(title)}
    number = store.add_planned(values | {"told": _text(told), "made_by": by, "made_at": now})
    audited.done("plan work", f"planned/{number}", title=values["title"], services=values["services"])
    session().commit()
    return number


def withdraw(number: int) -> None:
    """Take back what is planned, or end it now; Problem(not_found) when it is over or was never there."""
    if not store.withdraw_planned(number, clock.now()):
        raise Problem("not_found", f"There is no planned work {number} that is still to come.")
    audited.done("withdraw planned work", f"planned/{number}")
    session().commit()


def tell(number: int, title: str, told: str) -> None:
    """Say in words for everybody what an incident was."""
    if not store.tell_incident(number, _title(title), _text(told)):
        raise Problem("not_found", f"There is no incident {number}.")
    audited.done("tell of an incident", f"incidents/{number}", title=title)
    session().commit()


def incidents() -> list[dict[str, Any]]:
    return [_incident(row) for row in store.incidents_since(clock.now() - SHOWN)]


def works() -> list[dict[str, Any]]:
    now = clock.now()
    return [_work(row, now) for row in store.planned_since(now - SHOWN)]


def under_way(now: datetime) -> list[Planned]:
    """What is planned for now."""
    rows = [row for row in store.planned_since(now) if row.begins_at <= now]
    return [Planned(row.begins_at, row.ends_at, tuple(row.services)) for row in rows]


def _incident(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "service": row.service,
        "began_at": instant_text(row.began_at),
        "ended_at": instant_text(row.ended_at) if row.ended_at else None,
        "seconds": int(((row.ended_at or clock.now()) - row.began_at).total_seconds()),
        "reason": row.reason,
        "title": row.title,
        "told": row.told,
    }


def _work(row: Row[Any], now: datetime) -> dict[str, Any]:
    state = "over" if row.ends_at <= now else "under way" if row.begins_at <= now else "planned"
    return {
        "id": row.id,
        "begins_at": instant_text(row.begins_at),
        "ends_at": instant_text(row.ends_at),
        "services": list(row.services),
        "title": row.title,
        "told": row.told,
        "made_by": row.made_by,
        "state": state,
    }


def _instant(field: str, text: str, now: datetime) -> datetime:
    try:
        return times.after(text, now) if text else now
    except ValueError as error:
        raise unacceptable(field, str(error)) from None


def _title(text: str) -> str:
    if not 0 < len(text.strip()) <= LONGEST_TITLE:
        raise unacceptable("title", f"expected 1 to {LONGEST_TITLE} characters")
    return _text(text.strip())


def _text(text: str) -> str:
    if len(text) > LONGEST_TEXT or "\0" in text:
        raise unacceptable("told", f"expected at most {LONGEST_TEXT} characters")
    return text
