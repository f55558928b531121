"""The page of one's own account: password, second factor, sessions, looks."""

from typing import Any

from flask import make_response, redirect, render_template, request
from hivematrix_common import auth
from hivematrix_common.errors import Problem
from markupsafe import Markup
from sqlalchemy import Row
from werkzeug.wrappers import Response

from hivematrix_helm.render import qr_code
from hivematrix_helm.routes.pages import (
    Answer,
    forget_sessions,
    go_on_as,
    here,
    own_url,
    pages,
    refused,
    settings,
    signed_in,
)
from hivematrix_helm.services import own_account, sessions

NOTICES = {
    "password": "Your password is changed. Wherever else you were signed in, you are not any more.",
    "second-factor-off": "Your second factor is off. Wherever else you were signed in, you are not any more.",
    "session": "That session has ended.",
    "sessions": "All your other sessions have ended.",
    "looks": "Your choice is kept.",
}


@pages.get("/account", scope=auth.PERSON, client=True)
def account() -> Answer:
    return render_template("helm/account.html", **_shown(_person()))


@pages.post("/account/password", scope=auth.PERSON, client=True)
def change_password() -> Answer:
    person = _person()
    try:
        own_account.confirm_password(person, request.form.get("current", ""), request.remote_addr, "current")
        new = own_account.twice(request.form.get("new", ""), request.form.get("again", ""))
        token = own_account.change_password(settings(), person, new, *here())
    except Problem as problem:
        return refused("helm/account.html", problem, **_shown(person))
    return signed_in(_back("password"), token)


@pages.post("/account/second-factor/begin", scope=auth.PERSON, client=True)
def begin_second_factor() -> Answer:
    person = _person()
    try:
        _confirm(person)
    except Problem as problem:
        return refused("helm/account.html", problem, **_shown(person))
    own_account.begin_second_factor(person)
    return render_template("helm/second_factor.html", **_enrolment(), fields={}, locked_until=None)


@pages.post("/account/second-factor", scope=auth.PERSON, client=True)
def confirm_second_factor() -> Answer:
    person, shown = _person(), _enrolment()
    try:
        codes, token = own_account.confirm_second_factor(settings(), person, request.form.get("code", ""), *here())
    except Problem as problem:
        return refused("helm/second_factor.html", problem, **shown)
    go_on_as(token)
    return signed_in(_codes(codes), token)


@pages.post("/account/second-factor/off", scope=auth.PERSON, client=True)
def second_factor_off() -> Answer:
    person = _person()
    try:
        _confirm(person)
        token = own_account.second_factor_off(settings(), person, *here())
    except Problem as problem:
        return refused("helm/account.html", problem, **_shown(person))
    return signed_in(_back("second-factor-off"), token)


@pages.post("/account/recovery-codes", scope=auth.PERSON, client=True)
def new_recovery_codes() -> Answer:
    person = _person()
    try:
        _confirm(person)
        return _codes(own_account.new_recovery_codes(person))
    except Problem as problem:
        return refused("helm/account.html", problem, **_shown(person))


@pages.post("/account/sessions/<sid>/end", scope=auth.PERSON, client=True)
def end_session(sid: str) -> Answer:
    sessions.end(int(auth.caller().id), "ended by its owner", sid=sid)
    forget_sessions()
    return _back("session")


@pages.post("/account/sessions/end-others", scope=auth.PERSON, client=True)
def end_other_sessions() -> Answer:
    sessions.end(int(auth.caller().id), "ended by its owner", but=auth.caller().sid)
    forget_sessions()
    return _back("sessions")


@pages.post("/account/preferences", scope=auth.PERSON, client=True)
def choose() -> Answer:
    person = _person()
    try:
        own_account.choose(person, request.form.get("theme", ""), shortcuts=request.form.get("shortcuts") == "yes")
    except Problem as problem:
        return refused("helm/account.html", problem, **_shown(person))
    token = sessions.refreshed(settings(), auth.caller().sid)
    return signed_in(_back("looks"), token) if token else _back("looks")


def _person() -> Row[Any]:
    return own_account.of_caller(auth.caller().id)


def _confirm(person: Row[Any]) -> None:
    own_account.confirm_password(person, request.form.get("password", ""), request.remote_addr)


def _back(done: str) -> Response:
    return redirect(own_url(f"/account?done={done}"), 303)


def _codes(codes: list[str]) -> Response:
    return make_response(render_template("helm/recovery_codes.html", codes=codes))


def _enrolment() -> dict[str, Any]:
    address, secret = own_account.enrolment(_person())
    return {"svg": Markup(qr_code(address)), "secret": secret}  # noqa: S704 - drawn by us from our own text


def _shown(person: Row[Any]) -> dict[str, Any]:
    found = [row._asdict() | {"current": row.sid == auth.caller().sid} for row in sessions.of_person(person.id)]
    return {
        "person": person._asdict(),
        "second_factor": own_account.second_factor_of(person),
        "sessions": found,
        "fields": {},
        "notice": NOTICES.get(request.args.get("done", ""), ""),
        "locked_until": None,
    }
