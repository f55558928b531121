"""Recording what is sealed, from the sealed bodies alone: acceptances, corrections, the hours that bills hold."""

import logging
from collections.abc import Collection, Iterable, Sequence

from hivematrix_common import clock
from hivematrix_common.database import AnySession
from hivematrix_common.domain.errors import DomainError

from hivematrix_ledger.clients import Sealed, SealedMonth
from hivematrix_ledger.domain.acceptance import Document, Settled
from hivematrix_ledger.domain.corrections import Standing, standings
from hivematrix_ledger.services import Ledger
from hivematrix_ledger.store import acceptances, corrections

_log = logging.getLogger("hivematrix.ledger")


def accept(session: AnySession, sealed: Sequence[tuple[Settled, Document]], by: str) -> None:
    """Insert acceptances: what is kept of each invoice, with its receipt."""
    if sealed:
        _alarm(acceptances.record(session, sealed, by=by, at=clock.now()))


def settle(session: AnySession, months: Iterable[SealedMonth], by: str) -> list[Sealed]:
    """Bring Ledger to what is sealed; returns the corrections that it did not know.

    Of a month with an erased document nothing is recorded: nobody can tell any more what it holds.
    """
    whole = [month for month in months if month.is_whole]
    firsts = [(Settled.of(month.documents[0].body), month.documents[0].receipt) for month in whole]
    known = _accepted(session, [settled for settled, _ in firsts])
    accept(session, [one for one in firsts if (one[0].account_number, one[0].period) not in known], by)
    corrected = [month for month in whole if len(month.documents) > 1]
    return [one for month in corrected for one in _correct(session, month, by)]


def settle_left(session: AnySession, ledger: Ledger, accounts: Sequence[str], by: str) -> None:
    """Settle what a dead process left on its way to the archive."""
    left = acceptances.sent(session, accounts)
    session.commit()  # no transaction waits for a peer
    for period in sorted({period for _, period in left}):
        found = ledger.archive.sealed(period, [account for account, of in left if of == period])
        settle(session, found.values(), by)
    acceptances.forget_sent(session, left)
    session.commit()


def standing_of(month: SealedMonth) -> list[Standing]:
    """How the month stands after each of its documents."""
    return standings([(one.body, one.receipt["body"]) for one in month.documents])


def _accepted(session: AnySession, settled: Sequence[Settled]) -> Collection[tuple[str, str]]:
    by_period: dict[str, list[str]] = {}
    for one in settled:
        by_period.setdefault(one.period, []).append(one.account_number)
    found = {period: acceptances.of_period(session, period, accounts) for period, accounts in by_period.items()}
    return {(account, period) for period, rows in found.items() for account in rows}


def _correct(session: AnySession, month: SealedMonth, by: str) -> list[Sealed]:
    try:
        after = standing_of(month)
    except DomainError as error:
        _log.critical("a correction cannot be read", extra={"alert": "correction_unread", "reason": str(error)})
        return []
    account, period = after[-1].invoice["account_number"], after[-1].invoice["period"]
    first = corrections.recorded(session, account, period) + 1
    fresh = month.documents[first:]
    if fresh:
        rows = [_row(month.documents[at], after[at - 1], after[at]) for at in range(first, len(after))]
        corrections.record(session, rows, by=by, at=clock.now())
    if any(one.receipt["kind"] == "invoice" for one in fresh):
        _alarm(acceptances.hold(session, [after[-1].settled()]))
    return fresh


def _row(sealed: Sealed, before: Standing, after: Standing) -> Document:
    body, receipt, settled = sealed.body, sealed.receipt, after.settled()
    return {
        **{name: body[name] for name in ("account_number", "period", "kind", "invoice_number", "currency")},
        **{name: receipt[name] for name in ("log_index", "sealed_at", "checkpoint")},
        **{name: getattr(settled, name) for name in ("prepaid_monthly", "prepaid_taken", "prepaid_pool")},
        "revision": after.revision,
        "corrects": body["corrects"]["invoice_number"],
        "body_sha256": receipt["body"],
        "total": body["totals"]["total"],
        "bill": settled.invoice_number,
        "bill_sha256": after.digest,
        "bill_total": settled.total,
        "credited": format(after.credited_total, "f"),
        "releases": settled.invoice_number if after.is_void and not before.is_void else None,
    }


def _alarm(twice: int) -> None:
    if twice:
        _log.critical("entries are on two bills", extra={"alert": "billed_twice", "entries": twice})
