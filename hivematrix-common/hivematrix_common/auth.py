"""Who calls, and whether they may: bearer tokens (RFC 6750), one scope a route, no scope means no access."""

import configparser
import hmac
import logging
import threading
from dataclasses import dataclass

from flask import Flask, current_app, g, request

from hivematrix_common import clock, tokens
from hivematrix_common.config import ConfigError, Settings
from hivematrix_common.errors import Problem
from hivematrix_common.tokens import Registration

PUBLIC = "public"
LOCAL = "this host or any token"
LOOPBACK = ("127.0.0.1", "::1")
_FORWARDED = ("X-Forwarded-For", "X-Real-IP", "Forwarded", "X-Forwarded-Host", "X-Forwarded-Proto")
_log = logging.getLogger("hivematrix.auth")


@dataclass(frozen=True, slots=True)
class Caller:
    name: str
    scopes: frozenset[str]
    token_id: str


class Registry:
    """The receiver's registered tokens, read again whenever its conf file changes."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._known: list[Registration] = []

    def find(self, token: str) -> Registration | None:
        """The registration of `token`, expired ones included; every entry is compared, in constant time."""
        wanted, found = tokens.digest(token), None
        for entry in self.entries():
            if hmac.compare_digest(entry.digest, wanted):
                found = entry
        return found

    def entries(self) -> list[Registration]:
        with self._lock:
            stamp = self._file_stamp()
            if stamp != self._stamp:
                self._reload(stamp)
            return self._known

    def _file_stamp(self) -> tuple[int, int, int] | None:
        try:
            found = self._settings.conf.stat()
        except FileNotFoundError:
            return (0, 0, 0)
        return found.st_mtime_ns, found.st_ino, found.st_size

    def _reload(self, stamp: tuple[int, int, int] | None) -> None:
        # A file that became unreadable must not leave revoked tokens alive: nobody is known until it is mended.
        try:
            self._known = self._settings.registrations()
        except (ConfigError, configparser.Error, OSError, ValueError) as error:
            _log.error("callers cannot be read, all are refused", extra={"reason": str(error)})
            self._known = []
        self._stamp = stamp


def init_auth(app: Flask, settings: Settings) -> None:
    app.extensions["hivematrix_registry"] = Registry(settings)

    @app.before_request
    def authorize() -> None:
        if request.url_rule is None:
            return
        scope = scope_of(app, request.endpoint or "")
        if scope == PUBLIC or (scope == LOCAL and is_local_or_known()):
            return
        g.caller = authenticate()
        require(scope)


def scope_of(app: Flask, endpoint: str) -> str:
    """The scope a route declared; a route that declared none is closed to everyone."""
    return str(getattr(app.view_functions.get(endpoint), "hm_scope", "none"))


def caller() -> Caller:
    """Who makes this request; a public route has no caller and raises Problem(unauthorized)."""
    found = g.get("caller")
    if found is None:
        raise _unauthorized()
    return found  # type: ignore[no-any-return]


def require(scope: str) -> None:
    if scope not in caller().scopes:
        challenge = f'Bearer error="insufficient_scope", scope="{scope}"'
        _log.warning("refused", extra={"caller": caller().name, "scope": scope, "endpoint": request.endpoint})
        raise Problem("insufficient_scope", f"This needs the scope {scope}.", headers={"WWW-Authenticate": challenge})


def authenticate() -> Caller:
    """The caller behind the request's bearer token; Problem(unauthorized or invalid_token) otherwise."""
    header = request.headers.get("Authorization", "")
    scheme, _, token = header.partition(" ")
    if not header or scheme.lower() != "bearer":
        raise _unauthorized()
    registry: Registry = current_app.extensions["hivematrix_registry"]
    entry = registry.find(token.strip())
    if entry is None or entry.expired(clock.now()):
        _log.warning("refused", extra={"reason": "expired" if entry else "unknown token", "endpoint": request.endpoint})
        challenge = 'Bearer error="invalid_token"'
        raise Problem(
            "invalid_token", "The token is unknown, revoked or expired.", headers={"WWW-Authenticate": challenge}
        )
    return Caller(entry.caller, entry.scopes, entry.id)


def is_local_or_known() -> bool:
    """Loopback without a proxy in between, or any valid token: who may see metrics and health details."""
    if request.remote_addr in LOOPBACK and not any(name in request.headers for name in _FORWARDED):
        return True
    try:
        authenticate()
    except Problem:
        return False
    return True


def _unauthorized() -> Problem:
    return Problem(
        "unauthorized", "Send a token: Authorization: Bearer <token>.", headers={"WWW-Authenticate": "Bearer"}
    )
