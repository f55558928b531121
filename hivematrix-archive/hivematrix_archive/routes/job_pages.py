"""Pages of jobs and schedule: have a month sealed, watch it, end it, say when it happens by itself."""

from typing import Any

from flask import Response, make_response, redirect, render_template, request, url_for
from hivematrix_common import audit, auth
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import Problem, from_domain
from pydantic import ValidationError
from werkzeug.wrappers import Response as AnyResponse

from hivematrix_archive.domain.bill import ACCOUNT
from hivematrix_archive.routes.jobs import wake
from hivematrix_archive.routes.pages import STATES, pages, zone
from hivematrix_archive.schemas import ScheduleChange
from hivematrix_archive.services import engine, history, schedule, session
from hivematrix_archive.services import jobs as use_cases

STOP_POLLING = 286  # htmx's own
Answer = str | AnyResponse


@pages.get("/jobs", scope="archive:read")
def jobs() -> Answer:
    found = history.listing(session())
    return found.csv() if found.wants_csv else _jobs(found, {}, {})


@pages.post("/jobs", scope="archive:seal")
def order_job() -> Answer:
    """Have a month sealed; the way leads to its progress."""
    said = {name: request.form.get(name, "").strip() for name in ("period", "accounts")}
    try:
        period, accounts = _ordered(said)
    except Problem as problem:
        fields = {fault.field: fault.message for fault in problem.fields}
        return make_response(_jobs(history.listing(session()), said, fields), problem.status)
    job_id = schedule.order(session(), period, accounts, auth.caller().name)
    audit.about(str(period), job=job_id)
    session().commit()
    wake()
    return redirect(url_for("pages.job", job_id=job_id), 303)


@pages.get("/jobs/<job_id>", scope="archive:read")
def job(job_id: str) -> Answer:
    state, found = history.progress(session(), job_id), history.results(session(), job_id)
    if found.wants_csv:
        return found.csv()
    shown = {"words": history.HAPPENED_WORDS, "states": STATES, "listing": found}
    return render_template("archive/job.html", **state, **shown)


@pages.get("/jobs/<job_id>/progress", scope="archive:read")
def job_progress(job_id: str) -> Answer:
    """The live part of the job's page; 286 when it has ended, and the page comes anew."""
    state = history.progress(session(), job_id)
    headers = {"Cache-Control": "no-store"} if state["goes_on"] else {"HX-Refresh": "true"}
    status = 200 if state["goes_on"] else STOP_POLLING
    return Response(render_template("archive/job_live.html", **state), status, headers)


@pages.post("/jobs/<job_id>/cancel", scope="archive:seal")
def cancel_job(job_id: str) -> Answer:
    audit.about(job_id)
    history.cancel(session(), engine(), job_id, auth.caller().name)
    return redirect(url_for("pages.job", job_id=job_id), 303)


@pages.get("/schedule", scope="archive:read")
def schedule_page() -> Answer:
    return _schedule({}, {})


@pages.post("/schedule", scope="archive:admin")
def change_schedule() -> Answer:
    said = _said_of_schedule()
    try:
        wanted = ScheduleChange.model_validate(said)
        audit.about("schedule", **{name: str(value) for name, value in said.items()})
        schedule.change(session(), wanted.model_dump(exclude_unset=True))
    except ValidationError as error:
        return make_response(_schedule(said, _faults(error)), 422)
    except Problem as problem:
        return make_response(_schedule(said, {f.field: f.message for f in problem.fields}), problem.status)
    return redirect(url_for("pages.schedule_page", changed="yes"), 303)


def _jobs(listing: Any, said: dict[str, str], fields: dict[str, str]) -> str:
    last = schedule.last_ended(zone())
    words = {"states": STATES, "kinds": history.KIND_WORDS}
    return render_template("archive/jobs.html", listing=listing, said=said, fields=fields, last=last, **words)


def _ordered(said: dict[str, str]) -> tuple[Period, list[str] | None]:
    try:
        period = Period.parse(said["period"])
        accounts = _accounts(said["accounts"])
    except DomainError as error:
        raise from_domain(error) from None
    use_cases.require_ended(period, zone())
    return period, accounts or None


def _accounts(text: str) -> list[str]:
    found = text.replace(",", " ").split()
    wrong = [one for one in found if not ACCOUNT.fullmatch(one)]
    if wrong:
        raise DomainError("accounts", f"expected account numbers such as 620547, got {wrong[0]}")
    return found


def _said_of_schedule() -> dict[str, Any]:
    form = request.form
    numbers = {
        name: int(text) if (text := form.get(name, "")).isdecimal() else text for name in ("day_of_month", "hour")
    }
    choices = {
        "enabled": form.get("enabled") == "yes",
        "snapshot_previous_month": form.get("month") != "same",
        "snapshot_all_companies": form.get("companies") != "some",
    }
    named = form.get("account_numbers", "").replace(",", " ").split()
    return numbers | choices | {"account_numbers": named or None}


def _faults(error: ValidationError) -> dict[str, str]:
    return {str(fault["loc"][0]): fault["msg"] for fault in error.errors()}


def _schedule(said: dict[str, Any], fields: dict[str, str]) -> str:
    planned = schedule.plan(session(), zone())
    changed = request.args.get("changed") == "yes" and not fields
    may_change = "archive:admin" in auth.caller().scopes
    shown = {"said": said, "fields": fields, "changed": changed, "may_change": may_change}
    return render_template("archive/schedule.html", **planned, **shown)
