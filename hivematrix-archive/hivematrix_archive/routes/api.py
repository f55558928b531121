"""Archive over HTTP: bills to seal, sealed bills to read."""

from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import orjson
from flask import Response, current_app, request
from hivematrix_common import auth, idempotency
from hivematrix_common.database import own_account
from hivematrix_common.errors import Problem
from hivematrix_common.schemas import AccountPath
from hivematrix_common.web import (
    NDJSON,
    Api,
    json_answer,
    ndjson_answer,
    ndjson_described,
    ndjson_lines,
    prefers_html,
)

from hivematrix_archive.schemas import (
    BatchQuery,
    CompanyPage,
    CompanyQuery,
    Front,
    InvoicePath,
    LineItems,
    ProofQuery,
    Receipt,
    SealedQuery,
    SealingRequest,
    Snapshot,
    described,
)
from hivematrix_archive.services import reading, sealing, session, single_reads
from hivematrix_archive.services.sealing import Outcome, Sealer

ONE_LIMIT = 8 * 1024 * 1024
BATCH_LIMIT = 64 * 1024 * 1024
MOST_LINES = 1000
api = Api("archive", __name__)


@api.get("/", scope=None, responses={200: Front}, summary="Where things are")
def front() -> Response:
    """For people the way to the start page."""
    if _settings().pages.enabled and prefers_html():
        return Response(status=303, headers={"Location": f"{request.script_root}/overview"})
    return json_answer({"service": "archive", "log": "/log/checkpoint", "docs": "/api/docs"})


@api.post(
    "/api/snapshot",
    scope="archive:seal",
    max_body=ONE_LIMIT,
    responses={200: Receipt, 201: Receipt},
    summary="Seal a bill; again with the same digest: 200 and the same receipt",
)
def seal(body: SealingRequest) -> Response:  # noqa: ARG001 - the model describes and refuses; the exact bytes are sealed
    return _told(sealing.seal(session(), _sealer(), [request.get_data()], _one_receipt))


@api.post(
    "/api/snapshots/batch",
    scope="archive:seal",
    max_body=BATCH_LIMIT,
    responses={200: ndjson_described("What became of each, in order: sealed, already, or refused and on which line")},
    openapi_extensions={"requestBody": {"content": {NDJSON: {"schema": {"type": "string"}}}, "required": True}},
    summary="Seal up to 1,000 bills, a request of /api/snapshot a line, in one transaction",
)
def seal_batch(query: BatchQuery) -> Response:
    request.get_data()  # kept, so that the idempotency key can hash it once more
    sealer = replace(_sealer(), together=query.together == "1")
    numbers: list[int] = []
    return _told(sealing.seal(session(), sealer, _few_lines(numbers), partial(_lines, numbers)))


@api.get(
    "/api/snapshot/<invoice_number>",
    scope="archive:read",
    client=True,
    responses={200: Snapshot},
    summary="A sealed bill",
)
def snapshot(path: InvoicePath) -> Response:
    return json_answer(reading.snapshot(session(), asked(path.invoice_number)))


@api.get(
    "/api/snapshot/<invoice_number>/body",
    scope="archive:read",
    client=True,
    responses={200: described("The document (`hivematrix.snapshot/1`)", "application/json", "object")},
    summary="The exact bytes that are sealed",
)
def body(path: InvoicePath) -> Response:
    with single_reads() as connection:
        return Response(reading.body(connection, asked(path.invoice_number)), mimetype="application/json")


@api.get(
    "/api/snapshot/<invoice_number>/csv",
    scope="archive:read",
    client=True,
    responses={200: described("The exact CSV", "text/csv")},
    summary="The sealed invoice as CSV",
)
def csv(path: InvoicePath) -> Response:
    name, data = reading.csv(session(), asked(path.invoice_number))
    return _file(data, name, "text/csv; charset=utf-8")


@api.get(
    "/api/snapshot/<invoice_number>/proof",
    scope="archive:read",
    client=True,
    responses={200: described("A C2SP tlog-proof; its extra line is the leaf data", "text/plain")},
    summary="The proof that the bill is in the log",
)
def proof(path: InvoicePath, query: ProofQuery) -> Response:
    text = reading.proof(session(), asked(path.invoice_number), query.size)
    return _file(text.encode(), f"{path.invoice_number}.tlog-proof", "text/plain; charset=utf-8")


@api.get("/api/snapshot/<invoice_number>/line-items", scope="archive:read", client=True, responses={200: LineItems})
def line_items(path: InvoicePath) -> Response:
    found = reading.line_items(session(), asked(path.invoice_number))
    return json_answer({"invoice_number": path.invoice_number, "line_items": found})


@api.get(
    "/api/snapshots/company/<account_number>",
    scope="archive:read",
    client="account_number",
    responses={200: CompanyPage},
)
def company(path: AccountPath, query: CompanyQuery) -> Response:
    return json_answer(reading.company(session(), path.account_number, query.limit, query.cursor))


@api.get(
    "/api/snapshots/sealed",
    scope="archive:read",
    responses={200: ndjson_described("A receipt a line with account, kind and revision; `document` with bodies=1")},
    summary="What is sealed of a period",
)
def sealed(query: SealedQuery) -> Response:
    accounts = query.accounts.split(",") if query.accounts else []
    return ndjson_answer(reading.sealed(session(), query.period, accounts, documents=query.bodies == "1"))


def asked(invoice_number: str) -> str:
    """The invoice that is asked for; an invoice of another account is to a client one that does not exist."""
    own = own_account()
    if own is not None and invoice_number.partition("-")[0] != own:
        raise reading.no_invoice(invoice_number)
    return invoice_number


def _settings() -> Any:
    return current_app.settings  # type: ignore[attr-defined]


def _told(answer: Response) -> Response:
    """The search is filled in the next pause."""
    if sealed := current_app.extensions.get("hivematrix_sealed"):
        sealed()
    return answer


def _sealer() -> Sealer:
    settings = _settings()
    return Sealer(
        current_app.extensions["hivematrix_outside"],
        settings.billing.timezone,
        auth.caller().name,
        request.headers.get(idempotency.HEADER),
        settings.log.sealer_url,
    )


def _few_lines(numbers: list[int]) -> Iterator[bytes]:
    """The documents; which lines they stood on is added to `numbers`."""
    for number, line in ndjson_lines():
        if len(numbers) == MOST_LINES:
            raise Problem("body_too_large", f"At most {MOST_LINES:,} lines are taken here.")
        numbers.append(number)
        yield line


def _one_receipt(outcomes: list[Outcome]) -> Response:
    outcome = outcomes[0]
    if outcome.problem:
        raise outcome.problem
    assert outcome.receipt
    return json_answer(outcome.receipt.as_json(), 201 if outcome.fresh else 200)


def _lines(numbers: list[int], outcomes: list[Outcome]) -> Response:
    answers = (one.as_json() | ({"line": at} if one.problem else {}) for at, one in zip(numbers, outcomes, strict=True))
    return ndjson_answer(orjson.dumps(answer, default=str) for answer in answers)


def _file(data: bytes, name: str, kind: str) -> Response:
    return Response(data, headers={"Content-Disposition": f'attachment; filename="{name}"'}, content_type=kind)
