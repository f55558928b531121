"""The page of the log: how large it is, who signed what, and when everything was verified last."""

from flask import current_app, render_template

from hivematrix_archive.routes.job_pages import Answer
from hivematrix_archive.routes.pages import pages
from hivematrix_archive.services import growth, log, overview, session


@pages.get("/log", scope="archive:read")
def log_page() -> Answer:
    listing = growth.listing(session())
    if listing.wants_csv:
        return listing.csv()
    tip = overview.newest(session())
    outside = current_app.extensions["hivematrix_outside"]
    shown = {
        "tip": tip,
        "keys": log.keys(outside).splitlines() if tip else [],
        "verified": growth.verified(session()),
        "fault": log.fault(session(), outside),
    }
    return render_template("archive/log.html", listing=listing, **shown)
