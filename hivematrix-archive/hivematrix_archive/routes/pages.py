"""Archive's pages. `/` answers programs with JSON (routes/api.py) and sends people here."""

from zoneinfo import ZoneInfo

from flask import Response, current_app, render_template
from hivematrix_common.database import own_account
from hivematrix_common.pages import Pages

from hivematrix_archive.domain.jobs import Status
from hivematrix_archive.services import history, overview, session

WORDS = {
    "POST /api/snapshot": "sealed a bill",
    "POST /api/snapshots/batch": "sealed bills",
    "POST /api/snapshots/bulk/create": "ordered a month's sealing",
    "POST /api/scheduler/config": "changed the schedule",
    "POST /api/scheduler/jobs/<job_id>/cancel": "cancelled a job",
    "POST /jobs": "ordered a month's sealing",
    "POST /jobs/<job_id>/cancel": "cancelled a job",
    "POST /schedule": "changed the schedule",
    "sealing job": "ran a sealing job",
}
_SHAPES = {
    Status.COMPLETED: "ok",
    Status.FAILED: "bad",
    Status.RUNNING: "busy",
    Status.QUEUED: "wait",
    Status.RETRYING: "warn",
    Status.CANCELLED: "unknown",
}
STATES = {str(status): (shape, history.STATUS_WORDS[status]) for status, shape in _SHAPES.items()}
pages = Pages(__name__)


@pages.get("/overview", scope="archive:read", client=True)
def home() -> str | Response:
    """What is sealed, and by which checkpoint it is proved; a client sees its own documents."""
    own = own_account()
    if own is not None:
        listing = overview.own_documents(session(), own)
        return listing.csv() if listing.wants_csv else render_template("archive/own_documents.html", listing=listing)
    return render_template("archive/home.html", words=WORDS, states=STATES, **overview.overview(session(), zone()))


def zone() -> ZoneInfo:
    """The billing time zone."""
    found: ZoneInfo = current_app.settings.billing.timezone  # type: ignore[attr-defined]
    return found
