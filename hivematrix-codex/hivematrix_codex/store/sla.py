"""Open tickets and machines, as the view of what waits shows them."""

from typing import Any, Final

from hivematrix_common.database import AnySession
from sqlalchemy import and_, or_, select, text

from hivematrix_codex.domain.sla import SETTLED
from hivematrix_codex.models import companies, tickets

MOST: Final = 2000
_SHOWN = (
    *("uid", "account_number", "number", "subject", "status", "priority", "ticket_type", "requester_name"),
    *("agent_uid", "group_name", "opened_at", "last_updated_at", "first_responded_at", "agent_responded_at"),
    *("fr_due_by", "due_by", "external_id"),
)
# A machine that was not heard of for a month is a question, whatever it last said.
_DEVICES = text("""
    SELECT count(*) AS "all", count(*) FILTER (WHERE online) AS online, count(*) FILTER (WHERE NOT online) AS offline,
        count(*) FILTER (WHERE online IS NULL) AS unknown,
        count(*) FILTER (WHERE last_seen < CAST(:now AS timestamptz) - interval '30 days') AS unheard
    FROM assets WHERE active_to IS NULL OR active_to >= CAST(:today AS date)""")


def open_tickets(session: AnySession, group: str | None, agent: str | None) -> list[dict[str, Any]]:
    """Tickets that are open, with their company's name; of a group or an agent alone where one is named."""
    ticket = tickets.c
    wanted = [ticket.closed_at.is_(None), or_(ticket.status.is_(None), ticket.status.not_in(SETTLED))]
    if group is not None:
        wanted.append(ticket.group_name == group)
    if agent is not None:
        wanted.append(ticket.agent_uid == agent)
    query = select(*(ticket[name] for name in _SHOWN), companies.c.name.label("company"))
    query = query.join(companies, companies.c.account_number == ticket.account_number).where(and_(*wanted))
    rows = session.execute(query.order_by(ticket.uid).limit(MOST + 1)).mappings()
    return [{str(name): value for name, value in row.items()} for row in rows]


def devices(session: AnySession, now: Any, today: Any) -> dict[str, int]:
    """How many machines are online, offline, and of how many nobody knows."""
    return dict(session.execute(_DEVICES, {"now": now, "today": today}).mappings().one())
