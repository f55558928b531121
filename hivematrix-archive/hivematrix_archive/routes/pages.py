"""Archive's pages. `/` answers programs with JSON (routes/api.py) and sends people here."""

from flask import Response, current_app, render_template
from hivematrix_common.database import own_account
from hivematrix_common.pages import Pages

from hivematrix_archive.services import overview, session

WORDS = {
    "POST /api/snapshot": "sealed a bill",
    "POST /api/snapshots/batch": "sealed bills",
    "POST /api/snapshots/bulk/create": "ordered a month's sealing",
    "POST /api/scheduler/config": "changed the schedule",
}
STATUS = {
    "completed": ("ok", "Done"),
    "failed": ("bad", "Failed"),
    "running": ("busy", "Running"),
    "queued": ("wait", "Queued"),
    "retrying": ("warn", "Will be tried again"),
}
pages = Pages(__name__)


@pages.get("/overview", scope="archive:read", client=True)
def home() -> str | Response:
    """What is sealed, and by which checkpoint it is proved; a client sees its own documents."""
    if own_account() is not None:
        listing = overview.own_documents(session())
        return listing.csv() if listing.wants_csv else render_template("archive/own_documents.html", listing=listing)
    zone = current_app.settings.billing.timezone  # type: ignore[attr-defined]
    return render_template("archive/home.html", words=WORDS, states=STATUS, **overview.overview(session(), zone))
