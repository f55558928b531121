"""Archive's composition root."""

from hivematrix_common import audit_feed
from hivematrix_common.database import init_database
from hivematrix_common.health import init_health
from hivematrix_common.pages import init_pages
from hivematrix_common.peers import PeerSource
from hivematrix_common.sessions import init_sessions
from hivematrix_common.web import App, new_app

from hivematrix_archive.config import ArchiveSettings
from hivematrix_archive.models import db
from hivematrix_archive.routes import growth, invoice, job_pages, jobs, log, log_page, search
from hivematrix_archive.routes.api import api
from hivematrix_archive.routes.pages import pages
from hivematrix_archive.store.outside import Outside

# Importing them puts their pages into the table.
PAGE_MODULES = (invoice, job_pages, log_page, search)
PAGES = (
    ("Overview", "pages.home"),
    ("Search", "pages.find"),
    ("Jobs", "pages.jobs"),
    ("Schedule", "pages.schedule_page"),
    ("Log", "pages.log_page"),
)


def create_app(settings: ArchiveSettings | None = None) -> App:
    settings = settings or ArchiveSettings.load()
    app = new_app(settings, __package__, "HiveMatrix Archive")
    init_sessions(app, PeerSource(settings))
    app.extensions["hivematrix_outside"] = Outside(settings.home)
    init_database(app, db, settings)
    init_health(app, peers=("codex", "ledger"))
    app.register_api(api)
    app.register_api(jobs.api)
    app.register_api(search.api)
    app.register_api(growth.api)
    app.register_api(audit_feed.api)
    app.register_api(log.make_api(public=settings.log.public_log))
    init_pages(app, settings, pages, PAGES)
    return app
