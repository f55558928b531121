"""The page on which a sealed invoice is corrected: what is chosen, what it would change, and sealing just that."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from flask import make_response, redirect, render_template, request, url_for
from hivematrix_common import auth
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import Problem
from hivematrix_common.schemas import told
from pydantic import ValidationError

from hivematrix_ledger.domain.corrections import Order
from hivematrix_ledger.routes.bill_pages import month_of
from hivematrix_ledger.routes.pages import Answer, ledger, pages
from hivematrix_ledger.schemas import CorrectBody
from hivematrix_ledger.services import corrections
from hivematrix_ledger.services.corrections import Asked

HOW: Final = {
    "lines": "Credit the lines marked below",
    "all": "Credit all that is left of it",
    "replace": "Replace it by the bill of the facts as they are today",
}
# Their reasons are told on the page; what else fails has a page of its own.
_REFUSALS: Final = {"conflict", "invalid", "digest_mismatch"}


@pages.get("/bills/<account_number>/<period>/correct", scope="ledger:accept")
def correct_bill(account_number: str, period: str) -> Answer:
    """What can be corrected and, once it is chosen, what would be sealed. Its answer has an address."""
    return _page(account_number, month_of(account_number, period), request.args.get("how", ""), _lines(request.args))


@pages.post("/bills/<account_number>/<period>/correct", scope="ledger:accept")
def correct_bill_now(account_number: str, period: str) -> Answer:
    """Seal what was shown; pressed twice it is sealed once."""
    month, how, lines = month_of(account_number, period), request.form.get("how", ""), _lines(request.form)
    reason = request.form.get("reason", "").strip()
    said = {"reason": reason}
    try:
        body = CorrectBody.model_validate({"mode": _mode(how), "reason": reason, "lines": _chosen(how, lines)})
    except ValidationError as error:
        fault = told(error.errors()[0]) if reason else "Say why; the customer reads it on the document."
        return make_response(_page(account_number, month, how, lines, fault=fault, **said), 422)
    order = Order(body.mode, body.reason, None if body.lines is None else tuple(body.lines))
    asked = Asked(account_number, month, order, auth.caller().name, request.form.get("shown", ""))
    try:
        corrections.correct_unkeyed(ledger(), asked)
    except Problem as problem:
        if problem.code not in _REFUSALS:
            raise
        return make_response(_page(account_number, month, how, lines, refused=problem.detail, **said), problem.status)
    return redirect(url_for("pages.bill", account_number=account_number, period=period, _anchor="corrections"), 303)


def _page(account: str, period: Period, how: str, lines: Sequence[int], **more: Any) -> Answer:
    standing = corrections.standing_of(ledger(), account, period)
    shown = {"account": account, "period": period, "standing": standing, "how": how, "chosen": lines, "words": HOW}
    shown["amount"] = Decimal
    status, preview = 200, None
    if how == "lines" and not lines:
        more |= {"unmarked": "Mark at least one line."}
        status = 422
    elif how in HOW:
        try:
            preview = corrections.preview(ledger(), _asked(account, period, how, lines))
        except Problem as problem:
            if problem.code not in _REFUSALS:
                raise
            more.setdefault("refused", problem.detail)
            status = problem.status
    return make_response(render_template("ledger/correct.html", preview=preview, **shown, **more), status)


def _asked(account: str, period: Period, how: str, lines: Sequence[int]) -> Asked:
    """As it will be asked for, but for the reason."""
    chosen = _chosen(how, lines)
    return Asked(account, period, Order(_mode(how), "preview", None if chosen is None else tuple(chosen)), "")


def _mode(how: str) -> str:
    return "replace" if how == "replace" else "credit"


def _chosen(how: str, lines: Sequence[int]) -> Sequence[int] | None:
    return lines if how == "lines" else None


def _lines(said: Any) -> list[int]:
    return [int(place) for place in said.getlist("lines") if place.isdecimal() and place.isascii()]
