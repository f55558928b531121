"""The pages "Overrides and items" of a company: lists, forms, history. services/rules.py says what is acceptable."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlencode

from flask import current_app, make_response, redirect, render_template, request, url_for
from hivematrix_common import auth, cells
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.errors import Problem
from hivematrix_common.peers import PeerError
from hivematrix_common.tables import Listing
from werkzeug.wrappers import Response as AnyResponse

from hivematrix_ledger.routes.override_forms import BY_PATH, KINDS, Kind
from hivematrix_ledger.routes.pages import WORDS, pages
from hivematrix_ledger.services import Ledger, history, no_company, rules

BASE = "/companies/<account_number>/overrides"
FIRST = 20
FOUND = 50
LATELY = 8
FORM_FAULTS = {"invalid", "conflict", "not_found", "busy"}
DONE = {"added": "The row is added.", "changed": "The row is changed.", "removed": "The row is removed."}
Answer = str | AnyResponse
WORDS.update(
    {
        f"POST {BASE}/<kind>": "added an override or item",
        f"POST {BASE}/<kind>/row": "changed an override or item",
        f"POST {BASE}/<kind>/remove": "removed an override or item",
    }
)


@pages.get("/overrides", scope="ledger:read")
def companies() -> Answer:
    """Whose overrides: companies by name or account number."""
    search = request.args.get("q", "").strip()[:200]
    try:
        found = _ledger().codex.companies(search, FOUND)
    except PeerError as error:
        answer = render_template("ledger/rule_companies.html", search=search, fault=error)
        return make_response(answer, error.status)
    return render_template("ledger/rule_companies.html", search=search, found=found["companies"], total=found["total"])


@pages.get(BASE, scope="ledger:read")
def overrides(account_number: str) -> Answer:
    """Everything an operator decided for one company, and the last changes of it."""
    _check(account_number)
    company = _company(account_number)
    lists = [(kind, *_rows(kind, account_number)) for kind in KINDS]
    lately = history.newest(account_number, LATELY)
    return render_template("ledger/rules.html", lists=lists, first=FIRST, lately=lately, **company)


@pages.get(f"{BASE}/history", scope="ledger:read")
def rule_history(account_number: str) -> Answer:
    """Every change of the company's rows."""
    _check(account_number)
    listing = history.listing(account_number)
    if listing.wants_csv:
        return listing.csv()
    company = _company(account_number)
    return render_template("ledger/rule_history.html", listing=listing, kinds=history.KINDS, **company)


@pages.get(f"{BASE}/<kind>", scope="ledger:read")
def rule_kind(account_number: str, kind: str) -> Answer:
    """All rows of one kind, and the form that adds one, filled with what the address says."""
    found = _kind(account_number, kind)
    listing, fault = _listing(found, account_number)
    said = {name: request.args[name] for name in found.names if name in request.args}
    return listing.csv() if listing.wants_csv else _kind_page(found, account_number, listing, fault, said=said)


@pages.post(f"{BASE}/<kind>", scope="ledger:write")
def add_rule(account_number: str, kind: str) -> Answer:
    found = _kind(account_number, kind)
    said = _said(found)

    def again(**told: Any) -> str:
        listing, fault = _listing(found, account_number)
        return _kind_page(found, account_number, listing, fault, said=said, **told)

    return _act(
        found, account_number, "added", again, lambda: rules.add(_ledger(), found.stem, said | _own(account_number))
    )


@pages.get(f"{BASE}/<kind>/row", scope="ledger:read")
def rule_row(account_number: str, kind: str) -> Answer:
    """One row: to look at, change, end or remove."""
    found = _kind(account_number, kind)
    row = rules.find(_ledger(), found.stem, found.key(account_number, request.args))
    return _row_page(found, account_number, said=found.texts(row))


@pages.post(f"{BASE}/<kind>/row", scope="ledger:write")
def change_rule(account_number: str, kind: str) -> Answer:
    found = _kind(account_number, kind)
    said = _said(found)
    key = found.key(account_number, request.args)

    def again(**told: Any) -> str:
        return _row_page(found, account_number, said=said, **told)

    record = said | _own(account_number)
    return _act(found, account_number, "changed", again, lambda: rules.change(_ledger(), found.stem, key, record))


@pages.post(f"{BASE}/<kind>/remove", scope="ledger:write")
def remove_rule(account_number: str, kind: str) -> Answer:
    found = _kind(account_number, kind)
    key = found.key(account_number, request.args)

    def again(**told: Any) -> str:
        listing, fault = _listing(found, account_number)
        return _kind_page(found, account_number, listing, fault, **told)

    return _act(found, account_number, "removed", again, lambda: rules.remove(_ledger(), found.stem, key))


def _act(kind: Kind, account: str, done: str, again: Callable[..., str], act: Callable[[], object]) -> Answer:
    """Do it and go to the list; a refusal shows the form again with what was typed."""
    try:
        act()
    except Problem as problem:
        if problem.code not in FORM_FAULTS:
            raise
        fields = {fault.field: fault.message for fault in problem.fields}
        shown = {name: text for name, text in fields.items() if name in kind.names}
        page = again(fields=shown, notice="" if shown else problem.detail)
        return make_response(page, problem.status, problem.headers)
    return redirect(url_for("pages.rule_kind", account_number=account, kind=kind.path, done=done), 303)


def _kind_page(
    kind: Kind,
    account: str,
    listing: Listing,
    fault: PeerError | None,
    *,
    said: dict[str, str] | None = None,
    **told: Any,
) -> str:
    told = {"fields": {}, "notice": "", "done": DONE.get(request.args.get("done", ""), "")} | told
    options = _options(kind, account)
    context = {"kind": kind, "listing": listing, "fault": fault, "said": said or {}, "options": options}
    return render_template("ledger/rule_kind.html", **context, **told, **_company(account))


def _row_page(kind: Kind, account: str, **told: Any) -> str:
    told = {"fields": {}, "notice": "", "place": urlencode(request.args)} | told
    options = _options(kind, account)
    return render_template("ledger/rule_row.html", kind=kind, options=options, **told, **_company(account))


def _rows(kind: Kind, account: str) -> tuple[list[dict[str, Any]], PeerError | None]:
    """The rows as a table shows them, and the fault when Codex cannot say what they are called."""
    fault = None
    try:
        rows = rules.read(_ledger(), kind.stem, account)
    except PeerError as error:
        fault = error
        rows = [row | {"idle": False} for row in rules.with_names(_ledger(), kind.stem, account, {})]
    return [kind.shown(row) for row in rows], fault


def _listing(kind: Kind, account: str) -> tuple[Listing, PeerError | None]:
    rows, fault = _rows(kind, account)
    return kind.table.of_rows(rows), fault


def _options(kind: Kind, account: str) -> list[tuple[str, str]]:
    """What Codex has to choose from, where a row belongs to one of its items; nothing while it is away."""
    if kind.stem not in rules.ITEMS:
        return []
    try:
        return list(_ledger().codex.items(rules.ITEMS[kind.stem][0], account).items())
    except PeerError:
        return []


def _company(account: str) -> dict[str, Any]:
    """What every page of a company says of it; while Codex is away its number is all that is known."""
    may_write = "ledger:write" in auth.caller().scopes
    try:
        company = _ledger().codex.company(account)
    except PeerError:
        return {"account": account, "company": account, "may_write": may_write}
    if company is None:
        raise no_company(account)
    return {"account": account, "company": company["name"], "may_write": may_write}


def _kind(account: str, path: str) -> Kind:
    _check(account)
    found = BY_PATH.get(path)
    if found is None:
        raise Problem("not_found", "There are no such rows.")
    return found


def _check(account: str) -> None:
    """An address with anything else than an account number is nobody's."""
    try:
        cells.account_number(account)
    except DomainError:
        raise no_company(cells.shown(account)) from None


def _said(kind: Kind) -> dict[str, str]:
    return {name: request.form.get(name, "") for name in kind.names}


def _own(account: str) -> dict[str, str]:
    return {"account_number": account}


def _ledger() -> Ledger:
    found: Ledger = current_app.extensions["hivematrix_ledger"]
    return found
