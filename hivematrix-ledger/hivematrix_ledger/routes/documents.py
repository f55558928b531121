"""Invoices as documents over HTTP: CSV, PDF, the file for QuickBooks, a month of them, and sending them."""

from collections.abc import Iterator
from itertools import chain

import orjson
from flask import Response, current_app, stream_with_context
from hivematrix_common import audit, auth
from hivematrix_common.schemas import AccountPath
from hivematrix_common.web import Api, json_answer, ndjson_answer, ndjson_described

from hivematrix_ledger import render
from hivematrix_ledger.schemas import documents as schemas
from hivematrix_ledger.services import Ledger, documents, sending

_CSV = {"description": "The invoice (RFC 4180)", "content": {"text/csv": {"schema": {"type": "string"}}}}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_PDF = {"description": "The invoice; a preview says so on every page", "content": {"application/pdf": _BINARY}}
_ZIP = {"description": "A file an invoice, and contents.csv", "content": {"application/zip": _BINARY}}
_RESULTS = (
    "An invoice a line: invoice_number, status sent | already | unknown | failed, and why; X-Next-Cursor leads on"
)
api = Api("documents", __name__)


@api.get(
    "/invoice/<account_number>/download",
    scope="ledger:read",
    client="account_number",
    responses={200: _CSV},
    summary="The invoice's CSV",
)
def download(path: AccountPath, query: schemas.DocumentQuery) -> Response:
    return _csv(path.account_number, query)


@api.get(
    "/api/invoice/<account_number>/csv",
    scope="ledger:read",
    client="account_number",
    responses={200: _CSV},
    summary="The invoice's CSV",
)
def invoice_csv(path: AccountPath, query: schemas.DocumentQuery) -> Response:
    return _csv(path.account_number, query)


@api.get(
    "/api/invoice/<account_number>/pdf",
    scope="ledger:read",
    client="account_number",
    responses={200: _PDF},
    summary="The invoice or one of its corrections as PDF",
)
def invoice_pdf(path: AccountPath, query: schemas.DocumentQuery) -> Response:
    paper = documents.find(_ledger(), path.account_number, query.period, query.correction)
    return _file(documents.pdf_of(_ledger(), paper), render.pdf_name(paper.body), "application/pdf")


@api.get(
    "/client/<account_number>/export/quickbooks",
    scope="ledger:read",
    responses={200: _CSV},
    summary="The invoice as QuickBooks imports it",
)
def export_quickbooks(path: AccountPath, query: schemas.DocumentQuery) -> Response:
    paper = documents.find(_ledger(), path.account_number, query.period, query.correction)
    name = f"QuickBooks_{render.csv_name(paper.body)}"
    return _file(documents.quickbooks_of(_ledger(), paper), name, "text/csv")


@api.get(
    "/invoices/bulk/download",
    scope="ledger:read",
    responses={200: _ZIP},
    summary="A month's invoices of all companies, one file each, in a ZIP",
)
def bulk_download(query: schemas.MonthQuery) -> Response:
    parts = documents.month_zip(_ledger(), query.period, query.format)
    first = next(parts)  # what fails before anything is sent is answered as a problem
    kind = "" if query.format == "csv" else f"_{query.format}"
    stream = stream_with_context(chain([first], parts))
    return _file(stream, f"invoices_{query.period}{kind}.zip", "application/zip")


@api.post(
    "/api/invoices/<invoice_number>/send",
    scope="ledger:write",
    responses={200: schemas.Sent},
    summary="Send one sealed invoice to its company by mail, once",
)
def send(path: schemas.InvoicePath, body: schemas.SendBody) -> Response:
    audit.about(path.invoice_number, force=body.force)
    asked = sending.Asked(auth.caller().name, body.force)
    return sending.send(_ledger(), path.invoice_number, asked, lambda result: json_answer(result.as_json()))


@api.get("/api/invoices/<invoice_number>/mails", scope="ledger:read", responses={200: schemas.Mails})
def sent_mails(path: schemas.InvoicePath) -> Response:
    """Every try to send the invoice: to whom, when, by whom, and what became of it."""
    return json_answer({"invoice_number": path.invoice_number, "mails": sending.history(path.invoice_number)})


@api.post(
    "/api/months/<period>/send",
    scope="ledger:write",
    responses={200: ndjson_described(_RESULTS)},
    summary="Send a month's sealed invoices that were not sent before, a page of companies at a time",
)
def send_month(path: schemas.MonthPath, query: schemas.SendQuery, body: schemas.SendMonth) -> Response:
    audit.about(str(path.period), companies="all" if body.accounts is None else len(body.accounts))
    results, cursor = sending.send_month(
        _ledger(), path.period, auth.caller().name, body.accounts, limit=query.limit, cursor=query.cursor
    )
    lines = [orjson.dumps(result.as_json()) for result in results]
    return ndjson_answer(lines, {"X-Next-Cursor": cursor} if cursor else None)


def _csv(account: str, query: schemas.DocumentQuery) -> Response:
    paper = documents.find(_ledger(), account, query.period, query.correction)
    return _file(documents.csv_of(_ledger(), paper), render.csv_name(paper.body), "text/csv")


def _file(data: bytes | Iterator[bytes], name: str, kind: str) -> Response:
    return Response(data, mimetype=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _ledger() -> Ledger:
    found: Ledger = current_app.extensions["hivematrix_ledger"]
    return found
