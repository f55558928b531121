"""A company's hours bank: its statement over the pool year, from sealed bills where there are some."""

from typing import Any

from hivematrix_common.database import own_account
from hivematrix_common.domain.period import Period

from hivematrix_ledger.domain.engines import NoBill
from hivematrix_ledger.domain.hours_statement import statement
from hivematrix_ledger.services import Ledger, bills, no_company

YEAR = 12


def of_company(ledger: Ledger, account: str, until: Period) -> dict[str, Any]:
    """The twelve months up to `until`, entry by entry. A client sees its accepted months only."""
    bodies = [body for month in range(1 - YEAR, 1) if (body := _body(ledger, account, until.plus(month)))]
    rows = statement(bodies)
    return {
        "account_number": account,
        "from": str(until.plus(1 - YEAR)),
        "to": str(until),
        "months": [{"period": body["period"], "prepaid": body["prepaid"]} for body in bodies],
        "balance": rows[-1]["balance"] if rows else None,
        "rows": rows,
    }


def _body(ledger: Ledger, account: str, period: Period) -> dict[str, Any] | None:
    if own_account() is not None and not bills.is_accepted(account, period):
        return None
    feed = ledger.codex.feed_of(period, [account])
    if not feed.companies:
        raise no_company(account)
    [outcome] = bills.settle(ledger, period, feed)
    return None if isinstance(outcome, NoBill) else outcome.body
