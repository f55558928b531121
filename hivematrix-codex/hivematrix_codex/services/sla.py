"""What waits: open tickets by who has to act, and machines by what was last heard of them."""

from typing import Any
from zoneinfo import ZoneInfo

from hivematrix_common import clock

from hivematrix_codex import store
from hivematrix_codex.domain.sla import Placed, Section, placed
from hivematrix_codex.store import sla


def waiting(group: str | None, agent: str | None) -> dict[str, Any]:
    """Open tickets in four sections; `truncated` when there are more than are looked at."""
    now = clock.now()
    held = sla.open_tickets(store.session(), group, agent)
    found = placed(held[: sla.MOST], now)
    sections = {str(section): [_told(one) for one in found if one.section is section] for section in Section}
    return {
        **sections,
        "total_active": len(found),
        "truncated": len(held) > sla.MOST,
        "as_of": clock.instant_text(now),
    }


def devices(zone: ZoneInfo) -> dict[str, int]:
    now = clock.now()
    return sla.devices(store.session(), now, now.astimezone(zone).date())


def _told(one: Placed) -> dict[str, Any]:
    overdue = None if one.overdue_by is None else int(one.overdue_by.total_seconds())
    return {**one.ticket, "first_response": str(one.first_response), "overdue_seconds": overdue}
