"""Forms that add and change facts by hand. A form carries the state it was made of: nothing is overwritten unseen."""

from collections.abc import Callable
from datetime import date
from typing import Any
from urllib.parse import urlencode

from flask import make_response, redirect, render_template, request, url_for
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.errors import Problem
from werkzeug.wrappers import Response as AnyResponse

from hivematrix_codex import services
from hivematrix_codex.routes.facts import today, zone
from hivematrix_codex.routes.pages import WORDS, pages
from hivematrix_codex.services import facts, forms
from hivematrix_codex.services.facts import TITLES

Answer = str | AnyResponse
Key = tuple[Any, ...]
OF_COMPANY = ("contacts", "assets", "tickets")
FORM_FAULTS = {"invalid", "conflict", "precondition_failed"}
_FACT = "/companies/<account_number>/<kind>"
WORDS.update(
    {
        "POST /companies/new": "added a company",
        "POST /companies/<account_number>/change": "changed a company",
        f"POST {_FACT}/new": "added a fact by hand",
        f"POST {_FACT}/change": "changed a fact by hand",
        f"POST {_FACT}/retire": "retired a fact",
        "POST /plans/new": "added a plan version",
        "POST /plans/change": "changed a plan version",
    }
)


@pages.get("/companies/new", scope="codex:write")
def new_company() -> Answer:
    return _new_page("companies", {})


@pages.post("/companies/new", scope="codex:write")
def add_company() -> Answer:
    def go(key: Key) -> str:
        return url_for("pages.company", account_number=key[0])

    return _add("companies", {}, go)


@pages.get("/companies/<account_number>/change", scope="codex:write")
def edit_company(account_number: str) -> Answer:
    return _edit_page("companies", (account_number,))


@pages.post("/companies/<account_number>/change", scope="codex:write")
def change_company(account_number: str) -> Answer:
    return _change("companies", (account_number,), url_for("pages.company", account_number=account_number))


@pages.get(f"{_FACT}/new", scope="codex:write")
def new_fact(account_number: str, kind: str) -> Answer:
    services.company(account_number)
    return _new_page(_known(kind), {"account_number": account_number})


@pages.post(f"{_FACT}/new", scope="codex:write")
def add_fact(account_number: str, kind: str) -> Answer:
    def go(_key: Key) -> str:
        return _list_of(account_number, kind)

    services.company(account_number)
    return _add(_known(kind), {"account_number": account_number}, go)


@pages.get(f"{_FACT}/change", scope="codex:write")
def edit_fact(account_number: str, kind: str) -> Answer:
    return _edit_page(_known(kind), _uid(account_number, kind))


@pages.post(f"{_FACT}/change", scope="codex:write")
def change_fact(account_number: str, kind: str) -> Answer:
    return _change(_known(kind), _uid(account_number, kind), _list_of(account_number, kind))


@pages.post(f"{_FACT}/retire", scope="codex:write")
def retire_fact(account_number: str, kind: str) -> Answer:
    key = _uid(account_number, _known(kind))
    if kind == "tickets":
        raise Problem("not_found", "A ticket is closed, not retired.")
    facts.retire(kind, key, today(), zone(), request.form.get("match", ""))
    return redirect(_list_of(account_number, kind), 303)


@pages.get("/plans/new", scope="codex:write")
def new_plan() -> Answer:
    """A plan, or a further version of one: filled with the version that the address names."""
    said = {name: request.args[name] for name in ("plan_name", "term") if name in request.args}
    newest = services.newest_version(said.get("plan_name"), said.get("term"))
    filled = forms.opened("plans", newest)[2] | {"valid_from": ""} if newest else {}
    return _new_page("plans", {}, filled | said)


@pages.post("/plans/new", scope="codex:write")
def add_plan() -> Answer:
    return _add("plans", {}, _plan_url)


@pages.get("/plans/change", scope="codex:write")
def edit_plan() -> Answer:
    return _edit_page("plans", _version())


@pages.post("/plans/change", scope="codex:write")
def change_plan() -> Answer:
    return _change("plans", _version(), _plan_url(_version()))


def _add(kind: str, own: dict[str, str], go: Callable[[Key], str]) -> Answer:
    said = _said((*forms.NEW[kind], *forms.FIELDS[kind]))
    try:
        key = facts.add(kind, {**said, **own}, zone())
    except Problem as problem:
        return _again(problem, lambda **told: _new_page(kind, own, said, **told))
    return redirect(go(key), 303)


def _change(kind: str, key: Key, url: str) -> Answer:
    said = _said(forms.FIELDS[kind])
    row, _, _ = forms.opened(kind, key)
    try:
        facts.change(kind, key, forms.changed(row, said), zone(), request.form.get("match", ""))
    except Problem as problem:
        return _again(problem, lambda **told: _edit_page(kind, key, said, **told))
    return redirect(url, 303)


def _again(problem: Problem, page: Callable[..., str]) -> Answer:
    """The form once more with what was typed; what is no fault of the form is not answered here."""
    if problem.code not in FORM_FAULTS:
        raise problem
    fields = {fault.field: fault.message for fault in problem.fields}
    return make_response(page(fields=fields, notice="" if fields else problem.detail), problem.status)


def _new_page(kind: str, own: dict[str, str], said: dict[str, str] | None = None, **told: Any) -> str:
    shown = {"fields": {}, "notice": "", "match": None, "key": None} | told
    account = own.get("account_number")
    form = (*forms.NEW[kind], *forms.FIELDS[kind])
    return render_template(
        "codex/edit.html", kind=kind, form=form, said=said or {}, account=account, **_words(kind), **shown
    )


def _edit_page(kind: str, key: Key, said: dict[str, str] | None = None, **told: Any) -> str:
    row, match, texts = forms.opened(kind, key)
    shown = {"fields": {}, "notice": "", "match": match, "key": key, "place": urlencode(request.args)} | told
    account = row.get("account_number") if kind in OF_COMPANY else None
    form = tuple(field for field in forms.FIELDS[kind] if field.name != "valid_from")
    return render_template(
        "codex/edit.html", kind=kind, form=form, said=said or texts, account=account, **_words(kind), **shown
    )


def _words(kind: str) -> dict[str, Any]:
    labels = {field.name: field.label for field in (*forms.NEW[kind], *forms.FIELDS[kind])}
    return {"title": TITLES[kind], "labels": labels}


def _said(form: tuple[forms.Field, ...]) -> dict[str, str]:
    return {field.name: request.form[field.name].strip() for field in form if field.name in request.form}


def _known(kind: str) -> str:
    if kind not in OF_COMPANY:
        raise Problem("not_found", "There are no such facts.")
    return kind


def _uid(account: str, kind: str) -> Key:
    """The fact that the address names, if it is this company's."""
    key = (request.args.get("uid", "").replace("\0", ""),)
    row, _, _ = forms.opened(_known(kind), key)
    if row["account_number"] != account:
        raise Problem("not_found", f"{account} has no {TITLES[kind]} {key[0]}.")
    return key


def _version() -> Key:
    name, term, day = (request.args.get(part, "").replace("\0", "") for part in ("plan_name", "term", "valid_from"))
    try:
        return name, term, date.fromisoformat(day)
    except ValueError:
        raise DomainError("valid_from", f"expected a date such as 2025-10-31, got {day[:40]}") from None


def _list_of(account: str, kind: str) -> str:
    return url_for(f"pages.company_{_known(kind)}", account_number=account)


def _plan_url(key: Key) -> str:
    return url_for("pages.plan", plan_name=key[0], term=key[1])
