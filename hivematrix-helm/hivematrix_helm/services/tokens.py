"""Service tokens: given out, listed, replaced without a call lost, taken away."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from flask import has_request_context
from hivematrix_common import audit, clock, tokens
from hivematrix_common.config import conf_path
from hivematrix_common.domain.roles import SCOPES
from hivematrix_common.durable import file_lock
from hivematrix_common.errors import Problem
from hivematrix_common.tokens import Registration

from hivematrix_helm.domain.mesh import SERVICES, services_of
from hivematrix_helm.domain.times import after
from hivematrix_helm.services import unacceptable
from hivematrix_helm.system.confs import Conf, registrations

OVERLAP, LONGEST_OVERLAP = "1h", timedelta(hours=24)
ENDS_SOON = timedelta(days=14)
_log = logging.getLogger("hivematrix.tokens")
# Of which service -> token id -> when it was last used and where from.
Uses = Mapping[str, Mapping[str, tuple[datetime, str | None]]]


@dataclass(frozen=True, slots=True)
class Given:
    """A new token; where it took another's place, `old_ends` says when that one's time is over.

    A service's own token stands in its conf already and is not shown.
    """

    caller: str
    scopes: tuple[str, ...]
    expires: datetime | None
    token: str | None = field(repr=False)
    old_ends: datetime | None = None


def issue(home: Path, name: str, scopes: Sequence[str], expires: datetime | None) -> Given:
    """A new token, live within two seconds with every service its scopes name; Problem says what is not acceptable."""
    if name in SERVICES:
        raise unacceptable("name", f"{name} is a service; `hivematrix-helm init` gives services their tokens")
    if not tokens.CALLER.fullmatch(name):
        raise unacceptable("name", f"expected small letters, digits and hyphens, got {name!r}")
    if unknown := sorted(set(scopes) - set(SCOPES)):
        raise unacceptable("scopes", f"unknown {', '.join(unknown)}; known are {', '.join(SCOPES)}")
    if expires and expires <= clock.now():
        raise unacceptable("expires", f"{clock.instant_text(expires)} is past")
    token, wanted = tokens.generate(name), services_of(tuple(sorted(set(scopes))))
    with _locked(home):
        for service, its in wanted.items():
            tokens.register(conf_path(home, service), token, name, its, expires)
    _told("token given", name, tokens.token_id(token))
    return Given(name, tuple(sorted(set(scopes))), expires, token)


def end_of(expires: str | None) -> datetime | None:
    """`90d` from now, an instant, or nothing: no end."""
    try:
        return after(expires, clock.now()) if expires else None
    except ValueError as error:
        raise unacceptable("expires", str(error)) from None


def issued(home: Path, uses: Uses | None = None) -> list[dict[str, Any]]:
    """Every token that a service knows, the services' own included, by caller; digests are not shown."""
    found: dict[str, dict[str, Any]] = {}
    for service, entry in _registered(home):
        row = found.setdefault(entry.id, _row(entry))
        row["services"].append(service)
        row["scopes"] += sorted(entry.scopes)
        used = (uses or {}).get(service, {}).get(entry.id)
        if used and (row["used_at"] is None or used[0] > row["used_at"]):
            row["used_at"], row["used_from"] = used
    return sorted(found.values(), key=lambda row: (row["caller"], str(row["created"]), row["id"]))


def no_scope() -> Problem:
    return unacceptable("scopes", "choose one or more")


def members(given: Given) -> dict[str, Any]:
    return asdict(given)


def as_json(told: Given | Mapping[str, Any]) -> dict[str, Any]:
    """A token's row, or what was given, with its instants as text."""
    found = members(told) if isinstance(told, Given) else told
    return {name: clock.instant_text(v) if isinstance(v, datetime) else v for name, v in found.items()}


def with_id(home: Path, token_id: str) -> str:
    """The id, when there is such a token; Problem `not_found` otherwise."""
    if all(entry.id != token_id for _, entry in _registered(home)):
        raise Problem("not_found", f"There is no token {token_id}.")
    return token_id


def rotate(home: Path, name_or_id: str, overlap: str = OVERLAP) -> list[Given]:
    """Put a new token in the place of one, or of all of a service's; the old ones go on for `overlap`.

    The receiver knows the new token before its caller holds it, and the old one until after: no call fails. What was
    replaced before ends at once: of a caller's tokens for a peer at most two are good.
    """
    until = _end_of_overlap(overlap)
    with _locked(home):
        known = list(_registered(home))
        if name_or_id in SERVICES or any(e.id == name_or_id and e.caller in SERVICES for _, e in known):
            done = _rotate_service(home, known, name_or_id, until)
        else:
            done = [_rotate_program(home, known, name_or_id, until)]
    _told("token replaced", done[0].caller, name_or_id)
    return done


def revoke(home: Path, name_or_id: str) -> list[str]:
    """Unregister everywhere; the ids that are gone. A service's name revokes nothing, its token's id does."""
    gone = set()
    with _locked(home):
        for service, entry in _registered(home):
            named = entry.caller == name_or_id and name_or_id not in SERVICES
            if (named or entry.id == name_or_id) and tokens.unregister(conf_path(home, service), entry.id):
                gone.add(entry.id)
    if gone:
        _told("token revoked", name_or_id, " ".join(sorted(gone)))
    return sorted(gone)


def _rotate_service(home: Path, known: list[tuple[str, Registration]], name_or_id: str, until: datetime) -> list[Given]:
    caller = next((entry.caller for _, entry in known if entry.id == name_or_id), name_or_id)
    conf, done = Conf(home, caller), []
    for peer in SERVICES:
        entries = [entry for service, entry in known if service == peer and entry.caller == caller]
        held = tokens.digest(conf.section("services").get(f"{peer}_token", ""))
        current = next((entry for entry in entries if entry.digest == held), None)
        if current is None or name_or_id not in {caller, current.id}:
            continue
        token, expires = tokens.generate(caller), _same_span(current)
        tokens.register(conf_path(home, peer), token, caller, sorted(current.scopes), expires)
        conf.add("services", {f"{peer}_token": token}, force=True)
        _replace(home, peer, entries, current.id, _end(current, until, token))
        done.append(Given(caller, tuple(sorted(current.scopes)), expires, None, _sooner(current, until)))
    if not done:
        raise Problem("not_found", f"{name_or_id} holds no token; run: hivematrix-helm init")
    return done


def _rotate_program(home: Path, known: list[tuple[str, Registration]], name_or_id: str, until: datetime) -> Given:
    current = _one(known, name_or_id)
    its = [(service, entry) for service, entry in known if entry.id == current.id]
    token, expires = tokens.generate(current.caller), _same_span(current)
    for service, entry in its:
        tokens.register(conf_path(home, service), token, current.caller, sorted(entry.scopes), expires)
        same = [e for s, e in known if (s, e.caller, e.scopes) == (service, current.caller, entry.scopes)]
        _replace(home, service, same, entry.id, _end(entry, until, token))
    scopes = tuple(sorted(scope for _, entry in its for scope in entry.scopes))
    return Given(current.caller, scopes, expires, token, _sooner(current, until))


def _one(known: list[tuple[str, Registration]], name_or_id: str) -> Registration:
    """The one token meant; Problem when there is none, or when a name has several that nobody replaced yet."""
    now = clock.now()
    living = {e.id: e for _, e in known if name_or_id in (e.id, e.caller) and not e.expired(now)}
    if not living:
        raise Problem("not_found", f"There is no token of {name_or_id}; see: hivematrix-helm tokens list")
    lasting = [entry for entry in living.values() if not entry.replaced_by or entry.id == name_or_id]
    if not lasting:
        raise Problem("not_found", f"Every token of {name_or_id} was replaced; see: hivematrix-helm tokens list")
    if len(lasting) > 1:
        ids = ", ".join(sorted(entry.id for entry in lasting))
        raise Problem("conflict", f"{name_or_id} has several tokens; say which one: {ids}.")
    return lasting[0]


def _replace(home: Path, service: str, entries: list[Registration], current: str, end: dict[str, str]) -> None:
    """`current` goes on to its `end`; what was replaced earlier ends now."""
    for entry in entries:
        if entry.id == current:
            Conf(home, service).add(f"caller:{entry.id}", end, force=True)
        elif entry.replaced_by:
            tokens.unregister(conf_path(home, service), entry.id)


def _end(entry: Registration, until: datetime, token: str) -> dict[str, str]:
    return {"expires": clock.instant_text(_sooner(entry, until)), "replaced_by": tokens.token_id(token)}


def _same_span(entry: Registration) -> datetime | None:
    """A token that was given for 90 days is replaced by one for 90 days."""
    return clock.now() + (entry.expires - entry.created) if entry.expires and entry.created else entry.expires


def _sooner(entry: Registration, until: datetime) -> datetime:
    return min(entry.expires, until) if entry.expires else until


def _end_of_overlap(overlap: str) -> datetime:
    now = clock.now()
    try:
        until = after(overlap, now)
    except ValueError as error:
        raise unacceptable("overlap", str(error)) from None
    if not now <= until <= now + LONGEST_OVERLAP:
        raise unacceptable("overlap", f"expected at most 24h, got {overlap}")
    return until


def _registered(home: Path) -> Iterator[tuple[str, Registration]]:
    for service in SERVICES:
        for entry in registrations(home, service):
            yield service, entry


def _row(entry: Registration) -> dict[str, Any]:
    return {
        "id": entry.id,
        "caller": entry.caller,
        "scopes": [],
        "services": [],
        "created": entry.created,
        "expires": entry.expires,
        "replaced_by": entry.replaced_by,
        "ends_soon": entry.expires is not None and entry.expires < clock.now() + ENDS_SOON,
        "of_service": entry.caller in SERVICES,
        "used_at": None,
        "used_from": None,
    }


def _told(what: str, caller: str, token_id: str) -> None:
    _log.info(what, extra={"token_of": caller, "token": token_id})
    if has_request_context():
        audit.about(caller, token=token_id)


@contextmanager
def _locked(home: Path) -> Iterator[None]:
    with file_lock(home / "run" / "tokens.lock"):
        yield
