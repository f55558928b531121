"""The sync centre: how each provider stands, what a sync did or would do, and its progress."""

from typing import Any

from flask import Response, redirect, render_template, request, url_for
from hivematrix_common import audit, auth
from werkzeug.wrappers import Response as AnyResponse

from hivematrix_codex.routes.pages import pages
from hivematrix_codex.routes.sync import settings, wake
from hivematrix_codex.services import sync_centre

STOP_POLLING = 286  # htmx's own
SHOWN = 30
STATES = {
    "queued": ("wait", "waits for its turn"),
    "running": ("busy", "is running"),
    "completed": ("ok", "done"),
    "partial": ("warn", "done in part"),
    "stopped": ("warn", "stopped and asks"),
    "failed": ("bad", "failed"),
}
MODES = {"incremental": "what changed", "full": "everything", "wanted": "tickets that were named"}
ACTS = {
    "add": "added",
    "change": "changed",
    "return": "back again",
    "retire": "retired",
    "conflict": "left as it is",
}


@pages.get("/sync", scope="codex:read")
def sync_page() -> str:
    shown = {"providers": sync_centre.providers(settings()), "jobs": sync_centre.jobs(SHOWN)}
    return render_template("codex/sync.html", **shown, **_words())


@pages.post("/sync", scope="codex:write")
def order_sync() -> AnyResponse:
    """Have a sync made; the way leads to its progress."""
    form = request.form
    number = form.get("accept_retirements", "0")
    job_id = sync_centre.order(
        settings(),
        form.get("provider", ""),
        full=form.get("mode") == "full",
        dry_run=form.get("dry_run") == "yes",
        accepted=int(number) if number.isdecimal() and len(number) < 8 else 0,  # noqa: PLR2004
        asked_by=auth.caller().name,
    )
    audit.about(form.get("provider", ""), job=job_id)
    wake()
    return redirect(url_for("pages.sync_job", job_id=job_id), 303)


@pages.get("/sync/<job_id>", scope="codex:read")
def sync_job(job_id: str) -> str:
    return render_template("codex/sync_job.html", **_state(job_id))


@pages.get("/sync/<job_id>/progress", scope="codex:read")
def sync_progress(job_id: str) -> Response:
    """The live part of the sync's page; 286 when it has ended, and the page comes anew."""
    state = _state(job_id)
    headers = {"Cache-Control": "no-store"} if state["goes_on"] else {"HX-Refresh": "true"}
    return Response(
        render_template("codex/sync_live.html", **state), 200 if state["goes_on"] else STOP_POLLING, headers
    )


def _state(job_id: str) -> dict[str, Any]:
    job = sync_centre.job(job_id)
    goes_on = job["status"] in sync_centre.UNFINISHED
    return {"job": job, "goes_on": goes_on, "retirements": sync_centre.retirements(job), **_words()}


def _words() -> dict[str, Any]:
    return {"states": STATES, "modes": MODES, "acts": ACTS, "may_sync": "codex:write" in auth.caller().scopes}
