"""Wrong tries: counted for the name and for where they come from, and refused when there are too many."""

import hashlib
import hmac
import logging

from flask import current_app
from hivematrix_common import audit, clock
from hivematrix_common.errors import Problem

from hivematrix_helm import store
from hivematrix_helm.domain.lockout import free_at, source_of
from hivematrix_helm.store import failures

_log = logging.getLogger("hivematrix.sign_in")


def check(name: str, address: str | None) -> None:
    """Problem `too_many_tries` says when the next is taken.

    Until the transaction ends no other try for this name or from there is looked at: many at once count as many.
    """
    name, source, now = _kept(name), source_of(address), clock.now()
    until = free_at(failures.recent(name, source, now), name, source, now)
    if until is None:
        return
    store.session().rollback()
    _log.warning("too many tries", extra={"address": address, "until": clock.instant_text(until)})
    detail = f"Too many wrong tries; the next is taken at {clock.instant_text(until)}. Others are not affected."
    headers = {"Retry-After": str(int((until - now).total_seconds()) + 1)}
    raise Problem("too_many_tries", detail, headers=headers, retry_at=clock.instant_text(until))


def failed(name: str, address: str | None) -> None:
    """Count a wrong try, and commit it."""
    audit.about(outcome="refused")
    failures.add(_kept(name), source_of(address), clock.now())
    store.session().commit()


def forget(name: str, address: str | None) -> None:
    """The person is in: what they mistyped before counts no more. The caller commits."""
    failures.forget(_kept(name), source_of(address))


def _kept(name: str) -> str:
    """What stands in the database for a name: people type their password there, too."""
    key = current_app.settings.pages.secret_key  # type: ignore[attr-defined]
    return hmac.new(key.encode(), name.encode(), hashlib.sha256).hexdigest()
