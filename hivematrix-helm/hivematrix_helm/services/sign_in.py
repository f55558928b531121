"""Signing in: a password, then a second factor where the person has one, then a session."""

import hashlib
import logging
from collections.abc import Mapping
from typing import Any

from hivematrix_common import audit, clock

from hivematrix_helm import store
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain import second_factor
from hivematrix_helm.domain.people import normal_name
from hivematrix_helm.services import passwords, sessions, tries
from hivematrix_helm.store import people
from hivematrix_helm.store.people import Person

HALF_SECONDS = 300
_log = logging.getLogger("hivematrix.sign_in")


def by_password(name: str, password: str, address: str | None) -> Person | None:
    """The person of that name and password; None when they do not go together, and nothing tells why.

    Problem `too_many_tries` when this name, or this address, was tried too often.
    """
    name = normal_name(name)
    tries.check(name, address)
    person = people.named(name)
    right = passwords.matches(person.password_hash if person else None, password)
    if person is None or not right or person.disabled_at:
        _log.warning("sign-in refused", extra={"person": person.name if person else None, "address": address})
        audit.about(person.name if person else "an unknown name")
        tries.failed(name, address)
        return None
    store.session().rollback()
    return person


def by_code(person: Person, code: str, address: str | None) -> bool:
    """Whether it is the code of this moment, never used before."""
    tries.check(person.name, address)
    step = second_factor.step_of(person.totp_secret or b"", code, clock.now(), person.totp_last_step)
    return _decided(person, address, right=step is not None and people.use_step(person.id, step))


def by_recovery_code(person: Person, code: str, address: str | None) -> bool:
    """Whether it is one of the person's codes; it is used up by that."""
    tries.check(person.name, address)
    right = people.use_recovery_code(person.id, second_factor.recovery_digest(code), clock.now())
    if right:
        left = people.unused_recovery_codes(person.id)
        _log.warning("signed in by a recovery code", extra={"person": person.name, "left": left})
    return _decided(person, address, right=right)


def half_way(person: Person) -> dict[str, Any]:
    """What the password proved, to be kept in a signed cookie until `resumed`."""
    return {"id": person.id, "at": int(clock.now().timestamp()), "of": _mark(person), "second": False}


def resumed(half: Mapping[str, Any]) -> Person | None:
    """Whose first step it was; None when it was minutes ago, or the password was changed since."""
    if not half or half["at"] + HALF_SECONDS < clock.now().timestamp():
        return None
    person = people.of_id(half["id"])
    store.session().rollback()
    return person if person and not person.disabled_at and _mark(person) == half["of"] else None


def step_after(half: Mapping[str, Any], person: Person) -> str | None:
    """What is still needed: `totp`, then `password` (a new one), then nothing."""
    if person.totp_secret and not half["second"]:
        return "totp"
    return "password" if person.must_change else None


def admit(settings: HelmSettings, person: Person, address: str | None, agent: str) -> str | None:
    """The token of a new session, when all was right; None when the account was changed in the meantime."""
    now = people.of_id(person.id, lock=True)
    if now is None or now.disabled_at or now.password_hash != person.password_hash:
        store.session().rollback()
        return None
    audit.about(person.name, person=person.name, role=now.role)
    tries.forget(person.name, address)
    token = sessions.begin(settings, now, address, agent)
    store.session().commit()
    _log.info("signed in", extra={"person": person.name, "address": address})
    return token


def _mark(person: Person) -> str:
    return hashlib.sha256(person.password_hash.encode()).hexdigest()[:32]


def _decided(person: Person, address: str | None, *, right: bool) -> bool:
    if right:
        store.session().commit()
    else:
        _log.warning("second factor refused", extra={"person": person.name, "address": address})
        audit.about(person.name)
        tries.failed(person.name, address)
    return right
