"""What people do with their own account. Each weighty thing asks for the password once more."""

import logging
import secrets
from typing import Any

from hivematrix_common import audit, clock
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.errors import Problem, from_domain

from hivematrix_helm import store
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain import passwords as rules
from hivematrix_helm.domain import second_factor
from hivematrix_helm.domain.passwords import prepared
from hivematrix_helm.domain.people import THEMES
from hivematrix_helm.services import passwords, sessions, tries, unacceptable
from hivematrix_helm.store import people
from hivematrix_helm.store import sessions as session_store
from hivematrix_helm.store.people import Person

_log = logging.getLogger("hivematrix.accounts")


def confirm_password(person: Person, password: str, address: str | None, field: str = "password") -> None:
    """Problem `invalid` naming `field` when it is not the person's; wrong ones count as tries to sign in."""
    tries.check(person.name, address)
    if not passwords.matches(person.password_hash, password):
        tries.failed(person.name, address)
        raise unacceptable(field, "this is not your password")
    store.session().rollback()


def twice(new: str, again: str) -> str:
    """A new password that was typed alike twice."""
    if prepared(new) != prepared(again):
        raise unacceptable("again", "this is another one than above")
    return new


def change_password(settings: HelmSettings, person: Person, new: str, address: str | None, agent: str) -> str:
    """Every session of the person ends; the token of a new one, for the browser that asked.

    A stolen token has the same session as its owner's: to be rid of it, the owner's has to end too.
    """
    if passwords.matches(person.password_hash, new):
        raise unacceptable("new", "this is your password already")
    try:
        rules.check(new, (person.name, person.display_name))
    except DomainError as error:
        raise from_domain(DomainError("new", error.message)) from None
    values = {"password_hash": passwords.hashed(new), "password_changed_at": clock.now(), "must_change": False}
    return _begin_anew(settings, person, "password", address, agent, **values)


def begin_second_factor(person: Person) -> None:
    """A secret for the person's authenticator; nothing asks for it until a code proves that it is there."""
    people.change(person.id, totp_pending=secrets.token_bytes(second_factor.SECRET_BYTES))
    store.session().commit()


def confirm_second_factor(
    settings: HelmSettings, person: Person, code: str, address: str | None, agent: str
) -> tuple[list[str], str]:
    """From now on a sign-in asks for a code. The recovery codes, and the token of a new session: all others end."""
    tries.check(person.name, address)
    step = second_factor.step_of(person.totp_pending or b"", code, clock.now(), 0)
    if step is None:
        tries.failed(person.name, address)
        raise unacceptable("code", "this is not the code of this moment; see that the device's clock is right")
    codes = _new_codes(person)
    values = {"totp_secret": person.totp_pending, "totp_pending": None, "totp_last_step": step}
    return codes, _begin_anew(settings, person, "second factor", address, agent, **values)


def second_factor_off(settings: HelmSettings, person: Person, address: str | None, agent: str) -> str:
    """The token of a new session; all others end."""
    people.replace_recovery_codes(person.id, ())
    values = {"totp_secret": None, "totp_pending": None}
    return _begin_anew(settings, person, "second factor off", address, agent, **values)


def new_recovery_codes(person: Person) -> list[str]:
    """Ten codes in place of all earlier ones, shown only now."""
    if person.totp_secret is None:
        raise unacceptable("password", "recovery codes are for those who have a second factor")
    codes = _new_codes(person)
    store.session().commit()
    return codes


def of_caller(person_id: str) -> Person:
    """The account behind a session. Problem `unauthorized` when there is none any more."""
    found = people.of_id(int(person_id))
    if found is None:
        raise Problem("unauthorized", "There is no such account any more.")
    return found


def second_factor_of(person: Person) -> dict[str, Any]:
    return {"on": person.totp_secret is not None, "codes_left": people.unused_recovery_codes(person.id)}


def enrolment(person: Person) -> tuple[str, str]:
    """What the QR code of a second factor that waits for its first code says, and its secret for typing."""
    if person.totp_pending is None:
        raise unacceptable("code", "the second factor is not being set up; begin again")
    address = second_factor.address_of(person.totp_pending, person.name)
    return address, second_factor.secret_text(person.totp_pending)


def choose(person: Person, theme: str, *, shortcuts: bool) -> None:
    """How pages look and listen."""
    if theme not in THEMES:
        raise unacceptable("theme", f"expected {', '.join(THEMES)}")
    people.change(person.id, theme=theme, shortcuts=shortcuts)
    store.session().commit()


def _new_codes(person: Person) -> list[str]:
    codes = [
        second_factor.recovery_code(secrets.token_bytes(second_factor.RECOVERY_BYTES))
        for _ in range(second_factor.RECOVERY_CODES)
    ]
    people.replace_recovery_codes(person.id, map(second_factor.recovery_digest, codes))
    return codes


def _begin_anew(
    settings: HelmSettings, person: Person, why: str, address: str | None, agent: str, **values: Any
) -> str:
    now = people.of_id(person.id, lock=True)
    if now is None or now.disabled_at or now.password_hash != person.password_hash:
        store.session().rollback()
        raise Problem("conflict", "Your account was changed in the meantime; sign in again.")
    people.change(person.id, **values)
    session_store.revoke(person.id, why, clock.now())
    audit.about(person.name, person=person.name, role=now.role, changed=why)
    tries.forget(person.name, address)
    token = sessions.begin(settings, now, address, agent)
    store.session().commit()
    _log.info("account changed", extra={"person": person.name, "change": why})
    return token
