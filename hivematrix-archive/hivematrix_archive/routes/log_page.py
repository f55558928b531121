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
    keys = log.keys(current_app.extensions["hivematrix_outside"]).splitlines() if tip else []
    shown = {"tip": tip, "keys": keys, "verified": growth.verified(session())}
    return render_template("archive/log.html", listing=listing, **shown)
