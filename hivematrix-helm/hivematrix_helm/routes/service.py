"""A service's page: what it is doing, how it was, and what it wrote last."""

from typing import Any

from flask import redirect, render_template, request
from hivematrix_common import auth
from hivematrix_common.errors import Problem

from hivematrix_helm.domain.loglines import Filter
from hivematrix_helm.routes.pages import Answer, own_url, pages, settings
from hivematrix_helm.routes.status import day_words
from hivematrix_helm.services import history, logs, mesh, planned

LINES = 20
NOTICES = {action: f"The service is {doing}." for action, doing in mesh.ACTIONS.items()}


@pages.get("/services/<service>", scope="helm:read")
def service(service: str) -> Answer:
    """Its state, its last 90 days, its answer times, its incidents and its last lines."""
    status = mesh.status(settings(), service)
    return render_template(
        "helm/service.html",
        row=status,
        health=next(one for one in history.summaries(settings()) if one["service"] == service),
        bars=[(f"{day_words(one.day)}: {one.words}", one.kind) for one in history.bars(service)],
        pace=history.pace(service),
        incidents=[one for one in planned.incidents() if one["service"] == service],
        lines=[entry.as_json() for entry in reversed(logs.entries(settings().home, service, Filter(), LINES))],
        notice=NOTICES.get(request.args.get("done", ""), ""),
        operates="helm:operate" in auth.caller().scopes,
    )


@pages.post("/services/<service>/<action>", scope="helm:operate")
def operate_service(service: str, action: str) -> Answer:
    """Start, stop or restart it."""
    if action not in mesh.ACTIONS:
        raise Problem("not_found", f"There is nothing to do such as {action}; there are {', '.join(mesh.ACTIONS)}.")
    done: dict[str, Any] = mesh.operate(settings(), action, service, auth.caller().name)
    assert done["success"]
    return redirect(own_url(f"/services/{service}?done={action}"), 303)
