"""Codex's composition root."""

from hivematrix_common import audit_feed
from hivematrix_common.database import init_database
from hivematrix_common.health import init_health
from hivematrix_common.pages import init_pages
from hivematrix_common.peers import PeerSource
from hivematrix_common.sessions import init_sessions
from hivematrix_common.web import App, new_app

from hivematrix_codex.config import CodexSettings
from hivematrix_codex.models import db
from hivematrix_codex.routes import (
    api,
    company_pages,
    edit_pages,
    facts,
    import_pages,
    lists,
    plan_pages,
    plans,
    sync,
    sync_pages,
)
from hivematrix_codex.routes.pages import pages

# Importing them puts their pages into the table.
PAGE_MODULES = (company_pages, edit_pages, import_pages, plan_pages, sync_pages)
PAGES = (
    *(("Overview", "pages.home"), ("Companies", "pages.companies"), ("Contacts", "pages.contacts")),
    *(("Assets", "pages.assets"), ("Tickets", "pages.tickets"), ("What waits", "pages.waiting")),
    *(("Plans", "pages.plans"), ("Search", "pages.find"), ("Sync", "pages.sync_page")),
    ("Import", "pages.import_page"),
)


def create_app(settings: CodexSettings | None = None) -> App:
    settings = settings or CodexSettings.load()
    app = new_app(settings, __package__, "HiveMatrix Codex")
    init_sessions(app, PeerSource(settings))
    init_database(app, db, settings)
    init_health(app)
    for routes in (api, facts, lists, plans, sync):
        app.register_api(routes.api)
    app.register_api(audit_feed.api)
    init_pages(app, settings, pages, PAGES)
    return app
