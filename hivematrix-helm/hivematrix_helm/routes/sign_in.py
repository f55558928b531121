"""The pages on the way in and out: name and password, second factor, hand-over to other host names."""

from typing import Any
from urllib.parse import urlencode

import flask
from flask import make_response, redirect, render_template, request
from hivematrix_common import auth, sessions
from hivematrix_common.errors import Problem
from werkzeug.wrappers import Response

from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.routes.pages import Answer, forget_sessions, here, own_url, pages, refused, settings, signed_in
from hivematrix_helm.services import own_account, sign_in
from hivematrix_helm.services import sessions as use_cases

# What the password proved stands in the signed form cookie until the second step.
_HALF = "half"
_WRONG = 422
_LONGEST_STATE = 200


@pages.get("/login", scope=None)
def login() -> Answer:
    caller = auth.signed_in()
    if caller and use_cases.lives(caller.sid):
        return redirect(_target(caller.is_client), 303)
    notice = "You are signed out." if "out" in request.args else ""
    return render_template("helm/login.html", next=_next(), said={}, wrong=False, locked_until=None, notice=notice)


@pages.post("/login", scope=None)
def log_in() -> Answer:
    name, secret = request.form.get("name", ""), request.form.get("password", "")
    shown: dict[str, Any] = {"next": _next(), "said": {"name": name}, "wrong": False, "notice": ""}
    try:
        person = sign_in.by_password(name, secret, request.remote_addr)
    except Problem as problem:
        return refused("helm/login.html", problem, **shown)
    if person is None:
        page = render_template("helm/login.html", **shown | {"wrong": True, "locked_until": None})
        return make_response(page, _WRONG)
    return _next_step(sign_in.half_way(person))


@pages.get("/login/totp", scope=None)
def totp() -> Answer:
    return _step("helm/totp.html")


@pages.post("/login/totp", scope=None)
def check_totp() -> Answer:
    return _check(sign_in.by_code, "helm/totp.html")


@pages.get("/login/recovery", scope=None)
def recovery() -> Answer:
    return _step("helm/recovery.html")


@pages.post("/login/recovery", scope=None)
def check_recovery() -> Answer:
    return _check(sign_in.by_recovery_code, "helm/recovery.html")


@pages.get("/login/password", scope=None)
def new_password() -> Answer:
    return _step("helm/new_password.html", fields={})


@pages.post("/login/password", scope=None)
def set_new_password() -> Answer:
    """A password that somebody else set is replaced before the session begins."""
    half = _half()
    person = sign_in.resumed(half)
    if person is None or sign_in.step_after(half, person) != "password":
        return _over()
    try:
        new = own_account.twice(request.form.get("new", ""), request.form.get("again", ""))
        token = own_account.change_password(settings(), person, new, *here())
    except Problem as problem:
        return refused("helm/new_password.html", problem, next=_next())
    return _admitted(token, is_client=person.role == "client")


@pages.post("/logout", scope=auth.PERSON, client=True)
def log_out() -> Answer:
    caller = auth.caller()
    use_cases.end(int(caller.id), "signed out", sid=caller.sid)
    forget_sessions()
    response = redirect(own_url("/login?out=yes"), 303)
    assert isinstance(response, flask.Response)
    sessions.clear_cookie(response, settings())
    flask.session.clear()
    return response


@pages.get("/session/hand-over", scope=auth.PERSON, client=True)
def hand_over() -> Answer:
    """Carry the session to a service of another host name: a code for its address, and the state it came with."""
    service, state = request.args.get("service", ""), request.args.get("state", "")
    if service not in SERVICES or service == "helm" or not 0 < len(state) <= _LONGEST_STATE:
        raise Problem("bad_request", "This is no way to a service of ours; open its address again.")
    caller = auth.caller()
    if not use_cases.lives(caller.sid):
        return redirect(own_url(f"/login?{urlencode({'next': own_url(request.full_path)})}"), 303)
    arguments = {"code": use_cases.hand_over_code(caller.sid, service), "state": state}
    return redirect(f"{settings().public_url(service)}{sessions.CALLBACK}?{urlencode(arguments)}", 303)


def _step(template: str, **context: object) -> Answer:
    """A page of the second step, for whoever made the first."""
    if sign_in.resumed(_half()) is None:
        return _over()
    return render_template(template, next=_next(), wrong=False, locked_until=None, **context)


def _check(check: Any, template: str) -> Answer:
    half = _half()
    person = sign_in.resumed(half)
    if person is None or sign_in.step_after(half, person) != "totp":
        return _over()
    try:
        right = check(person, request.form.get("code", ""), request.remote_addr)
    except Problem as problem:
        return refused(template, problem, next=_next(), wrong=False)
    if not right:
        return make_response(render_template(template, next=_next(), wrong=True, locked_until=None), _WRONG)
    return _next_step(half | {"second": True})


def _next_step(half: dict[str, Any]) -> Answer:
    person = sign_in.resumed(half)
    step = sign_in.step_after(half, person) if person else None
    if person is None:
        return _over()
    if step:
        flask.session[_HALF] = half
        return redirect(own_url(f"/login/{step}?{urlencode({'next': _next()})}"), 303)
    token = sign_in.admit(settings(), person, *here())
    return _admitted(token, is_client=person.role == "client") if token else _over()


def _admitted(token: str, *, is_client: bool) -> Response:
    """In. Nothing that was there before the sign-in is kept: neither the form cookie nor an earlier session."""
    if caller := auth.signed_in():
        use_cases.end(int(caller.id), "signed in anew", sid=caller.sid)
    flask.session.clear()
    return signed_in(redirect(_target(is_client), 303), token)


def _over() -> Response:
    """The first step was too long ago, or never made."""
    flask.session.pop(_HALF, None)
    return redirect(own_url(f"/login?{urlencode({'next': _next()})}"), 303)


def _half() -> dict[str, Any]:
    found = flask.session.get(_HALF)
    return found if isinstance(found, dict) else {}


def _next() -> str:
    return request.values.get("next", "")


def _target(is_client: bool) -> str:
    """Where to go now: where the person wanted to, when that is an address of ours."""
    wanted = own_url(_next()) if _next().startswith("/") else _next()
    if sessions.is_safe_target(settings(), wanted):
        return wanted
    return f"{settings().public_url('ledger')}/" if is_client else own_url("/")
