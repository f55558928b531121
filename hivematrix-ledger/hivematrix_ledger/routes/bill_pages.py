"""Pages of one company's bill: what was found, the lines and why, what changed, its hours; accepting it."""

import re
from typing import Any

from flask import make_response, redirect, render_template, request, url_for
from hivematrix_common import audit, auth
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.period import Period
from hivematrix_common.schemas import ACCOUNT, told
from pydantic import ValidationError

from hivematrix_ledger.routes.pages import Answer, ledger, may, pages
from hivematrix_ledger.schemas.insight import Acknowledge
from hivematrix_ledger.services import company, leaking, no_company
from hivematrix_ledger.services.acceptance import Asked


@pages.get("/bills/<account_number>/<period>", scope="ledger:read", client="account_number")
def bill(account_number: str, period: str) -> str:
    """A company's bill of a month: the sealed one, or what it would be now."""
    return _bill(account_number, month_of(account_number, period))


@pages.get("/bills/<account_number>/<period>/why/<int:place>", scope="ledger:read", client="account_number")
def why(account_number: str, period: str, place: int) -> str:
    """Why a group of lines costs what it costs; the part alone for a page that opens it in place."""
    found = company.why(ledger(), account_number, month_of(account_number, period), place)
    part = "HX-Request" in request.headers
    return render_template("ledger/why_part.html" if part else "ledger/why.html", **found)


@pages.get("/bills/<account_number>/<period>/lines", scope="ledger:read", client="account_number")
def bill_lines(account_number: str, period: str) -> Answer:
    body, listing = company.lines(ledger(), account_number, month_of(account_number, period))
    return listing.csv() if listing.wants_csv else render_template("ledger/lines.html", body=body, listing=listing)


@pages.get("/bills/<account_number>/<period>/changes", scope="ledger:read", client="account_number")
def bill_changes(account_number: str, period: str) -> Answer:
    """Every change against another month: the one before, unless `with` names one."""
    month, text = month_of(account_number, period), request.args.get("with", "").strip()
    other, fault = month.plus(-1), ""
    try:
        other = Period.parse(text, "with") if text else other
    except DomainError as error:
        fault = error.message
    found = company.compared(ledger(), account_number, month, other)
    listing = company.changes(found) if found else None
    if listing and listing.wants_csv:
        return listing.csv()
    shown = {"account": account_number, "period": month, "other": other, "found": found, "listing": listing}
    page = render_template("ledger/changes.html", said=text, fault=fault, **shown)
    return make_response(page, 422 if fault else 200)


@pages.get("/bills/<account_number>/<period>/hours", scope="ledger:read", client="account_number")
def hours_bank(account_number: str, period: str) -> str:
    """The hours bank, entry by entry, of the twelve months up to this one."""
    month = month_of(account_number, period)
    return render_template("ledger/hours.html", **company.hours_bank(ledger(), account_number, month))


@pages.post("/bills/<account_number>/<period>/findings/<key>", scope="ledger:write")
def acknowledge_finding(account_number: str, period: str, key: str) -> Answer:
    """Let a finding stand, with the reason."""
    month, said = month_of(account_number, period), request.form.get("reason", "").strip()
    try:
        reason = Acknowledge.model_validate({"reason": said}).reason
    except ValidationError as error:
        fault = "Say why it may stand." if not said else told(error.errors()[0])
        return make_response(_bill(account_number, month, faulty=key, said=said, fault=fault), 422)
    leaking.acknowledge(ledger(), account_number, month, key, reason=reason, by=auth.caller().name)
    return _back(account_number, month, "findings")


@pages.post("/bills/<account_number>/<period>/accept", scope="ledger:accept")
def accept_bill(account_number: str, period: str) -> Answer:
    """Accept the bill that was shown; one that changed meanwhile is shown with what differs."""
    month, digest = month_of(account_number, period), request.form.get("digest", "")
    audit.about(f"{account_number} {month}")
    asked = Asked(month, auth.caller().name, None, {account_number: digest})
    result = company.accept(ledger(), asked, account_number)
    if result.status in {"sealed", "already"}:
        return _back(account_number, month, "main")
    status = result.problem.status if result.problem else 409
    return make_response(_bill(account_number, month, refused=result), status)


def month_of(account: str, period: str) -> Period:
    """The month of a page's address; what cannot be an account number is of no company."""
    if not re.fullmatch(ACCOUNT, account):
        raise no_company(account)
    return Period.parse(period)


def _bill(account: str, period: Period, **more: Any) -> str:
    rights = {"may_accept": may("ledger:accept"), "may_write": may("ledger:write")}
    return render_template("ledger/bill.html", **company.page(ledger(), account, period), **rights, **more)


def _back(account: str, period: Period, part: str) -> Answer:
    address = url_for("pages.bill", account_number=account, period=str(period), _anchor=part)
    return redirect(address, 303)
