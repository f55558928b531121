"""What happened and what is planned: incidents with their words for everybody, and planned work."""

from typing import Any

from flask import redirect, render_template, request
from hivematrix_common import auth
from hivematrix_common.errors import Problem

from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.routes.listings import INCIDENTS
from hivematrix_helm.routes.pages import Answer, own_url, pages, refused
from hivematrix_helm.services import planned

NOTICES = {
    "planned": "The work is on the status page. Alerts of these services are not sent while it goes on.",
    "withdrawn": "The work is taken back.",
    "told": "The status page says so now.",
}


@pages.get("/events", scope="helm:read")
def events() -> Answer:
    shown = _shown()
    listing = shown["listing"]
    return listing.csv() if listing.wants_csv else render_template("helm/events.html", **shown)


@pages.post("/events/planned", scope="helm:operate")
def plan_work() -> Answer:
    said = {name: request.form.get(name, "") for name in ("begins", "ends", "title", "told")}
    services = request.form.getlist("services")
    try:
        planned.plan(**said, services=services, by=auth.caller().name)
    except Problem as problem:
        return refused("helm/events.html", problem, **_shown() | {"said": {**said, "services": services}})
    return _done("planned")


@pages.post("/events/planned/<int:number>/withdraw", scope="helm:operate")
def withdraw_work(number: int) -> Answer:
    planned.withdraw(number)
    return _done("withdrawn")


@pages.post("/events/incidents/<int:number>", scope="helm:operate")
def tell_incident(number: int) -> Answer:
    """Say in words for everybody what it was."""
    try:
        planned.tell(number, request.form.get("title", ""), request.form.get("told", ""))
    except Problem as problem:
        return refused("helm/events.html", problem, **_shown())
    return _done("told")


def _done(what: str) -> Answer:
    return redirect(own_url(f"/events?done={what}"), 303)


def _shown() -> dict[str, Any]:
    rows = [row | {"key": f"{row['id']:019}", "state": _state(row)} for row in planned.incidents()]
    return {
        "listing": INCIDENTS.of_rows(rows),
        "works": planned.works(),
        "services": SERVICES,
        "said": {},
        "fields": {},
        "notice": NOTICES.get(request.args.get("done", ""), ""),
        "operates": "helm:operate" in auth.caller().scopes,
    }


def _state(row: dict[str, Any]) -> str:
    return "over" if row["ended_at"] else "going on"
