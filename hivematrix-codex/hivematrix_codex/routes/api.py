"""Codex over HTTP: facts to read, files to import."""

from collections.abc import Sequence
from typing import Any

from flask import Response, current_app
from hivematrix_common import clock
from hivematrix_common.importing import Source
from hivematrix_common.imports import LIMIT, ImportAnswer, Imported, ImportForm, ImportQuery, import_uploaded
from hivematrix_common.schemas import AccountPath, PageQuery
from hivematrix_common.web import Api, json_answer, ndjson_answer, ndjson_described

from hivematrix_codex import services
from hivematrix_codex.domain.pages import Page
from hivematrix_codex.schemas import (
    AssetPage,
    BillingInputsQuery,
    BulkPage,
    BulkQuery,
    Company,
    CompanyPage,
    ContactPage,
    LocationPage,
    PlanAnswer,
    PlanList,
    PlanPath,
    PlanQuery,
    SearchQuery,
    TicketPage,
    TicketQuery,
)

_OLDER_NAMES = {
    "contract_term_length": "contract_term",
    "contract_start_date": "contract_start",
    "contract_end_date": "contract_end",
}
api = Api("codex", __name__)


@api.get("/api/companies", scope="codex:read", responses={200: CompanyPage}, summary="Companies by account number")
def companies(query: SearchQuery) -> Response:
    page = services.companies(query.cursor, query.limit, query.search)
    return _answer("companies", page, [_company(row) for row in page.items])


@api.get("/api/companies/bulk", scope="codex:read", responses={200: BulkPage}, summary="Companies with their parts")
def companies_bulk(query: BulkQuery) -> Response:
    page = services.bulk(query.cursor, query.limit, with_tickets=query.include_tickets)
    return _answer("companies", page)


@api.get(
    "/api/companies/<account_number>",
    scope="codex:read",
    client="account_number",
    responses={200: Company},
    summary="One company",
)
def company(path: AccountPath) -> Response:
    return json_answer(_company(services.company(path.account_number)))


@api.get(
    "/api/companies/<account_number>/contacts",
    scope="codex:read",
    client="account_number",
    responses={200: ContactPage},
)
def contacts(path: AccountPath, query: PageQuery) -> Response:
    return _parts("contacts", path, query)


@api.get(
    "/api/companies/<account_number>/users", scope="codex:read", client="account_number", responses={200: ContactPage}
)
def users(path: AccountPath, query: PageQuery) -> Response:
    return _parts("contacts", path, query)


@api.get(
    "/api/companies/<account_number>/assets", scope="codex:read", client="account_number", responses={200: AssetPage}
)
def assets(path: AccountPath, query: PageQuery) -> Response:
    return _parts("assets", path, query)


@api.get(
    "/api/companies/<account_number>/locations",
    scope="codex:read",
    client="account_number",
    responses={200: LocationPage},
)
def locations(path: AccountPath, query: PageQuery) -> Response:
    return _parts("locations", path, query)


@api.get(
    "/api/companies/<account_number>/tickets", scope="codex:read", client="account_number", responses={200: TicketPage}
)
def tickets(path: AccountPath, query: TicketQuery) -> Response:
    page = services.tickets_of_company(path.account_number, query.year, query.cursor, query.limit)
    return _answer("tickets", page)


@api.get(
    "/api/billing-inputs",
    scope="codex:read",
    responses={200: ndjson_described("A company a line, every plan version in the first; X-Next-Cursor leads on")},
    summary="What Ledger bills by",
)
def billing_inputs(query: BillingInputsQuery) -> Response:
    accounts = query.accounts.split(",") if query.accounts else []
    lines, cursor = services.billing_inputs(query.period, query.cursor, query.limit, accounts)
    return ndjson_answer(lines, {"X-Next-Cursor": cursor} if cursor else None)


@api.get("/billing-plans/api/plans", scope="codex:read", responses={200: PlanList}, summary="Every plan version")
def plans() -> Response:
    found = services.plans()
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


def _parts(kind: str, path: AccountPath, query: PageQuery) -> Response:
    page = services.parts_of_company(kind, path.account_number, query.cursor, query.limit)
    return _answer(kind, page)


def _answer(name: str, page: Page, items: list[Any] | None = None) -> Response:
    rest = {"next": page.next, "total": page.total, "total_exact": page.total_exact}
    return json_answer({name: page.items if items is None else items, **rest})


def _company(row: dict[str, Any]) -> dict[str, Any]:
    return row | {older: row[name] for older, name in _OLDER_NAMES.items()}


def _settings() -> Any:
    return current_app.settings  # type: ignore[attr-defined]
