"""Ledger's composition root."""

from hivematrix_common import audit_feed
from hivematrix_common.database import init_database
from hivematrix_common.health import init_health
from hivematrix_common.pages import init_pages
from hivematrix_common.peers import PeerSource
from hivematrix_common.sessions import init_sessions
from hivematrix_common.web import App, new_app

from hivematrix_ledger.config import LedgerSettings
from hivematrix_ledger.models import db
from hivematrix_ledger.routes import (
    bill_pages,
    correct_pages,
    documents,
    insight,
    month_pages,
    override_pages,
    overrides,
    what_if_pages,
)
from hivematrix_ledger.routes.api import api
from hivematrix_ledger.routes.pages import pages
from hivematrix_ledger.services import Ledger

# Importing them puts their pages into the table.
PAGE_MODULES = (bill_pages, correct_pages, month_pages, override_pages, what_if_pages)
PAGES = (
    ("Overview", "pages.home"),
    ("Months", "pages.months"),
    ("Findings", "pages.findings"),
    ("Overrides", "pages.companies"),
    ("What if", "pages.what_if"),
)


def create_app(settings: LedgerSettings | None = None) -> App:
    settings = settings or LedgerSettings.load()
    app = new_app(settings, __package__, "HiveMatrix Ledger")
    init_sessions(app, PeerSource(settings))
    init_database(app, db, settings)
    init_health(app, peers=("codex", "archive"))
    app.extensions["hivematrix_ledger"] = Ledger.of(settings)
    app.register_api(api)
    app.register_api(documents.api)
    app.register_api(insight.api)
    app.register_api(overrides.api)
    app.register_api(audit_feed.api)
    init_pages(app, settings, pages, PAGES)
    return app
