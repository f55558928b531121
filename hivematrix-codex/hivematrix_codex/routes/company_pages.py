"""Pages of companies and what belongs to them: lists across all, one company with its tabs, search, what waits."""

from typing import Any

from flask import make_response, render_template, request
from hivematrix_common import auth, cells
from hivematrix_common.database import own_account
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.errors import Problem
from hivematrix_common.tables import Listing
from werkzeug.wrappers import Response as AnyResponse

from hivematrix_codex import services
from hivematrix_codex.routes.facts import today, zone
from hivematrix_codex.routes.pages import pages
from hivematrix_codex.services import company_page, history, listings, search, sla

Answer = str | AnyResponse
BASE = "/companies/<account_number>"
FOUND = 20


@pages.get("/companies", scope="codex:read")
def companies() -> Answer:
    return _listed(listings.companies(), "companies", "Companies", "Whose facts are held here.")


@pages.get("/contacts", scope="codex:read")
def contacts() -> Answer:
    return _listed(listings.of_kind("contacts", None, today()), "contacts", "Contacts", "The people of all companies.")


@pages.get("/assets", scope="codex:read")
def assets() -> Answer:
    return _listed(listings.of_kind("assets", None, today()), "assets", "Assets", "The machines of all companies.")


@pages.get("/tickets", scope="codex:read")
def tickets() -> Answer:
    text = "Tickets of all companies, the newest first. Words in them are found by the search."
    return _listed(listings.of_kind("tickets", None, today()), "tickets", "Tickets", text)


@pages.get("/waiting", scope="codex:read")
def waiting() -> Answer:
    """Open tickets by who has to act, and what was last heard of machines."""
    group, agent = (request.args.get(name, "").strip()[:200] or None for name in ("group", "agent"))
    found = sla.waiting(group, agent)
    return render_template("codex/waiting.html", found=found, devices=sla.devices(zone()), group=group, agent=agent)


@pages.get("/search", scope="codex:read", client=True)
def find() -> Answer:
    """Across companies, contacts, assets and tickets; a client searches its own company."""
    said = request.args.get("q", "").strip()[:200].replace("\0", "")
    found = search.search(said, None, FOUND) if said else None
    return render_template("codex/search.html", said=said, found=found, own=own_account())


@pages.get(BASE, scope="codex:read", client="account_number")
def company(account_number: str) -> Answer:
    """What is known of a company, and what was changed lately."""
    head = _head(account_number)
    shown = company_page.overview(account_number, internal=own_account() is None)
    return render_template("codex/company.html", **head, **shown)


@pages.get(f"{BASE}/contacts", scope="codex:read", client="account_number")
def company_contacts(account_number: str) -> Answer:
    return _part(account_number, listings.of_kind("contacts", account_number, today()))


@pages.get(f"{BASE}/assets", scope="codex:read", client="account_number")
def company_assets(account_number: str) -> Answer:
    return _part(account_number, listings.of_kind("assets", account_number, today()))


@pages.get(f"{BASE}/tickets", scope="codex:read", client="account_number")
def company_tickets(account_number: str) -> Answer:
    return _part(account_number, listings.of_kind("tickets", account_number, today()))


@pages.get(f"{BASE}/hours", scope="codex:read", client="account_number")
def company_hours(account_number: str) -> Answer:
    return _part(account_number, listings.hours(account_number))


@pages.get(f"{BASE}/plan", scope="codex:read")
def company_plan(account_number: str) -> Answer:
    """The plan it is on: what is charged, and since when."""
    head = _head(account_number)
    return render_template("codex/company_plan.html", **head, **company_page.plan(head["company"], today()))


@pages.get(f"{BASE}/history", scope="codex:read")
def company_history(account_number: str) -> Answer:
    return _part(account_number, history.listing(account_number), kinds=history.KINDS)


def _listed(listing: Listing, kind: str, title: str, text: str) -> Answer:
    if listing.wants_csv:
        return listing.csv()
    shown = {"kind": kind, "title": title, "text": text, "never": listings.NEVER}
    return render_template("codex/list.html", listing=listing, shown=listings.shown, **shown)


def _part(account: str, listing: Listing, **more: Any) -> Answer:
    head = _head(account)
    if listing.wants_csv:
        return listing.csv()
    shown = {"kind": listing.name, "never": listings.NEVER, "shown": listings.shown}
    return make_response(render_template("codex/company_part.html", listing=listing, **shown, **head, **more))


def _head(account: str) -> dict[str, Any]:
    """What every page of a company says of it."""
    try:
        cells.account_number(account)
    except DomainError:
        raise Problem("not_found", f"There is no company {cells.shown(account)}.") from None
    caller = auth.caller()
    may_write = "codex:write" in caller.scopes
    return {"company": services.company(account), "may_write": may_write, "internal": own_account() is None}
