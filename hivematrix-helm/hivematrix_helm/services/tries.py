"""Wrong tries: counted for the name and for where they come from, and refused when there are too many."""

import logging

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
    source, now = source_of(address), clock.now()
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
    failures.add(name, source_of(address), clock.now())
    store.session().commit()


def forget(name: str, address: str | None) -> None:
    """The person is in: what they mistyped before counts no more. The caller commits."""
    failures.forget(name, source_of(address))
