"""Codex over HTTP: facts to read, files to import."""

from collections.abc import Sequence
from typing import Any

from flask import Response, current_app
from hivematrix_common import clock
from hivematrix_common.importing import Source
from hivematrix_common.imports import LIMIT, ImportAnswer, Imported, ImportForm, ImportQuery, import_uploaded
from hivematrix_common.schemas import AccountPath
from hivematrix_common.web import Api, json_answer, ndjson_answer, ndjson_described

from hivematrix_codex import services
from hivematrix_codex.domain.pages import Page
from hivematrix_codex.domain.run import Run
from hivematrix_codex.schemas import (
    AssetPage,
    BillingInputsQuery,
    BulkPage,
    BulkQuery,
    Company,
    CompanyPage,
    ContactPage,
    FieldsQuery,
    ListQuery,
    LocationPage,
    PlanAnswer,
    PlanList,
    PlanPath,
    PlanQuery,
    SearchQuery,
    TicketPage,
    TicketQuery,
)
from hivematrix_codex.services import search

api = Api("codex", __name__)


@api.get("/api/companies", scope="codex:read", responses={200: CompanyPage}, summary="Companies by account number")
def companies(query: SearchQuery) -> Response:
    having = {"search": query.search.strip()} if query.search.strip() else {}
    return answered("companies", search.page("companies", having, query.cursor, query.limit, fields=query.fields))


@api.get("/api/companies/bulk", scope="codex:read", responses={200: BulkPage}, summary="Companies with their parts")
def companies_bulk(query: BulkQuery) -> Response:
    page = services.bulk(query.cursor, query.limit, with_tickets=query.include_tickets)
    return answered("companies", page)


@api.get(
    "/api/companies/<account_number>",
    scope="codex:read",
    client="account_number",
    responses={200: Company},
    summary="One company",
)
def company(path: AccountPath, query: FieldsQuery) -> Response:
    return fact("companies", path.account_number, query.fields)


@api.get(
    "/api/companies/<account_number>/contacts",
    scope="codex:read",
    client="account_number",
    responses={200: ContactPage},
)
def contacts(path: AccountPath, query: ListQuery) -> Response:
    return _parts("contacts", path, query)


@api.get(
    "/api/companies/<account_number>/users", scope="codex:read", client="account_number", responses={200: ContactPage}
)
def users(path: AccountPath, query: ListQuery) -> Response:
    return _parts("contacts", path, query)


@api.get(
    "/api/companies/<account_number>/assets", scope="codex:read", client="account_number", responses={200: AssetPage}
)
def assets(path: AccountPath, query: ListQuery) -> Response:
    return _parts("assets", path, query)


@api.get(
    "/api/companies/<account_number>/locations",
    scope="codex:read",
    client="account_number",
    responses={200: LocationPage},
)
def locations(path: AccountPath, query: ListQuery) -> Response:
    return _parts("locations", path, query)


@api.get(
    "/api/companies/<account_number>/tickets", scope="codex:read", client="account_number", responses={200: TicketPage}
)
def tickets(path: AccountPath, query: TicketQuery) -> Response:
    return _parts("tickets", path, query, {"year": query.year} if query.year else {})


@api.get(
    "/api/billing-inputs",
    scope="codex:read",
    responses={
        200: ndjson_described(
            "A company a line, every plan version in the first; X-Next-Cursor leads on, all pages as of X-As-Of"
        )
    },
    summary="What Ledger bills by",
)
def billing_inputs(query: BillingInputsQuery) -> Response:
    accounts = query.accounts.split(",") if query.accounts else []
    lines, run, cursor = services.billing_inputs(query.period, Run.opened(query.cursor), query.limit, accounts)
    said = {"X-As-Of": run.as_of, "X-Next-Cursor": cursor}
    return ndjson_answer(lines, {name: value for name, value in said.items() if value})


@api.get("/billing-plans/api/plans", scope="codex:read", responses={200: PlanList}, summary="Every plan version")
def plans() -> Response:
    found = services.every_plan()
    return json_answer({"status": "success", "plans": found, "count": len(found)})


@api.get("/billing-plans/api/plans/<name>/<term>", scope="codex:read", responses={200: PlanAnswer})
def plan(path: PlanPath, query: PlanQuery) -> Response:
    today = clock.now().astimezone(_settings().billing.timezone).date()
    found, versions = services.plan(path.name, path.term, query.on or today)
    return json_answer({"status": "success", "plan": found, "versions": versions})


@api.post(
    "/api/import",
    scope="codex:write",
    max_body=LIMIT,
    responses={200: ImportAnswer},
    summary="Import files (multipart/form-data, 32 MiB in all)",
)
def import_files(form: ImportForm, query: ImportQuery) -> Response:  # noqa: ARG001 - the form describes the parts
    return import_uploaded(_import, partial=query.partial)


def _import(sources: Sequence[Source], partial: bool) -> Imported:
    return services.import_files(sources, _settings().billing.timezone, partial=partial)


def _parts(kind: str, path: AccountPath, query: ListQuery, having: dict[str, Any] | None = None) -> Response:
    having = {"account": path.account_number} | (having or {})
    page = search.page(kind, having, query.cursor, query.limit, fields=query.fields)
    if not page.items:
        services.company(path.account_number)
    return answered(kind, page)


def answered(name: str, page: Page) -> Response:
    """A page of a list."""
    rest = {"next": page.next, "total": page.total, "total_exact": page.total_exact}
    return json_answer({name: page.items, **rest})


def fact(kind: str, key: str, fields: str = "", status: int = 200) -> Response:
    """A fact, with the state that a change of it names in If-Match."""
    document, digest = search.one(kind, key, fields)
    return json_answer(document, status, {"ETag": f'"{digest}"'})


def _settings() -> Any:
    return current_app.settings  # type: ignore[attr-defined]
