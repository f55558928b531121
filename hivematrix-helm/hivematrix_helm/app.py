"""Helm's composition root."""

from hivematrix_common import audit_feed
from hivematrix_common.database import init_database
from hivematrix_common.health import init_health
from hivematrix_common.pages import init_pages
from hivematrix_common.sessions import init_sessions
from hivematrix_common.web import App, new_app

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.models import db
from hivematrix_helm.routes import (
    account,
    administration,
    alert_pages,
    alerts,
    api,
    audit,
    backups,
    business,
    charts,
    events,
    events_api,
    service,
    sessions,
    sign_in,
    status,
    tokens,
    users,
)
from hivematrix_helm.routes.pages import pages
from hivematrix_helm.services.sessions import LocalSource
from hivematrix_helm.services.status import Board

# Importing them puts their pages into the table.
PAGE_MODULES = (sign_in, account, administration, backups, status, service, events, charts, alert_pages, business)
# As many threads work on what Helm does by itself.
ROUNDS = 8
PAGES = (
    ("Overview", "pages.home"),
    ("Alerts", "pages.alerts"),
    ("Metrics", "pages.charts"),
    ("Business", "pages.business"),
    ("What happened", "pages.events"),
    ("Backups", "pages.backups"),
    ("People", "pages.users"),
    ("Tokens", "pages.tokens"),
)


def create_app(settings: HelmSettings | None = None) -> App:
    settings = settings or HelmSettings.load()
    app = new_app(settings, __package__, "HiveMatrix Helm")
    init_database(app, db, settings, confined=False, background=ROUNDS)  # nothing here is a company's
    init_health(app, ("codex", "ledger", "archive"))
    init_sessions(app, LocalSource(settings))
    app.extensions["helm_board"] = Board(settings)
    init_pages(app, settings, pages, PAGES)
    for module in (api, users, tokens, sessions, audit, events_api, charts, alerts, audit_feed):
        app.register_api(module.api)
    return app
