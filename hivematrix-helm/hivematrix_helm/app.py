"""Helm's composition root."""

from hivematrix_common import audit_feed
from hivematrix_common.database import init_database
from hivematrix_common.health import init_health
from hivematrix_common.pages import init_pages
from hivematrix_common.sessions import init_sessions
from hivematrix_common.web import App, new_app

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.models import db
from hivematrix_helm.routes import account, administration, api, audit, backups, sessions, sign_in, tokens, users
from hivematrix_helm.routes.pages import pages
from hivematrix_helm.services.sessions import LocalSource

# Importing them puts their pages into the table.
PAGE_MODULES = (sign_in, account, administration, backups)
PAGES = (
    ("Overview", "pages.home"),
    ("Backups", "pages.backups"),
    ("People", "pages.users"),
    ("Tokens", "pages.tokens"),
)


def create_app(settings: HelmSettings | None = None) -> App:
    settings = settings or HelmSettings.load()
    app = new_app(settings, __package__, "HiveMatrix Helm")
    init_database(app, db, settings, confined=False)  # nothing here is a company's
    init_health(app, ("codex", "ledger", "archive"))
    init_sessions(app, LocalSource(settings))
    init_pages(app, settings, pages, PAGES)
    for module in (api, users, tokens, sessions, audit, audit_feed):
        app.register_api(module.api)
    return app
