"""A company's hours bank: its statement over the pool year, from sealed bills where there are some."""

from collections.abc import Iterator
from typing import Any

from hivematrix_common.database import own_account
from hivematrix_common.domain.period import Period

from hivematrix_ledger.clients import Feed
from hivematrix_ledger.domain.engines import NoBill
from hivematrix_ledger.domain.hours_statement import statement
from hivematrix_ledger.services import Ledger, bills, no_company

YEAR = 12


def of_company(ledger: Ledger, account: str, until: Period) -> dict[str, Any]:
    """The twelve months up to `until`, entry by entry. A client sees its accepted months only."""
    feeds = _feeds(ledger, account, until)
    bodies = [body for period, feed in feeds if (body := _body(ledger, account, period, feed))]
    rows = statement(bodies)
    return {
        "account_number": account,
        "from": str(until.plus(1 - YEAR)),
        "to": str(until),
        "months": [{"period": body["period"], "prepaid": body["prepaid"]} for body in bodies],
        "balance": rows[-1]["balance"] if rows else None,
        "rows": rows,
    }


def _feeds(ledger: Ledger, account: str, until: Period) -> Iterator[tuple[Period, Feed]]:
    """What Codex says for each of the twelve months, from what it says for the first and for the last.

    A month's facts differ in their entries alone: those of twelve months up to it, and older ones that came late.
    """
    first = until.plus(1 - YEAR)
    oldest, newest = ledger.codex.feed_of(first, [account]), ledger.codex.feed_of(until, [account])
    if not (oldest.companies and newest.companies):
        raise no_company(account)
    [earlier], [facts] = oldest.companies, newest.companies
    # An entry before the last month's twelve is among its own only when it came late.
    late = {entry["uid"] for entry in facts["entries"]}
    every = {entry["uid"]: entry for entry in [*earlier["entries"], *facts["entries"]]}
    in_order = sorted(every.values(), key=lambda entry: (entry["worked_on"], entry["uid"]))
    for period in (first.plus(month) for month in range(YEAR)):
        since, last = str(period.plus(1 - YEAR).first), str(period.last)
        entries = [
            entry
            for entry in in_order
            if entry["worked_on"] <= last and (entry["worked_on"] >= since or entry["uid"] in late)
        ]
        yield period, Feed([facts | {"entries": entries}], newest.plans, None)


def _body(ledger: Ledger, account: str, period: Period, feed: Feed) -> dict[str, Any] | None:
    if own_account() is not None and not bills.is_accepted(account, period):
        return None
    [outcome] = bills.settle(ledger, period, feed)
    return None if isinstance(outcome, NoBill) else outcome.body
