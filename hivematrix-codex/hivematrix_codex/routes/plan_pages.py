"""Pages of plans: all of them, one with its versions and what it charged when."""

from flask import render_template
from hivematrix_common import auth
from werkzeug.wrappers import Response as AnyResponse

from hivematrix_codex.routes.facts import today
from hivematrix_codex.routes.pages import pages
from hivematrix_codex.services import listings
from hivematrix_codex.services import plans as use_case

Answer = str | AnyResponse


@pages.get("/plans", scope="codex:read")
def plans() -> Answer:
    listing = listings.plans()
    if listing.wants_csv:
        return listing.csv()
    may_write = "codex:write" in auth.caller().scopes
    shown = {"shown": listings.shown, "never": listings.NEVER}
    return render_template("codex/plans.html", listing=listing, may_write=may_write, **shown)


@pages.get("/plans/<path:plan_name>/<term>", scope="codex:read")
def plan(plan_name: str, term: str) -> Answer:
    """Its versions, what each charges, and how prices went."""
    found = use_case.of_page(plan_name, term, today())
    may_write = "codex:write" in auth.caller().scopes
    named = {"plan_name": plan_name, "term": term, "shown": listings.shown}
    return render_template("codex/plan.html", may_write=may_write, **named, **found)
