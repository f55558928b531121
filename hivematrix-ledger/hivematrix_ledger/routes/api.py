"""Ledger over HTTP: bills to read and accept, invoices, what an operator adds to the facts."""

from collections.abc import Sequence

import orjson
from flask import Response, current_app, request
from hivematrix_common import audit, auth
from hivematrix_common.domain.period import Period
from hivematrix_common.importing import Source
from hivematrix_common.imports import LIMIT, ImportAnswer, Imported, ImportForm, ImportQuery, import_uploaded
from hivematrix_common.schemas import AccountPath, BillPath, YearMonth
from hivematrix_common.web import JSON, Api, json_answer, ndjson_answer, ndjson_described, problem_answer

from hivematrix_ledger import schemas
from hivematrix_ledger.domain.corrections import Order
from hivematrix_ledger.domain.engines import NoBill, compute_bill
from hivematrix_ledger.domain.receipt import billing_answer, summary
from hivematrix_ledger.services import Ledger, Shown, acceptance, bills, corrections, dashboard, forgetting, no_bill
from hivematrix_ledger.services.acceptance import Asked, Result
from hivematrix_ledger.services.corrections import Corrected
from hivematrix_ledger.services.imports import import_files

# As large as a bill that the archive takes.
REPLAY_LIMIT = 8 * 1024 * 1024
_BILLS = "A company a line: its bill, or account_number, status and reason; X-Next-Cursor leads on"
_RESULTS = "A company a line: account_number, status sealed | already | skipped | failed, and what belongs to it"
api = Api("ledger", __name__)


@api.get("/api/bills", scope="ledger:read", responses={200: ndjson_described(_BILLS)}, summary="A month's bills")
def list_bills(query: schemas.BillsQuery) -> Response:
    lines, cursor = bills.page(_ledger(), query.period, query.limit, query.cursor)
    return ndjson_answer(lines, {"X-Next-Cursor": cursor} if cursor else None)


@api.get(
    "/api/bills/<account_number>/<period>",
    scope="ledger:read",
    client="account_number",
    responses={200: schemas.Document},
)
def bill(path: BillPath) -> Response:
    """The bill's body, exactly as it is or would be sealed; or why the company has none."""
    shown = bills.show(_ledger(), path.account_number, path.period)
    if isinstance(shown, NoBill):
        return json_answer(no_bill(shown))
    return Response(shown.data, mimetype=JSON, headers=_digest(shown))


@api.get(
    "/api/billing/<account_number>", scope="ledger:read", client="account_number", responses={200: schemas.Document}
)
def billing(path: AccountPath, query: YearMonth) -> Response:
    """The bill under its earlier names too; or why the company has none."""
    shown = bills.show(_ledger(), path.account_number, query.period)
    if isinstance(shown, NoBill):
        return json_answer(no_bill(shown))
    answer = billing_answer(shown.body) | {"digest": shown.digest, "is_archived": shown.is_accepted}
    return json_answer(answer | {"bill": orjson.Fragment(shown.data)}, headers=_digest(shown))


@api.get("/api/billing/dashboard", scope="ledger:read", responses={200: schemas.Dashboard})
def billing_dashboard(query: schemas.DashboardQuery) -> Response:
    """All companies at a glance; those without a bill too, with the reason."""
    return json_answer(dashboard.dashboard(_ledger(), Period(query.year, query.month), query.limit, query.cursor))


@api.get("/api/plans", scope="ledger:read", responses={200: schemas.PlanList}, summary="Codex's plans, newest version")
def plans() -> Response:
    return json_answer(dashboard.plans(_ledger()))


@api.get(
    "/api/invoice/<account_number>/summary",
    scope="ledger:read",
    client="account_number",
    responses={200: schemas.Summary},
)
def invoice_summary(path: AccountPath, query: YearMonth) -> Response:
    shown = bills.billed(_ledger(), path.account_number, query.period)
    return json_answer(summary(shown.body, is_archived=shown.is_accepted))


@api.get(
    "/api/bill/check-archived/<account_number>",
    scope="ledger:read",
    client="account_number",
    responses={200: schemas.CheckArchived},
)
def check_archived(path: AccountPath, query: YearMonth) -> Response:
    number = f"{path.account_number}-{query.period.compact}"
    accepted = bills.is_accepted(path.account_number, query.period)
    return json_answer({"invoice_number": number, "is_archived": accepted})


@api.post(
    "/api/bill/accept",
    scope="ledger:accept",
    responses={200: schemas.Document, 201: schemas.Accepted},
    summary="Accept one bill: seal it in the archive",
)
def accept_bill(body: schemas.AcceptBody) -> Response:
    digests = {body.account_number: body.digest} if body.digest else {}
    asked = Asked(Period(body.year, body.month), auth.caller().name, body.notes, digests)
    audit.about(f"{body.account_number} {asked.period}")
    return acceptance.accept(_ledger(), asked, [body.account_number], _one_result)


@api.post(
    "/api/bills/accept",
    scope="ledger:accept",
    responses={200: ndjson_described(_RESULTS)},
    summary="Accept a page of at most 500 bills, or all",
)
def accept_bills(body: schemas.AcceptPage) -> Response:
    asked = Asked(body.period, auth.caller().name, body.notes, body.digests)
    audit.about(str(body.period), companies="all" if body.accounts is None else len(body.accounts))
    if body.accounts is None:
        return _all_results(acceptance.accept_all(_ledger(), asked, schemas.PAGE))
    return acceptance.accept(_ledger(), asked, body.accounts, _all_results)


@api.post(
    "/api/bills/<account_number>/<period>/correct",
    scope="ledger:accept",
    responses={200: schemas.Corrected, 201: schemas.Corrected},
    summary="Correct a sealed invoice: credit lines of it, or credit it and seal the month's bill anew",
)
def correct(path: BillPath, body: schemas.CorrectBody) -> Response:
    lines = None if body.lines is None else tuple(body.lines)
    order = Order(body.mode, body.reason, lines)
    audit.about(f"{path.account_number} {path.period}", mode=body.mode)
    asked = corrections.Asked(path.account_number, path.period, order, auth.caller().name)
    return corrections.correct(_ledger(), asked, _corrected)


@api.post(
    "/api/bills/<account_number>/<period>/forget",
    scope="ledger:accept",
    responses={200: schemas.Forgotten},
    summary="Take an erased bill's names and texts out of every table; the archive asks for it",
)
def forget(path: BillPath) -> Response:
    audit.about(f"{path.account_number} {path.period}")
    return json_answer({"previews": forgetting.forget(_ledger(), path.account_number, path.period)})


@api.post(
    "/api/engine/replay",
    scope="ledger:read",
    max_body=REPLAY_LIMIT,
    responses={200: schemas.Document},
    summary="What an engine makes of sealed inputs: the body, byte for byte",
)
def replay(body: schemas.Replay) -> Response:
    # The model has checked the document; the engine gets it as it was sent.
    outcome = compute_bill(orjson.loads(request.get_data())["inputs"], body.engine)
    if isinstance(outcome, NoBill):
        return json_answer(no_bill(outcome))
    return Response(outcome.data, mimetype=JSON)


@api.post(
    "/api/import",
    scope="ledger:write",
    max_body=LIMIT,
    responses={200: ImportAnswer},
    summary="Import files (multipart/form-data, 32 MiB in all)",
)
def import_rows(form: ImportForm, query: ImportQuery) -> Response:  # noqa: ARG001 - the form describes the parts
    return import_uploaded(_import, partial=query.partial)


def _import(sources: Sequence[Source], partial: bool) -> Imported:
    return import_files(_ledger(), sources, partial=partial)


def _one_result(results: list[Result]) -> Response:
    [result] = results
    if result.problem:
        return problem_answer(result.problem)
    if result.invoice_number is None:
        return json_answer({"success": False, **result.as_json()})
    words = {"sealed": "accepted and sealed", "already": "was accepted before"}[result.status]
    answer = {"success": True, "message": f"{result.invoice_number} {words}.", **result.as_json()}
    return json_answer(answer, 201 if result.status == "sealed" else 200)


def _corrected(made: Corrected) -> Response:
    return json_answer({"success": True, "message": made.message, **made.as_json()}, 201 if made.fresh else 200)


def _all_results(results: list[Result]) -> Response:
    return ndjson_answer([orjson.dumps(result.as_json()) for result in results])


def _digest(shown: Shown) -> dict[str, str]:
    return {"X-Bill-Digest": shown.digest, "X-Bill-Status": "accepted" if shown.is_accepted else "preview"}


def _ledger() -> Ledger:
    found: Ledger = current_app.extensions["hivematrix_ledger"]
    return found
