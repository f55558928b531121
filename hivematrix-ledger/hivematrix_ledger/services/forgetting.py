"""Forgetting what a bill said, once the archive has erased it."""

from hivematrix_common.domain.period import Period
from hivematrix_common.errors import Problem

from hivematrix_ledger import store
from hivematrix_ledger.services import Ledger
from hivematrix_ledger.store import forgetting


def forget(ledger: Ledger, account: str, period: Period) -> int:
    """Take names and texts of the month's bill out of every table; returns how many previews there were.

    Safe to repeat. Problem(conflict) unless the archive has erased a document of the month.
    """
    month = ledger.archive.sealed(str(period), [account]).get(account)
    if month is None or month.is_whole:
        told = f"No sealed document of {account} for {period} is erased"
        raise Problem("conflict", f"{told}: erase it in the archive first, which then asks for this.")
    session = store.session()
    dropped = forgetting.forget(session, account, str(period), str(period.plus(1)))
    session.commit()
    ledger.previews.forget(account)
    ledger.briefs.forget(account)
    return dropped
