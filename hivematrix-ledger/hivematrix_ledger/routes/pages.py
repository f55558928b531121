"""Ledger's pages."""

from flask import Response, current_app, render_template, request
from hivematrix_common import auth
from hivematrix_common.database import own_account
from hivematrix_common.domain.period import Period
from hivematrix_common.pages import Pages
from hivematrix_common.peers import PeerError
from werkzeug.wrappers import Response as AnyResponse

from hivematrix_ledger.services import Ledger, overview

WORDS = {
    "POST /api/import": "imported files",
    "ledger import": "imported files",
    "POST /api/bill/accept": "accepted a bill",
    "POST /api/bills/accept": "accepted bills",
    "POST /api/bills/<account_number>/<period>/correct": "corrected an invoice",
    "POST /bills/<account_number>/<period>/correct": "corrected an invoice",
    "ledger correct": "corrected an invoice",
    "POST /months/<period>/accept": "accepted a month",
    "POST /months/<period>/runs/<int:run_id>/cancel": "stopped accepting a month",
    "POST /months/<period>/runs/<int:run_id>/resume": "went on accepting a month",
    "POST /bills/<account_number>/<period>/accept": "accepted a bill",
    "POST /bills/<account_number>/<period>/findings/<key>": "let a finding stand",
    "POST /api/bills/<account_number>/<period>/forget": "forgot an erased bill",
}
Answer = str | AnyResponse
pages = Pages(__name__)


@pages.get("/", scope="ledger:read", client=True)
def home() -> str | Response:
    """The last closed month and what it came to; a client sees its own accepted bills."""
    if own_account() is not None:
        listing = overview.own_bills()
        return listing.csv() if listing.wants_csv else render_template("ledger/own_bills.html", listing=listing)
    return render_template("ledger/home.html", words=WORDS, **overview.overview(ledger().defaults.zone))


@pages.get("/unbilled", scope="ledger:read")
def unbilled() -> tuple[str, int]:
    """Who has no bill of a month, and why."""
    period = Period.parse(request.args.get("period", ""))
    try:
        found = overview.unbilled(ledger(), period, request.args.get("cursor", ""))
    except PeerError as error:
        return render_template("ledger/unbilled.html", period=period, fault=error), error.status
    return render_template("ledger/unbilled.html", period=period, **found), 200


def ledger() -> Ledger:
    """What the use cases need."""
    found: Ledger = current_app.extensions["hivematrix_ledger"]
    return found


def may(scope: str) -> bool:
    """Whether who asks may do more than read."""
    return scope in auth.caller().scopes
