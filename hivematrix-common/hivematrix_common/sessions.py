"""People's sessions: the token in the cookie checked, renewed silently, refused once revoked; how one signs in."""

import logging
import secrets
import threading
import time
from typing import Protocol
from urllib.parse import urlencode, urlsplit

from flask import Flask, Request, Response, current_app, g, redirect, request, session
from flask.sessions import SecureCookieSession, SecureCookieSessionInterface, SessionMixin
from sqlalchemy.exc import SQLAlchemyError

from hivematrix_common.config import Settings
from hivematrix_common.domain.session import Claims
from hivematrix_common.errors import Problem
from hivematrix_common.session_tokens import InvalidSessionError, Verifier, expired, needs_renewal

COOKIE = "hm_session"
CALLBACK = "/auth/callback"
ASK_EVERY, WAIT = 3.0, 1.0  # seconds
_STATES = "sign_in"
_MOST_STATES = 5  # tabs that are being signed in at a time
_log = logging.getLogger("hivematrix.sessions")


class SessionSource(Protocol):
    """Where sessions are kept: Helm. Any of these may raise Problem while Helm is away."""

    def renew(self, token: str) -> str | None:
        """A fresh token for a properly signed one, an expired one too; None when its session has ended."""

    def exchange(self, code: str) -> str | None:
        """The token for a code of Helm's hand-over; None when it is unknown, used, too old or another service's."""

    def revoked(self) -> set[str]:
        """The sids that ended before their last token did."""


class Sessions:
    """One service's view of people's sessions."""

    def __init__(self, settings: Settings, source: SessionSource) -> None:
        self.source, self.verifier = source, Verifier(settings)
        self._lock = threading.Lock()
        self._revoked: set[str] = set()
        self._asked_at = -ASK_EVERY
        self._away = False

    def identify(self, token: str) -> tuple[Claims | None, str | None]:
        """Who a cookie's token stands for (None: nobody), and the fresh token to put in its place, if any.

        Problem: the token has expired, and who could renew it is away.
        """
        try:
            claims = self.verifier.read(token)
            if claims.sid in self.revoked():
                return None, None
            return self._renewed(token, claims) if needs_renewal(claims) else (claims, None)
        except InvalidSessionError as error:
            _log.warning("refused", extra={"reason": f"session token: {error}"})
            return None, None

    def revoked(self) -> set[str]:
        """The revoked sids as of a few seconds ago at most; one request asks, others wait a moment for its answer."""
        if self._due() and self._lock.acquire(timeout=0 if self._away else WAIT):
            try:
                if self._due():
                    self._ask()
            finally:
                self._lock.release()
        return self._revoked

    def refresh(self) -> None:
        """Ask again at the next request: a session was ended here just now."""
        self._asked_at = -ASK_EVERY

    def exchange(self, code: str) -> str | None:
        """The token for a hand-over code, when both are good."""
        token = self.source.exchange(code)
        claims, fresh = self.identify(token) if token else (None, None)
        return (fresh or token) if claims else None

    def _due(self) -> bool:
        return time.monotonic() - self._asked_at >= ASK_EVERY

    def _ask(self) -> None:
        try:
            self._revoked, self._away = self.source.revoked(), False
        except (Problem, SQLAlchemyError) as error:
            self._away = True
            _log.warning("revoked sessions are not known", extra={"reason": str(error).partition("\n")[0]})
        self._asked_at = time.monotonic()

    def _renewed(self, token: str, claims: Claims) -> tuple[Claims | None, str | None]:
        """A token that has not expired holds while Helm is away; the next question for revoked sids tells when not."""
        if not self._away:
            try:
                fresh = self.source.renew(token)
                return (self.verifier.read(fresh), fresh) if fresh else (None, None)
            except Problem:
                self._away = True
        if expired(claims):
            raise Problem("peer_unavailable", "The sign-in service is away; try again.", headers={"Retry-After": "3"})
        return claims, None


def init_sessions(app: Flask, source: SessionSource) -> None:
    """Take people's session cookies in this service; without `[pages] enabled` none is taken."""
    settings = _settings(app)
    if not settings.pages.enabled:
        return
    app.extensions["hivematrix_sessions"] = Sessions(settings, source)

    @app.after_request
    def put_fresh(response: Response) -> Response:
        if token := g.pop("fresh_session", None):
            set_cookie(response, settings, token)
        return response


class FormCookies(SecureCookieSessionInterface):
    """Flask's own, which makes a signer and looks through its settings also for callers without a cookie."""

    def open_session(self, app: Flask, request: Request) -> SecureCookieSession | None:
        if app.secret_key and not request.cookies.get(self.get_cookie_name(app)):
            return SecureCookieSession()
        return super().open_session(app, request)

    def save_session(self, app: Flask, session: SessionMixin, response: Response) -> None:
        if session or session.accessed or session.modified:
            super().save_session(app, session, response)


def init_forms(app: Flask, settings: Settings) -> None:
    """Flask's own signed cookie, which holds what forms are compared with: one a service, under the same flags."""
    name = f"hm_{settings.service_name}_form"
    app.secret_key = settings.pages.secret_key or None
    app.session_interface = FormCookies()
    app.config.update(
        SESSION_COOKIE_NAME=f"__Host-{name}" if is_secure(settings) else name,
        SESSION_COOKIE_PATH="/",
        SESSION_COOKIE_SECURE=is_secure(settings),
        SESSION_COOKIE_HTTPONLY=True,
        SESSION_COOKIE_SAMESITE="Lax",
    )


def of(app: Flask) -> Sessions | None:
    """The app's Sessions; None when it takes no cookies."""
    return app.extensions.get("hivematrix_sessions")


def is_secure(settings: Settings) -> bool:
    """Whether people come over TLS; then cookies are for TLS and for this host alone."""
    return settings.service.url.startswith("https://")


def cookie_name(settings: Settings) -> str:
    return f"__Host-{COOKIE}" if is_secure(settings) else COOKIE


def set_cookie(response: Response, settings: Settings, token: str) -> None:
    """Sign in the browser that gets this response."""
    response.set_cookie(
        cookie_name(settings), token, path="/", secure=is_secure(settings), httponly=True, samesite="Lax"
    )


def clear_cookie(response: Response, settings: Settings) -> None:
    response.delete_cookie(cookie_name(settings), path="/", secure=is_secure(settings), httponly=True, samesite="Lax")


def to_sign_in(settings: Settings) -> Response:
    """The way to Helm's sign-in page and back to the page asked for.

    Addresses are built from the configuration, never from the request's own Host header or a relative path: neither can
    send a person elsewhere.
    """
    own, helm = settings.public_url(settings.service_name), settings.public_url("helm")
    place = request.full_path.rstrip("?") if request.method in {"GET", "HEAD"} else "/"
    if _same_host(own, helm):
        return _see(f"{helm}/login", next=own + place)
    state = secrets.token_urlsafe(24)
    # A dict keeps its order: the oldest tab is forgotten first.
    session[_STATES] = dict([*session.get(_STATES, {}).items(), (state, place)][-_MOST_STATES:])
    return _see(f"{helm}/session/hand-over", service=settings.service_name, state=state, next=place)


def callback() -> Response:
    """Back from Helm with a single-use code: the way on lies in our own signed cookie, never in the address."""
    settings, known = _settings(current_app), of(current_app)
    if known is None:
        raise Problem("not_found", "This service has no web pages.")
    own = settings.public_url(settings.service_name)
    states: dict[str, str] = session.get(_STATES, {})
    place = states.get(request.args.get("state", ""))
    if place is None:
        raise Problem("bad_request", f"This sign-in was not begun here, or is finished already; open {own}/ again.")
    session[_STATES] = {state: kept for state, kept in states.items() if state != request.args["state"]}
    token = known.exchange(request.args.get("code", ""))
    if token is None:
        raise Problem("bad_request", f"The sign-in took too long, or was used already; open {own}/ again.")
    response = _see(own + place)
    set_cookie(response, settings, token)
    return response


def is_safe_target(settings: Settings, url: str) -> bool:
    """Whether `url` is an address of this mesh's services, so that a person may be sent there after signing in."""
    if any(letter <= " " or letter in "\\\x7f" for letter in url):
        return False
    bases = [settings.public_url(service) for service in ("codex", "ledger", "archive", "helm")]
    return any(url == base or url.startswith(base + "/") for base in bases)


def _see(url: str, **arguments: str) -> Response:
    answer = redirect(f"{url}?{urlencode(arguments)}" if arguments else url, 303)
    assert isinstance(answer, Response)
    return answer


def _same_host(one: str, other: str) -> bool:
    """Cookies ignore ports, and are shared by all paths of a host."""
    first, second = urlsplit(one), urlsplit(other)
    return (first.scheme, first.hostname) == (second.scheme, second.hostname)


def _settings(app: Flask) -> Settings:
    return app.settings  # type: ignore[attr-defined,no-any-return]
