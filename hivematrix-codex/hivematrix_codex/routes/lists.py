"""Search and lists over HTTP: across companies, and by the paths that programs of the first HiveMatrix call."""

from typing import Any

from flask import Response
from hivematrix_common.errors import Problem
from hivematrix_common.web import Api, json_answer

from hivematrix_codex.domain.pages import Page
from hivematrix_codex.routes.api import answered, fact
from hivematrix_codex.routes.facts import zone
from hivematrix_codex.schemas import Asset, ListQuery, Ticket
from hivematrix_codex.schemas.editing import (
    ActiveQuery,
    ActiveTickets,
    AgentPage,
    DevicePage,
    DevicesQuery,
    Found,
    FoundQuery,
    NumberedAssets,
    NumberedCompanies,
    NumberedContacts,
    NumberedQuery,
    PsaTicketsQuery,
    TicketsPage,
    TicketsQuery,
    UidPath,
)
from hivematrix_codex.services import search, sla

api = Api("lists", __name__)


@api.get(
    "/api/search",
    scope="codex:read",
    client=True,
    responses={200: Found},
    summary="Companies, contacts, assets and tickets with words that begin so",
)
def find(query: FoundQuery) -> Response:
    found = search.search(query.q, query.account_number or None, query.limit)
    return json_answer({"q": query.q, **found})


@api.get("/api/tickets", scope="codex:read", responses={200: TicketsPage}, summary="Tickets of all companies")
def tickets(query: TicketsQuery) -> Response:
    having = {"account": query.company_id, "status": query.status, "priority": query.priority}
    page = _page("tickets", having, query)
    return _counted("tickets", page, query.offset, query.limit)


@api.get("/api/psa/tickets", scope="codex:read", responses={200: TicketsPage}, summary="Tickets of a PSA")
def psa_tickets(query: PsaTicketsQuery) -> Response:
    having = {"source": query.provider, "account": query.company, "status": query.status}
    return _counted("tickets", _page("tickets", having, query), query.offset, query.limit)


@api.get(
    "/api/tickets/active", scope="codex:read", responses={200: ActiveTickets}, summary="Open tickets by who has to act"
)
def active(query: ActiveQuery) -> Response:
    return json_answer(sla.waiting(query.group_id, query.responder_id))


@api.get("/api/psa/tickets/active", scope="codex:read", responses={200: ActiveTickets}, summary="The same")
def psa_active(query: ActiveQuery) -> Response:
    return json_answer(sla.waiting(query.group_id, query.responder_id))


@api.get(
    "/api/ticket/<path:uid>", scope="codex:read", responses={200: Ticket}, summary="By uid, or as its PSA calls it"
)
def ticket(path: UidPath) -> Response:
    page = search.page("tickets", {"external": path.uid}, "", 2, fields="uid")
    if len(page.items) > 1:
        raise Problem("conflict", f"More than one system calls a ticket {path.uid}; ask for its uid.")
    uid = search.members(page)[0]["uid"] if page.items else path.uid
    return fact("tickets", uid)


@api.get("/api/rmm/devices", scope="codex:read", responses={200: DevicePage}, summary="Machines; none of it is guessed")
def devices(query: DevicesQuery) -> Response:
    online = {"online": "yes", "offline": "no"}.get(query.status or "")
    page = _page("assets", {"account": query.company_id, "online": online}, query)
    counts = sla.devices(zone())
    rest = {"count": len(page.items), "next": page.next, "total": page.total, "total_exact": page.total_exact}
    return json_answer({"devices": page.items, **rest, "held": counts})


@api.get("/api/rmm/device/<path:uid>", scope="codex:read", responses={200: Asset}, summary="One machine")
def device(path: UidPath) -> Response:
    return fact("assets", path.uid)


@api.get("/api/psa/agents", scope="codex:read", responses={200: AgentPage}, summary="The PSA's technicians")
def agents(query: ListQuery) -> Response:
    return answered("agents", search.page("psa_agents", {}, query.cursor, query.limit, fields=query.fields))


@api.get(
    "/companies/api/search",
    scope="codex:read",
    responses={200: NumberedCompanies},
    summary="Companies in numbered pages",
)
def companies_numbered(query: NumberedQuery) -> Response:
    return _numbered("companies", {"search": query.search.strip()}, query)


@api.get(
    "/contacts/api/search", scope="codex:read", responses={200: NumberedContacts}, summary="Contacts in numbered pages"
)
def contacts_numbered(query: NumberedQuery) -> Response:
    return _numbered("contacts", {"named": query.search.strip()}, query)


@api.get("/assets/api/search", scope="codex:read", responses={200: NumberedAssets}, summary="Assets in numbered pages")
def assets_numbered(query: NumberedQuery) -> Response:
    return _numbered("assets", {"called": query.search.strip()}, query)


def _page(kind: str, having: dict[str, Any], query: ListQuery, offset: int = 0) -> Page:
    asked = {name: value for name, value in having.items() if value}
    offset = getattr(query, "offset", offset)
    return search.page(kind, asked, query.cursor, query.limit, fields=query.fields, offset=offset)


def _counted(name: str, page: Page, offset: int, limit: int) -> Response:
    rest = {"count": len(page.items), "total": page.total, "total_exact": page.total_exact}
    return json_answer({name: page.items, **rest, "limit": limit, "offset": offset, "next": page.next})


def _numbered(kind: str, having: dict[str, Any], query: NumberedQuery) -> Response:
    asked = {name: value for name, value in having.items() if value}
    page = search.page(kind, asked, "", query.per_page, offset=(query.page - 1) * query.per_page)
    pages = -(-page.total // query.per_page)
    pagination = {
        "page": query.page,
        "pages": pages,
        "total": page.total,
        "has_prev": query.page > 1,
        "has_next": page.next is not None,
        "prev_num": query.page - 1 or None,
        "next_num": query.page + 1 if page.next is not None else None,
    }
    return json_answer({"success": True, kind: page.items, "pagination": pagination})
