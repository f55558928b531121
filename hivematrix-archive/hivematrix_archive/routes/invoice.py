"""The page of one sealed document, and the script that checks it without us."""

from flask import Response, current_app, render_template
from hivematrix_common import auth

from hivematrix_archive.routes.api import asked
from hivematrix_archive.routes.job_pages import Answer
from hivematrix_archive.routes.pages import pages
from hivematrix_archive.services import invoice as use_case
from hivematrix_archive.services import session
from hivematrix_archive.services.export import VERIFIER
from hivematrix_archive.services.search import KIND_WORDS


@pages.get("/invoice/<invoice_number>", scope="archive:read", client=True)
def invoice(invoice_number: str) -> Answer:
    """The paper, read from the sealed bytes, and whether they hold, found out as the page is made."""
    outside = current_app.extensions["hivematrix_outside"]
    document = use_case.document(session(), outside, asked(invoice_number))
    document["may_correct"] = document["can_be_corrected"] and "ledger:accept" in auth.caller().scopes
    return render_template("archive/invoice.html", kinds=KIND_WORDS, **document)


@pages.get("/verify_offline.py", scope="archive:read", client=True)
def verifier() -> Answer:
    """The script, to be kept beside the three small files."""
    headers = {"Content-Disposition": 'attachment; filename="verify_offline.py"'}
    return Response(VERIFIER.read_bytes(), headers=headers, content_type="text/x-python; charset=utf-8")
