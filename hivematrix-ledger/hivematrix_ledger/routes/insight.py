"""Why a bill is what it is, over HTTP: its explanation, what changed, what may be missing."""

import orjson
from flask import Response, current_app
from hivematrix_common import auth, clock
from hivematrix_common.schemas import AccountPath, BillPath
from hivematrix_common.web import Api, json_answer, ndjson_answer, ndjson_described

from hivematrix_ledger.domain.explain import explained
from hivematrix_ledger.domain.what_if import Supposed
from hivematrix_ledger.schemas import insight as schemas
from hivematrix_ledger.services import Ledger, bills, board, company, comparing, hours, leaking

_NEXT = "X-Next-Cursor leads on"
_BODY = (
    *("account_number", "period", "invoice_number", "currency"),
    *("totals", "counts", "rates", "contract", "prepaid"),
)
api = Api("insight", __name__)


@api.get(
    "/api/bills/<account_number>/<period>/explain",
    scope="ledger:read",
    client="account_number",
    responses={200: schemas.Explanation},
    summary="Each line with the records, the rate's source, the formula and the amount computed again",
)
def explain(path: BillPath) -> Response:
    shown = bills.billed(_ledger(), path.account_number, path.period)
    told = {name: shown.body[name] for name in _BODY} | {"digest": shown.digest, "lines": explained(shown.body)}
    if shown.is_accepted:
        return json_answer(told | {"status": "accepted", "changed_after": []})
    late = company.late(_ledger(), path.account_number, path.period)
    changes = [change | {"at": clock.instant_text(change["at"])} for change in late]
    return json_answer(told | {"status": "preview", "changed_after": changes})


@api.get(
    "/api/bills/<account_number>/<period>/diff",
    scope="ledger:read",
    client="account_number",
    responses={200: schemas.Difference},
    summary="Why the bill differs from another month's: classes that sum exactly to the change",
)
def diff(path: BillPath, query: schemas.With) -> Response:
    other = query.other or path.period.plus(-1)
    return json_answer(comparing.difference(_ledger(), path.account_number, path.period, other))


@api.get(
    "/api/months/<period>/diff",
    scope="ledger:read",
    responses={200: ndjson_described(f"A company a line: both totals, the change and its classes; {_NEXT}")},
    summary="Why the bills of a month differ from another's, company by company",
)
def month_diff(path: schemas.MonthPath, query: schemas.MonthWith) -> Response:
    other = query.other or path.period.plus(-1)
    return _page(*comparing.differences(_ledger(), path.period, other, query.limit, query.cursor))


@api.get(
    "/api/bills/<account_number>/<period>/leakage",
    scope="ledger:read",
    responses={200: schemas.Report},
    summary="What may be missing on the bill",
)
def leakage(path: BillPath) -> Response:
    return json_answer(leaking.of_company(_ledger(), path.account_number, path.period))


@api.post(
    "/api/bills/<account_number>/<period>/leakage/<key>/acknowledge",
    scope="ledger:write",
    responses={200: schemas.FindingDocument},
    summary="Let a finding stand, with the reason",
)
def acknowledge(path: schemas.FindingPath, body: schemas.Acknowledge) -> Response:
    found = leaking.acknowledge(
        _ledger(), path.account_number, path.period, path.key, reason=body.reason, by=auth.caller().name
    )
    return json_answer(found)


@api.get(
    "/api/months/<period>/leakage",
    scope="ledger:read",
    responses={200: ndjson_described(f"A company a line: its findings; {_NEXT}")},
    summary="What may be missing on the bills of a month, company by company",
)
def month_leakage(path: schemas.MonthPath, query: schemas.MonthQuery) -> Response:
    return _page(*leaking.of_page(_ledger(), path.period, query.limit, query.cursor))


@api.get(
    "/api/hours/<account_number>",
    scope="ledger:read",
    client="account_number",
    responses={200: schemas.HoursStatement},
    summary="The hours bank, entry by entry, of the twelve months up to one",
)
def hours_statement(path: AccountPath, query: schemas.Until) -> Response:
    return json_answer(hours.of_company(_ledger(), path.account_number, query.until))


@api.post(
    "/api/what-if",
    scope="ledger:read",
    responses={200: schemas.WhatIfAnswer},
    summary="A company's bill with another plan, term, number of items or rate; nothing is written",
)
def what_if(body: schemas.WhatIf) -> Response:
    supposed = Supposed(body.plan, body.term, body.counts, body.overrides, body.hours)
    return json_answer(comparing.suppose(_ledger(), body.account_number, body.period, supposed))


@api.get(
    "/api/months/<period>",
    scope="ledger:read",
    responses={200: schemas.Board},
    summary="How every company stands in a month, the totals by kind, and what recurs",
)
def month_board(path: schemas.MonthPath) -> Response:
    return json_answer(board.board(_ledger(), path.period))


def _page(rows: list[dict[str, object]], cursor: str | None) -> Response:
    return ndjson_answer(map(orjson.dumps, rows), {"X-Next-Cursor": cursor} if cursor else None)


def _ledger() -> Ledger:
    found: Ledger = current_app.extensions["hivematrix_ledger"]
    return found
