"""The business page: it is made for a phone."""

from flask import render_template

from hivematrix_helm.routes.pages import Answer, pages, settings
from hivematrix_helm.services import dashboard


@pages.get("/business", scope="ledger:read")
def business() -> Answer:
    """Revenue, bills, hours, storage and its cost, as they were counted last."""
    return render_template("helm/business.html", found=dashboard.business_now(settings().current()))
