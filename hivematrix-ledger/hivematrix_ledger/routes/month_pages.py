"""Pages of months: the list, the board, what was found on bills, and having a month accepted batch by batch."""

from typing import Any

from flask import Response, current_app, make_response, redirect, render_template, request, url_for
from hivematrix_common import auth
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import Problem
from hivematrix_common.tables import csv_file

from hivematrix_ledger.routes.pages import Answer, ledger, may, pages
from hivematrix_ledger.services import background, closing
from hivematrix_ledger.services import month as use_case

STOP_POLLING = 286  # htmx's own
STATES = {
    "sealed": ("ok", "sealed"),
    "open": ("wait", None),
    "findings": ("warn", None),
    "sealing": ("busy", None),
    "unrecorded": ("busy", None),
    "unbillable": ("bad", None),
    "erased": ("unknown", "off"),
    "skipped": ("unknown", "off"),
}


@pages.get("/months", scope="ledger:read")
def months() -> str:
    return render_template("ledger/months.html", **use_case.list_months(ledger()))


@pages.get("/months/<period>", scope="ledger:read")
def month(period: str) -> Answer:
    """The month's board; its table is sorted, filtered and paged by the address."""
    wanted = Period.parse(period)
    found = use_case.month(ledger(), wanted)
    listing = found["listing"]
    if listing.wants_csv:
        return csv_file(f"bills-{wanted}", use_case.CSV, listing.rows)
    shown = {"look": STATES, "words": use_case.STATE_WORDS, "kinds": use_case.KIND_WORDS, "chips": _chips(found)}
    shown |= {"sparks": use_case.sparks(listing, wanted), "at_work": closing.at_work(wanted)}
    return render_template("ledger/month.html", may_accept=may("ledger:accept"), **found, **shown)


@pages.get("/findings", scope="ledger:read")
def findings() -> str:
    """What was found on the bills of a month, a page of companies at a time."""
    text = request.args.get("period", "").strip()
    period = Period.parse(text) if text else use_case.last_ended(ledger())
    found = use_case.found_on_bills(ledger(), period, request.args.get("cursor", ""))
    return render_template("ledger/findings.html", may_write=may("ledger:write"), **found)


@pages.get("/months/<period>/accept", scope="ledger:accept")
def accept_month(period: str) -> str:
    """Lists what accepting the whole month would seal; nothing is accepted yet."""
    return render_template("ledger/accept.html", **closing.plan(ledger(), Period.parse(period)))


@pages.post("/months/<period>/accept", scope="ledger:accept")
def accept_month_now(period: str) -> Answer:
    """Accept what was listed; the way leads to its progress."""
    found = closing.plan(ledger(), Period.parse(period))
    try:
        run_id = closing.order(found, request.form.get("shown", ""), auth.caller().name)
    except Problem as problem:
        return make_response(render_template("ledger/accept.html", changed=problem.detail, **found), problem.status)
    if run_id is None:
        return redirect(url_for("pages.month", period=period), 303)
    return _worked_on(period, run_id)


@pages.get("/months/<period>/runs/<int:run_id>", scope="ledger:read")
def run(period: str, run_id: int) -> str:
    state = closing.progress(Period.parse(period), run_id)
    return render_template("ledger/run.html", may_accept=may("ledger:accept"), **state)


@pages.get("/months/<period>/runs/<int:run_id>/progress", scope="ledger:read")
def run_progress(period: str, run_id: int) -> Answer:
    """The live part of the run's page; 286 when it has ended, and the page comes anew."""
    state = closing.progress(Period.parse(period), run_id)
    headers = {"Cache-Control": "no-store"} if state["goes_on"] else {"HX-Refresh": "true"}
    page = render_template("ledger/run_live.html", may_accept=may("ledger:accept"), **state)
    return Response(page, 200 if state["goes_on"] else STOP_POLLING, headers)


@pages.post("/months/<period>/runs/<int:run_id>/cancel", scope="ledger:accept")
def cancel_run(period: str, run_id: int) -> Answer:
    closing.cancel(Period.parse(period), run_id, auth.caller().name)
    return redirect(url_for("pages.run", period=period, run_id=run_id), 303)


@pages.post("/months/<period>/runs/<int:run_id>/resume", scope="ledger:accept")
def resume_run(period: str, run_id: int) -> Answer:
    """Go on with a run whose process is gone."""
    closing.progress(Period.parse(period), run_id)
    return _worked_on(period, run_id)


def _worked_on(period: str, run_id: int) -> Answer:
    background.start(current_app._get_current_object(), run_id)  # type: ignore[attr-defined]  # noqa: SLF001 - the thread's
    return redirect(url_for("pages.run", period=period, run_id=run_id), 303)


def _chips(found: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """The states that companies are in, each with its number and the address of the board with these alone."""
    chosen = found["listing"].chosen["state"]

    def chip(word: str, state: str) -> tuple[str, str, bool]:
        address = url_for("pages.month", period=str(found["period"]), state=state or None)
        return word, address, state == chosen

    states = ((f"{found['states'][s]:,} {word.lower()}", s) for s, word in use_case.STATE_WORDS.items())
    counted = [chip(word, state) for word, state in states if found["states"][state]]
    return [chip(f"All {found['companies']:,}", ""), *counted]
