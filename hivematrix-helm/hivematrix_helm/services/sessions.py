"""Sessions: begun by a sign-in, carried by signed tokens, renewed while they are used, ended for good."""

import hashlib
import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from hivematrix_common import clock
from hivematrix_common.domain.session import Claims
from hivematrix_common.errors import Problem
from hivematrix_common.session_tokens import InvalidSessionError, Verifier, age, issue
from sqlalchemy import Row
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from hivematrix_helm import store
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain.sessions import CODE_LIVES, IDLE, LONGEST, TOLD_FOR, Span
from hivematrix_helm.store import sessions
from hivematrix_helm.store.people import Person
from hivematrix_helm.system import session_key

_AGENT_LENGTH = 200
_log = logging.getLogger("hivematrix.sessions")


class LocalSource:
    """What other services ask Helm for, Helm asks itself.

    Its database away is to it what Helm away is to them: whoever restarts a service then is still let in.
    """

    def __init__(self, settings: HelmSettings) -> None:
        self._settings = settings

    def renew(self, token: str) -> str | None:
        with _away_told():
            return renew(self._settings, token)

    def exchange(self, code: str) -> str | None:
        with _away_told():
            return exchange(self._settings, code, "helm")

    def revoked(self) -> set[str]:
        with _away_told():
            return revoked()


@contextmanager
def _away_told() -> Iterator[None]:
    try:
        sessions.hurry()
        yield
    except (OperationalError, PoolTimeoutError) as error:
        raise Problem("database_unavailable", str(error).partition("\n")[0]) from None
    finally:
        store.session().rollback()  # what follows in this request has its usual time


def begin(settings: HelmSettings, person: Person, address: str | None, agent: str) -> str:
    """A new session's token. The caller commits."""
    now, sid = clock.now(), secrets.token_urlsafe(16)
    sessions.add(
        sid=sid,
        person_id=person.id,
        created_at=now,
        seen_at=now,
        ends_at=now + LONGEST,
        address=address or "unknown",
        agent=agent.replace("\0", "")[:_AGENT_LENGTH],
    )
    return _issued(settings, person, sid)


def renew(settings: HelmSettings, token: str) -> str | None:
    """A fresh token of the same session, as the account is now; None when the session has ended."""
    try:
        claims = Verifier(settings).read(token)
    except InvalidSessionError:
        return None
    # An old token of a living session is nobody's: the browser got a newer one long ago.
    return _fresh(settings, claims.sid) if age(claims) < IDLE.total_seconds() else None


def hand_over_code(sid: str, service: str) -> str:
    """A code with which `service` gets this session's token: once, within a minute."""
    code = secrets.token_urlsafe(32)
    sessions.add_code(_digest(code), sid, service, clock.now())
    store.session().commit()
    return code


def exchange(settings: HelmSettings, code: str, service: str) -> str | None:
    """The token a code stands for; None when it is unknown, used, too old, or was made for another service."""
    sid = sessions.use_code(_digest(code), service, clock.now(), CODE_LIVES)
    if sid is None:
        store.session().rollback()
        _log.warning("hand-over refused", extra={"to": service})
        return None
    return _fresh(settings, sid)


def revoked() -> set[str]:
    """The sessions that were ended while tokens of theirs may be alive."""
    return sessions.revoked_since(clock.now() - TOLD_FOR)


def lives(sid: str) -> bool:
    """Whether a session goes on, as of now and not of a few seconds ago."""
    return _living(sid) is not None


def living() -> int:
    """How many sessions there are."""
    return sessions.count(clock.now())


def refreshed(settings: HelmSettings, sid: str) -> str | None:
    """A token that says what the account is now."""
    return _fresh(settings, sid)


def of_person(person_id: int) -> Sequence[Row[Any]]:
    return sessions.alive_of(person_id, clock.now())


def end(person_id: int, why: str, *, sid: str | None = None, but: str | None = None) -> int:
    """End the person's sessions: one (`sid`), or all `but` one. How many ended; services know within 5 s."""
    ended = sessions.revoke(person_id, why, clock.now(), sid=sid, but=but)
    store.session().commit()
    return ended


def _fresh(settings: HelmSettings, sid: str) -> str | None:
    found = _living(sid)
    if found is None:
        store.session().rollback()
        return None
    sessions.seen(sid, clock.now())
    token = _issued(settings, found, sid)
    store.session().commit()
    return token


def _living(sid: str) -> Row[Any] | None:
    """The session and its person, while both are good."""
    found = sessions.with_person(sid)
    if found is None or found.disabled_at:
        return None
    return found if Span(found.seen_at, found.ends_at, found.revoked_at).alive(clock.now()) else None


def _issued(settings: HelmSettings, person: Person, sid: str) -> str:
    claims = Claims(
        id=str(person.id),
        name=person.name,
        display=person.display_name,
        role=person.role,
        sid=sid,
        account=person.account_number,
        theme=person.theme,
        shortcuts=person.shortcuts,
    )
    return issue(session_key.read(settings.home), claims)


def _digest(code: str) -> bytes:
    return hashlib.sha256(code.encode()).digest()
