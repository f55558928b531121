"""Facts one by one over HTTP: read, added, changed, retired by hand; and what was changed.

A change names in If-Match the ETag of what was read (428 without one, 412 when it is no longer so). What is not sent
stays as it is.
"""

from datetime import date
from zoneinfo import ZoneInfo

from flask import Response, current_app, request
from hivematrix_common import clock
from hivematrix_common.schemas import AccountPath
from hivematrix_common.web import Api, json_answer

from hivematrix_codex import services
from hivematrix_codex.routes.api import fact
from hivematrix_codex.schemas import Asset, Company, Contact, FieldsQuery, Location, Ticket
from hivematrix_codex.schemas.editing import (
    AssignBody,
    FactBody,
    HistoryPage,
    HistoryQuery,
    RetireBody,
    TimeEntryRow,
    UidPath,
)
from hivematrix_codex.services import facts, history

api = Api("facts", __name__)


@api.post("/api/companies", scope="codex:write", responses={201: Company}, summary="Add a company by hand")
def add_company(body: FactBody) -> Response:
    return _added("companies", body)


@api.put(
    "/api/companies/<account_number>",
    scope="codex:write",
    responses={200: Company},
    summary="Change it; needs If-Match",
)
def change_company(path: AccountPath, body: FactBody) -> Response:
    return _changed("companies", path.account_number, body)


@api.put("/companies/<account_number>/update", scope="codex:write", responses={200: Company}, summary="The older path")
def update_company(path: AccountPath, body: FactBody) -> Response:
    return _changed("companies", path.account_number, body)


@api.post(
    "/api/companies/<account_number>/retire",
    scope="codex:write",
    responses={200: Company},
    summary="No customer any more from a day on; needs If-Match",
)
def retire_company(path: AccountPath, body: RetireBody) -> Response:
    return _retired("companies", path.account_number, body)


@api.get(
    "/api/companies/<account_number>/history",
    scope="codex:read",
    responses={200: HistoryPage},
    summary="What was changed of its facts, newest first",
)
def company_history(path: AccountPath, query: HistoryQuery) -> Response:
    services.company(path.account_number)
    having = {"account_number": path.account_number, "kind": query.kind, "key": query.key}
    return json_answer(history.page(having, query.cursor, query.since, query.limit))


@api.post(
    "/api/companies/<account_number>/contacts", scope="codex:write", responses={201: Contact}, summary="Add a contact"
)
def add_contact(path: AccountPath, body: FactBody) -> Response:
    return _added("contacts", body, path)


@api.get("/api/contacts/<path:uid>", scope="codex:read", responses={200: Contact}, summary="One contact")
def contact(path: UidPath, query: FieldsQuery) -> Response:
    return fact("contacts", path.uid, query.fields)


@api.put("/api/contacts/<path:uid>", scope="codex:write", responses={200: Contact}, summary="Change; needs If-Match")
def change_contact(path: UidPath, body: FactBody) -> Response:
    return _changed("contacts", path.uid, body)


@api.put("/contacts/<path:uid>/update", scope="codex:write", responses={200: Contact}, summary="The older path")
def update_contact(path: UidPath, body: FactBody) -> Response:
    return _changed("contacts", path.uid, body)


@api.post("/api/contacts/<path:uid>/retire", scope="codex:write", responses={200: Contact}, summary="Gone after a day")
def retire_contact(path: UidPath, body: RetireBody) -> Response:
    return _retired("contacts", path.uid, body)


@api.post("/api/companies/<account_number>/assets", scope="codex:write", responses={201: Asset}, summary="Add an asset")
def add_asset(path: AccountPath, body: FactBody) -> Response:
    return _added("assets", body, path)


@api.get("/api/assets/<path:uid>", scope="codex:read", responses={200: Asset}, summary="One asset")
def asset(path: UidPath, query: FieldsQuery) -> Response:
    return fact("assets", path.uid, query.fields)


@api.put(
    "/api/assets/<path:uid>",
    scope="codex:write",
    responses={200: Asset},
    summary="Change; needs If-Match. A billing type that is set here is pinned",
)
def change_asset(path: UidPath, body: FactBody) -> Response:
    return _changed("assets", path.uid, body)


@api.post("/api/assets/<path:uid>/retire", scope="codex:write", responses={200: Asset}, summary="Gone after a day")
def retire_asset(path: UidPath, body: RetireBody) -> Response:
    return _retired("assets", path.uid, body)


@api.put("/assets/<path:uid>/update-contacts", scope="codex:write", responses={200: Asset}, summary="Whose asset it is")
def assign_asset(path: UidPath, body: AssignBody) -> Response:
    facts.assign(path.uid, list(dict.fromkeys(body.contacts)), request.headers.get("If-Match"))
    return fact("assets", path.uid)


@api.post(
    "/api/companies/<account_number>/locations",
    scope="codex:write",
    responses={201: Location},
    summary="Add a location",
)
def add_location(path: AccountPath, body: FactBody) -> Response:
    return _added("locations", body, path)


@api.get("/api/locations/<path:uid>", scope="codex:read", responses={200: Location}, summary="One location")
def location(path: UidPath, query: FieldsQuery) -> Response:
    return fact("locations", path.uid, query.fields)


@api.put("/api/locations/<path:uid>", scope="codex:write", responses={200: Location}, summary="Change; needs If-Match")
def change_location(path: UidPath, body: FactBody) -> Response:
    return _changed("locations", path.uid, body)


@api.post(
    "/api/locations/<path:uid>/retire", scope="codex:write", responses={200: Location}, summary="Gone after a day"
)
def retire_location(path: UidPath, body: RetireBody) -> Response:
    return _retired("locations", path.uid, body)


@api.post(
    "/api/companies/<account_number>/tickets", scope="codex:write", responses={201: Ticket}, summary="Add a ticket"
)
def add_ticket(path: AccountPath, body: FactBody) -> Response:
    return _added("tickets", body, path)


@api.get("/api/tickets/<path:uid>", scope="codex:read", responses={200: Ticket}, summary="One ticket with its entries")
def ticket(path: UidPath, query: FieldsQuery) -> Response:
    return fact("tickets", path.uid, query.fields)


@api.put("/api/tickets/<path:uid>", scope="codex:write", responses={200: Ticket}, summary="Change; needs If-Match")
def change_ticket(path: UidPath, body: FactBody) -> Response:
    return _changed("tickets", path.uid, body)


@api.post("/api/tickets/<path:uid>/entries", scope="codex:write", responses={201: TimeEntryRow}, summary="Add hours")
def add_entry(path: UidPath, body: FactBody) -> Response:
    [uid] = facts.add("time_entries", {**_said(body), "ticket_uid": path.uid}, zone())
    return fact("time_entries", str(uid), status=201)


@api.get("/api/time-entries/<path:uid>", scope="codex:read", responses={200: TimeEntryRow}, summary="One time entry")
def entry(path: UidPath, query: FieldsQuery) -> Response:
    return fact("time_entries", path.uid, query.fields)


@api.put("/api/time-entries/<path:uid>", scope="codex:write", responses={200: TimeEntryRow}, summary="Needs If-Match")
def change_entry(path: UidPath, body: FactBody) -> Response:
    return _changed("time_entries", path.uid, body)


def _added(kind: str, body: FactBody, path: AccountPath | None = None) -> Response:
    own = {"account_number": path.account_number} if path else {}
    [key] = facts.add(kind, _said(body) | own, zone())
    return fact(kind, str(key), status=201)


def _changed(kind: str, key: str, body: FactBody) -> Response:
    facts.change(kind, (key,), _said(body), zone(), request.headers.get("If-Match"))
    return fact(kind, key)


def _retired(kind: str, key: str, body: RetireBody) -> Response:
    facts.retire(kind, (key,), body.on or today(), zone(), request.headers.get("If-Match"))
    return fact(kind, key)


def _said(body: FactBody) -> dict[str, object]:
    return dict(body.model_extra or {})


def zone() -> ZoneInfo:
    """The billing time zone."""
    found: ZoneInfo = current_app.settings.billing.timezone  # type: ignore[attr-defined]
    return found


def today() -> date:
    return clock.now().astimezone(zone()).date()
