"""Who calls, and whether they may: services by bearer token (RFC 6750), people by session cookie; one scope a route.

No scope means no access. A client has no scope; a route admits clients by `client=`, and to their own company only.
"""

import configparser
import hmac
import logging
import re
from dataclasses import dataclass
from typing import Any, Literal

from flask import Flask, Response, current_app, g, request
from flask_wtf.csrf import generate_csrf, validate_csrf

from hivematrix_common import clock, sessions, token_use, tokens
from hivematrix_common.conffile import Watched
from hivematrix_common.config import ConfigError, Settings
from hivematrix_common.domain.roles import CLIENT, ROLES, SCOPES
from hivematrix_common.domain.session import Claims
from hivematrix_common.errors import Problem
from hivematrix_common.tokens import Registration

PUBLIC = "public"
LOCAL = "this host or any token"
PERSON = "any signed-in person"
LOOPBACK = ("127.0.0.1", "::1")
SAFE_METHODS = ("GET", "HEAD", "OPTIONS", "TRACE")
FORM_SECONDS = 12 * 3600  # as long as a session lives
_FORWARDED = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto")
_TOKEN = re.compile(r"[A-Za-z0-9._~+/-]+=*")
_log = logging.getLogger("hivematrix.auth")


@dataclass(frozen=True, slots=True)
class Caller:
    """A service's or program's token (`id` is the token's), or a person (`id` is the account's, `sid` the session)."""

    name: str
    scopes: frozenset[str]
    id: str
    kind: Literal["service", "person"] = "service"
    role: str | None = None
    account: str | None = None
    display: str = ""
    sid: str = ""
    theme: str = "auto"
    shortcuts: bool = True

    @property
    def is_client(self) -> bool:
        return self.role == CLIENT

    @property
    def key(self) -> str:
        """Unlike any other caller's: a person may be named like a service."""
        return self.name if self.kind == "service" else f"person:{self.id}"


class Registry:
    """The receiver's registered tokens, read again whenever its conf file changes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._watched = Watched(settings.conf, self._read)

    def find(self, token: str) -> Registration | None:
        """The registration of `token`, expired ones included; every entry is compared, in constant time."""
        wanted, found = tokens.digest(token), None
        for entry in self.entries():
            if hmac.compare_digest(entry.digest, wanted):
                found = entry
        return found

    def entries(self) -> list[Registration]:
        return self._watched.value()

    def _read(self) -> list[Registration]:
        # A file that became unreadable must not leave revoked tokens alive: nobody is known until it is mended.
        try:
            return self._settings.registrations()
        except (ConfigError, configparser.Error, OSError, ValueError) as error:
            _log.error("callers cannot be read, all are refused", extra={"reason": str(error)})
            return []


def init_auth(app: Flask, settings: Settings) -> None:
    app.extensions["hivematrix_registry"] = Registry(settings)
    sessions.init_forms(app, settings)
    app.jinja_env.globals["csrf_token"] = csrf_token
    app.before_request(authorize)
    token_use.init_token_use(app)
    if settings.pages.enabled and settings.service_name != "helm":
        app.add_url_rule(sessions.CALLBACK, view_func=sessions.callback)


def authorize() -> Response | None:
    """Let this request pass as somebody, or refuse it; a page sends who is not signed in to sign in."""
    if request.url_rule is None:
        return None
    scope, page = scope_of(current_app, request.endpoint or ""), bool(_said("hm_page"))
    if scope == PUBLIC:
        if page:
            _admit_to_public_page()
        return None
    if scope == LOCAL and is_local_or_known():
        return None
    try:
        g.caller = authenticate()
    except Problem as problem:
        if page and problem.code == "unauthorized":
            return sessions.to_sign_in(_settings())
        if page or problem.code != "peer_unavailable":
            raise
        raise _unauthorized() from None
    if g.caller.kind == "person" and request.method not in SAFE_METHODS:
        check_csrf(g.caller.sid)
    _admit(g.caller, scope)
    return None


def scope_of(app: Flask, endpoint: str) -> str:
    """The scope a route declared; a route that declared none is closed to everyone."""
    return str(getattr(app.view_functions.get(endpoint), "hm_scope", "none"))


def caller() -> Caller:
    """Who makes this request; a public route has no caller and raises Problem(unauthorized)."""
    found = signed_in()
    if found is None:
        raise _unauthorized()
    return found


def signed_in() -> Caller | None:
    """Who makes this request, as far as it is known: nobody on public routes but pages."""
    found: Caller | None = g.get("caller")
    return found


def own_account() -> str | None:
    """The only account this request may see: the client's own; None for everybody else."""
    found = signed_in()
    return found.account if found else None


def require(scope: str) -> None:
    if scope not in caller().scopes:
        raise _insufficient(scope)


def authenticate() -> Caller:
    """The one identity of the request: its bearer token, else its session cookie.

    Problem: unauthorized or invalid_token; peer_unavailable when only Helm could say whether a session still lives.
    """
    scheme, _, credentials = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return _by_token(credentials.strip())
    found = _by_cookie()
    if found is None:
        raise _unauthorized()
    return found


def is_local_or_known() -> bool:
    """Loopback without a proxy in between, or any valid token: who may see metrics and health details."""
    if request.remote_addr in LOOPBACK and not any(name in request.headers for name in _FORWARDED):
        return True
    try:
        return authenticate().kind == "service"
    except Problem:
        return False


def csrf_token() -> str:
    """What a form sends as `csrf_token`, or a script as X-CSRF-Token; good for this browser and this session only."""
    found = signed_in()
    return str(generate_csrf(form_secret(_settings(), found.sid if found else "")))


def check_csrf(*sids: str) -> None:
    """Refuse an unsafe request whose CSRF token was not made here, for this browser and one of these sessions."""
    sent = request.headers.get("X-CSRF-Token") or request.form.get("csrf_token") or ""
    for sid in sids:
        try:
            validate_csrf(sent, form_secret(_settings(), sid), FORM_SECONDS)
        except ValueError:
            continue
        return
    _log.warning("refused", extra={"reason": "CSRF token", "endpoint": request.endpoint})
    raise Problem("csrf_failed", "Reload the page and send the form again.")


def _admit_to_public_page() -> None:
    """A sign-in page has no caller to ask for, but shows who is there; its forms are checked as all others."""
    try:
        g.caller = _by_cookie()
    except Problem:
        g.caller = None
    if request.method not in SAFE_METHODS:
        check_csrf("", *([g.caller.sid] if g.caller else []))


def _admit(found: Caller, scope: str) -> None:
    if found.is_client:
        _admit_client(found, scope)
    elif scope == PERSON and found.kind == "person":
        return
    else:
        require(scope)


def _admit_client(found: Caller, scope: str) -> None:
    rule = _said("hm_client")
    if not rule:
        raise _insufficient(scope)
    if rule is True:
        return
    path = request.view_args or {}
    named = [path[rule]] if rule in path else request.args.getlist(rule)
    for account in named:
        if account != found.account:
            raise Problem("not_found", f"There is no company {account}.")


def _by_token(token: str) -> Caller:
    if "," in token:
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_request"'}
        raise Problem("bad_request", "Send one Authorization header with one token.", headers=challenge)
    registry: Registry = current_app.extensions["hivematrix_registry"]
    entry = registry.find(token) if _TOKEN.fullmatch(token) else None
    if entry is None or entry.expired(clock.now()):
        _log.warning("refused", extra={"reason": "expired" if entry else "unknown token", "endpoint": request.endpoint})
        challenge = {"WWW-Authenticate": 'Bearer error="invalid_token"'}
        raise Problem("invalid_token", "The token is unknown, revoked or expired.", headers=challenge)
    g.used_token = entry
    return Caller(entry.caller, entry.scopes, entry.id)


def _by_cookie() -> Caller | None:
    known, token = sessions.of(current_app), request.cookies.get(sessions.cookie_name(_settings()))
    if known is None or not token:
        return None
    claims, fresh = known.identify(token)
    if fresh:
        g.fresh_session = fresh
    return _person(claims) if claims else None


def _person(claims: Claims) -> Caller:
    return Caller(
        claims.name,
        ROLES[claims.role],
        claims.id,
        kind="person",
        role=claims.role,
        account=claims.account,
        display=claims.display,
        sid=claims.sid,
        theme=claims.theme,
        shortcuts=claims.shortcuts,
    )


def _said(name: str) -> Any:
    """What the route's declaration says."""
    return getattr(current_app.view_functions.get(request.endpoint or ""), name, None)


def form_secret(settings: Settings, sid: str) -> str:
    """Bound to the session, so that a token of another session, planted with its cookie, is none of this one."""
    return f"{settings.pages.secret_key}:{sid}"


def _settings() -> Settings:
    return current_app.settings  # type: ignore[attr-defined,no-any-return]


def _insufficient(scope: str) -> Problem:
    named = scope if scope in SCOPES else ""
    challenge = 'Bearer error="insufficient_scope"' + (f', scope="{named}"' if named else "")
    _log.warning("refused", extra={"caller": caller().name, "scope": scope, "endpoint": request.endpoint})
    text = f"This needs the scope {named}." if named else "This is not open to you."
    return Problem("insufficient_scope", text, headers={"WWW-Authenticate": challenge})


def _unauthorized() -> Problem:
    return Problem(
        "unauthorized", "Send a token: Authorization: Bearer <token>.", headers={"WWW-Authenticate": "Bearer"}
    )


sessions.callback.__dict__.update(hm_scope=PUBLIC, hm_page=True)
