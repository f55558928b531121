"""Invoices as documents over HTTP: CSV, PDF, the file for QuickBooks, a month of them, and sending them."""

from collections.abc import Iterator
from itertools import chain

from flask import Response, current_app, stream_with_context
from hivematrix_common.schemas import AccountPath
from hivematrix_common.web import Api

from hivematrix_ledger import render
from hivematrix_ledger.schemas import documents as schemas
from hivematrix_ledger.services import Ledger, documents

_CSV = {"description": "The invoice (RFC 4180)", "content": {"text/csv": {"schema": {"type": "string"}}}}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_PDF = {"description": "The invoice; a preview says so on every page", "content": {"application/pdf": _BINARY}}
_ZIP = {"description": "A file an invoice, and contents.csv", "content": {"application/zip": _BINARY}}
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


def _csv(account: str, query: schemas.DocumentQuery) -> Response:
    paper = documents.find(_ledger(), account, query.period, query.correction)
    return _file(documents.csv_of(_ledger(), paper), render.csv_name(paper.body), "text/csv")


def _file(data: bytes | Iterator[bytes], name: str, kind: str) -> Response:
    return Response(data, mimetype=kind, headers={"Content-Disposition": f'attachment; filename="{name}"'})


def _ledger() -> Ledger:
    found: Ledger = current_app.extensions["hivematrix_ledger"]
    return found
