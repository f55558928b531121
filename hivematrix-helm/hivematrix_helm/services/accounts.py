"""Accounts as administrators keep them."""

import logging
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from hivematrix_common import clock
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.roles import ROLES
from hivematrix_common.errors import Problem, from_domain

from hivematrix_helm import store
from hivematrix_helm.domain import passwords as rules
from hivematrix_helm.domain.people import check_account, normal_name, parse_display_name, parse_name
from hivematrix_helm.services import audited, passwords, unacceptable
from hivematrix_helm.store import people, sessions
from hivematrix_helm.store.people import Person

_log = logging.getLogger("hivematrix.accounts")


def everybody() -> Sequence[Person]:
    return people.everybody()


def by_role() -> dict[str, int]:
    """How many people of each role may sign in."""
    return people.count_by_role()


def shown(name: str) -> Person:
    """One of everybody(). Problem `not_found` when nobody has that name."""
    found = people.one_listed(normal_name(name))
    if found is None:
        raise _nobody(name)
    return found


def as_json(person: Person) -> dict[str, Any]:
    """One of everybody(), with its instants as text."""
    members = zip(person._fields, person, strict=True)  # its names are a subclass of str that orjson does not take
    return {str(name): clock.instant_text(v) if isinstance(v, datetime) else v for name, v in members}


def named(name: str) -> Person:
    """Problem `not_found` when nobody has that name."""
    found = people.named(normal_name(name))
    if found is None:
        raise _nobody(name)
    return found


def add(
    name: str,
    display_name: str,
    role: str,
    account: str | None = None,
    *,
    password: str | None = None,
    must_change: bool = True,
) -> str:
    """A new account; its password, generated when none is given. Problem `conflict` when the name is taken."""
    try:
        name, shown = parse_name(name), parse_display_name(display_name or name)
        _check_role(role, account)
        chosen = _chosen(password, (name, shown))
    except DomainError as error:
        raise from_domain(error) from None
    now = clock.now()
    added = people.add(
        name=name,
        display_name=shown,
        role=role,
        account_number=account,
        password_hash=passwords.hashed(chosen),
        password_changed_at=now,
        must_change=must_change,
        created_at=now,
    )
    if not added:
        store.session().rollback()
        raise Problem("conflict", f"There is a user {name} already.")
    audited.done("users add", name, role=role, account=account)
    store.session().commit()
    _log.info("user added", extra={"person": name, "role": role})
    return chosen


def set_password(name: str, password: str | None = None, *, must_change: bool = True) -> str:
    """Another password, generated when none is given; the person is signed out everywhere."""
    person = named(name)
    try:
        chosen = _chosen(password, (person.name, person.display_name))
    except DomainError as error:
        raise from_domain(error) from None
    values = {"password_hash": passwords.hashed(chosen), "must_change": must_change}
    _change(person, "password", password_changed_at=clock.now(), **values)
    return chosen


def change_role(name: str, role: str, account: str | None = None) -> None:
    """Problem `conflict` when nobody could administer any more."""
    try:
        _check_role(role, account)
    except DomainError as error:
        raise from_domain(error) from None
    people.lock_administrators()
    person = named(name)
    if role != "admin":
        _keep_an_administrator(person)
    _change(person, "role", role=role, account_number=account)


def disable(name: str) -> None:
    """The person is signed out everywhere and cannot sign in. Problem `conflict` for the last administrator."""
    people.lock_administrators()
    person = named(name)
    _keep_an_administrator(person)
    _change(person, "disabled", disabled_at=person.disabled_at or clock.now())


def enable(name: str) -> None:
    person = named(name)
    people.change(person.id, disabled_at=None)
    audited.done("users enable", person.name)
    store.session().commit()
    _log.info("user changed", extra={"person": person.name, "change": "enabled"})


def sign_out(name: str) -> None:
    """End all of the person's sessions."""
    _change(named(name), "signed out")


def second_factor_off(name: str) -> None:
    """For whoever lost the device and the recovery codes."""
    person = named(name)
    people.replace_recovery_codes(person.id, ())
    _change(person, "second factor off", totp_secret=None, totp_pending=None)


def _change(person: Person, what: str, **values: Any) -> None:
    """Change the account and end its sessions, in one transaction."""
    if values:
        people.change(person.id, **values)
    ended = sessions.revoke(person.id, what, clock.now())
    audited.done(f"users {what}", person.name, **{n: v for n, v in values.items() if n in {"role", "account_number"}})
    store.session().commit()
    _log.info("user changed", extra={"person": person.name, "change": what, "sessions_ended": ended})


def _nobody(name: str) -> Problem:
    return Problem("not_found", f"There is no user {normal_name(name)}.")


def _keep_an_administrator(person: Person) -> None:
    if person.role == "admin" and not people.another_administrator(person.id):
        store.session().rollback()
        raise Problem("conflict", f"{person.name} is the last administrator; make another one first.")


def _check_role(role: str, account: str | None) -> None:
    if role not in ROLES:
        raise unacceptable("role", f"expected {', '.join(ROLES)}, got {role[:50]}")
    check_account(role, account)


def _chosen(password: str | None, about: tuple[str, ...]) -> str:
    if password is None:
        return passwords.generated()
    rules.check(password, about)
    return password
