"""Months whose sealed documents the archive lost: found, and opened again, so that they are billed once more."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

from hivematrix_common import audit
from sqlalchemy import NullPool, create_engine

from hivematrix_ledger import store
from hivematrix_ledger.clients import SealedMonth
from hivematrix_ledger.services import Ledger, settling
from hivematrix_ledger.store import reopening

PAGE = 200


@dataclass(frozen=True, slots=True)
class Lost:
    """A company's month, and the invoices and corrections of it that Ledger recorded and the archive does not hold."""

    account_number: str
    period: str
    invoices: tuple[str, ...]

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


def lost(ledger: Ledger) -> list[Lost]:
    """What the archive lacks of all that it once said it had sealed. PeerError when it does not answer."""
    session = store.session()
    recorded = reopening.recorded(session)
    session.commit()  # no transaction waits for a peer
    found: list[Lost] = []
    for period, rows in groupby(recorded, key=lambda row: str(row.period)):
        months = {account: list(some) for account, some in groupby(rows, key=lambda row: str(row.account_number))}
        for accounts in _pages(list(months)):
            held = _held(ledger, period, accounts)
            for account in accounts:
                told = [(str(row.invoice_number), row.body_sha256) for row in months[account]]
                lacking = tuple(number for number, digest in told if (number, digest) not in held)
                found += [Lost(account, period, lacking)] if lacking else []
    return found


def reopen(ledger: Ledger, owner_url: str, months: Sequence[Lost], reason: str, by: str) -> None:
    """Take the months off Ledger's record, and record again what the archive does hold of them.

    Hours and prepaid hours of what is lost are free for other bills. Safe to repeat.
    """
    owner = create_engine(owner_url, poolclass=NullPool)
    for some in _pages(months):
        with store.exclusive([one.account_number for one in some]) as session:
            left = _left(ledger, some)
            with owner.begin() as connection:
                reopening.take_away(connection, [(one.account_number, one.period) for one in some])
                for one in some:
                    audit.record(connection, _entry(one, reason, by))
            settling.settle(session, left, by)
            session.commit()


def _held(ledger: Ledger, period: str, accounts: Sequence[str]) -> set[tuple[str, str]]:
    """Number and digest of every document that the archive has of these months."""
    sealed = ledger.archive.sealed(period, accounts).values()
    return {(one.number, one.receipt["body"]) for month in sealed for one in month.documents}


def _left(ledger: Ledger, months: Sequence[Lost]) -> list[SealedMonth]:
    """What the archive does hold of them."""
    found: list[SealedMonth] = []
    for period, of_it in groupby(months, key=lambda one: one.period):
        found += ledger.archive.sealed(period, [one.account_number for one in of_it]).values()
    return found


def _entry(one: Lost, reason: str, by: str) -> audit.Entry:
    details: dict[str, audit.Detail] = {"invoices": ", ".join(one.invoices), "reason": reason}
    target = f"{one.account_number} {one.period}"
    return audit.Entry(
        service="ledger", action="reopen", actor=by, actor_kind="command", target=target, details=details
    )


def _pages(found: Sequence[Any]) -> Iterator[Sequence[Any]]:
    return (found[first : first + PAGE] for first in range(0, len(found), PAGE))
