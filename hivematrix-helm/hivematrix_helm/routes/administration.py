"""The administrator's pages: people and service tokens."""

from collections.abc import Callable
from typing import Any

from flask import redirect, render_template, request
from hivematrix_common import auth
from hivematrix_common.domain.roles import ROLES, SCOPES
from hivematrix_common.errors import Problem
from hivematrix_common.pages import ROLE_WORDS

from hivematrix_helm.routes.listings import TOKENS, USERS
from hivematrix_helm.routes.pages import Answer, forget_sessions, own_url, pages, refused, settings
from hivematrix_helm.services import accounts, token_uses
from hivematrix_helm.services import sessions as use_cases
from hivematrix_helm.services import tokens as token_service

NOTICES = {
    "role": "The role is changed, and the user is signed out everywhere.",
    "disable": "The account is disabled, and the user is signed out everywhere.",
    "enable": "The user may sign in again.",
    "sign-out": "The user is signed out everywhere.",
    "second-factor-off": "The user signs in without a second factor now.",
    "revoked": "That token has ended.",
}


@pages.get("/users", scope="helm:admin")
def users() -> Answer:
    shown = _users()
    listing = shown["listing"]
    return listing.csv() if listing.wants_csv else render_template("helm/users.html", **shown)


@pages.post("/users", scope="helm:admin")
def add_user() -> Answer:
    said = {name: request.form.get(name, "") for name in ("name", "display_name", "role", "account_number")}
    try:
        password = accounts.add(said["name"], said["display_name"], said["role"], said["account_number"] or None)
    except Problem as problem:
        return refused("helm/users.html", problem, **_users() | {"said": said})
    return _password_shown(said["name"], password)


@pages.get("/users/<name>", scope="helm:admin")
def user(name: str) -> Answer:
    return render_template("helm/user.html", **_user(name))


@pages.post("/users/<name>/role", scope="helm:admin")
def change_role(name: str) -> Answer:
    role, account = request.form.get("role", ""), request.form.get("account_number") or None
    return _act(name, "role", lambda name: accounts.change_role(name, role, account))


@pages.post("/users/<name>/disable", scope="helm:admin")
def disable(name: str) -> Answer:
    return _act(name, "disable", accounts.disable)


@pages.post("/users/<name>/enable", scope="helm:admin")
def enable(name: str) -> Answer:
    return _act(name, "enable", accounts.enable)


@pages.post("/users/<name>/sign-out", scope="helm:admin")
def sign_out_user(name: str) -> Answer:
    return _act(name, "sign-out", accounts.sign_out)


@pages.post("/users/<name>/second-factor-off", scope="helm:admin")
def user_second_factor_off(name: str) -> Answer:
    return _act(name, "second-factor-off", accounts.second_factor_off)


@pages.post("/users/<name>/password", scope="helm:admin")
def set_user_password(name: str) -> Answer:
    password = accounts.set_password(name)
    forget_sessions()
    return _password_shown(name, password)


@pages.get("/tokens", scope="helm:admin")
def tokens() -> Answer:
    shown = _tokens()
    listing = shown["listing"]
    return listing.csv() if listing.wants_csv else render_template("helm/tokens.html", **shown)


@pages.post("/tokens", scope="helm:admin")
def issue_token() -> Answer:
    said = {"name": request.form.get("name", ""), "expires": request.form.get("expires", "")}
    scopes = request.form.getlist("scopes")
    try:
        if not scopes:
            raise token_service.no_scope()
        given = token_service.issue(settings().home, said["name"], scopes, token_service.end_of(said["expires"]))
    except Problem as problem:
        return refused("helm/tokens.html", problem, **_tokens() | {"said": {**said, "scopes": scopes}})
    return render_template("helm/token_shown.html", **token_service.members(given))


@pages.post("/tokens/<token_id>/rotate", scope="helm:admin")
def rotate_token(token_id: str) -> Answer:
    home = settings().home
    try:
        overlap = request.form.get("overlap") or token_service.OVERLAP
        [given] = token_service.rotate(home, token_service.with_id(home, token_id), overlap)
    except Problem as problem:
        return refused("helm/tokens.html", problem, **_tokens())
    return render_template("helm/token_shown.html", **token_service.members(given))


@pages.post("/tokens/<token_id>/revoke", scope="helm:admin")
def revoke_token(token_id: str) -> Answer:
    home = settings().home
    token_service.revoke(home, token_service.with_id(home, token_id))
    return redirect(own_url("/tokens?done=revoked"), 303)


def _act(name: str, what: str, act: Callable[[str], None]) -> Answer:
    try:
        act(name)
    except Problem as problem:
        return refused("helm/user.html", problem, **_user(name))
    forget_sessions()
    return redirect(own_url(f"/users/{accounts.named(name).name}?done={what}"), 303)


def _password_shown(name: str, password: str) -> Answer:
    person = _row(accounts.shown(name)._asdict())
    return render_template("helm/password_shown.html", person=person, password=password)


def _users() -> dict[str, Any]:
    rows = [_row(person._asdict()) for person in accounts.everybody()]
    return {"listing": USERS.of_rows(rows), "roles": _roles(), "said": {}, "fields": {}, "notice": _notice()}


def _user(name: str) -> dict[str, Any]:
    account, row = accounts.named(name), _row(accounts.shown(name)._asdict())
    return {
        "person": row,
        "sessions": [found._asdict() for found in use_cases.of_person(account.id)],
        "roles": _roles(),
        "own": str(account.id) == auth.caller().id,
        "fields": {},
        "notice": _notice(),
    }


def _tokens() -> dict[str, Any]:
    uses, silent = token_uses.known(settings())
    rows = token_service.issued(settings().home, uses)
    return {
        "listing": TOKENS.of_rows(rows),
        "scopes": SCOPES,
        "silent": silent,
        "said": {},
        "fields": {},
        "notice": _notice(),
    }


def _row(person: dict[str, Any]) -> dict[str, Any]:
    return person | {"signed_in_at": person["seen_at"], "disabled": person["disabled_at"] is not None}


def _roles() -> list[dict[str, str]]:
    return [{"name": role, "text": ROLE_WORDS[role]} for role in ROLES]


def _notice() -> str:
    return NOTICES.get(request.args.get("done", ""), "")
