"""Helm's composition root."""

from hivematrix_common.database import init_database
from hivematrix_common.health import init_health
from hivematrix_common.web import App, new_app

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.models import db
from hivematrix_helm.routes.api import api


def create_app(settings: HelmSettings | None = None) -> App:
    settings = settings or HelmSettings.load()
    app = new_app(settings, __package__, "HiveMatrix Helm")
    init_database(app, db, settings)
    init_health(app, ("codex", "ledger", "archive"))
    app.register_api(api)
    return app
