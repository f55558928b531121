"""Two months beside each other: what changed in a company's bill, and in all of them."""

from decimal import Decimal
from typing import Any

from hivematrix_common import clock
from hivematrix_common.database import own_account
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import FieldError, Problem

from hivematrix_ledger import store
from hivematrix_ledger.clients import Feed, Sealed
from hivematrix_ledger.domain.change import Change, by_cause, changes
from hivematrix_ledger.domain.engines import Bill, NoBill, compute_bill
from hivematrix_ledger.domain.engines.v1.values import Money
from hivematrix_ledger.domain.what_if import Supposed, supposing
from hivematrix_ledger.services import Ledger, bills, no_company
from hivematrix_ledger.store import acceptances

AHEAD = 12
Outcome = Sealed | Bill | NoBill


def difference(ledger: Ledger, account: str, period: Period, other: Period) -> dict[str, Any]:
    """Why the bill of `period` differs from that of `other`. A client sees accepted months only."""
    if own_account() is not None:
        _require_accepted(account, period, other)
    outcomes = []
    for month in (other, period):
        feed = ledger.codex.feed_of(month, [account])
        if not feed.companies:
            raise no_company(account)
        outcomes += bills.settle(ledger, month, feed)
    was, now = outcomes
    return _told(account, was, now, with_changes=True) | {"period": str(period), "with": str(other)}


def differences(
    ledger: Ledger, period: Period, other: Period, limit: int, cursor: str
) -> tuple[list[dict[str, Any]], str | None]:
    """A page of companies: each one's change by class."""
    feed = ledger.codex.feed(period, cursor=cursor, limit=limit)
    accounts = [facts["account_number"] for facts in feed.companies]
    earlier = _settled(ledger, other, ledger.codex.feed_of(other, accounts))
    now = _settled(ledger, period, feed)
    return [_told(account, earlier[account], now[account], with_changes=False) for account in accounts], feed.next


def suppose(ledger: Ledger, account: str, period: Period, supposed: Supposed) -> dict[str, Any]:
    """The bill of a month to come, as things are and as supposed. Nothing is written."""
    ahead = period.months_since(Period.of(clock.now().astimezone(ledger.defaults.zone).date()))
    if not 0 <= ahead <= AHEAD:
        message = f"expected this month or one of the next {AHEAD}, got {period}"
        raise Problem("invalid", f"{message}.", fields=[FieldError("period", message)])
    session = store.session()
    inputs, plans = bills.inputs_of(session, ledger, account, period)
    now, then = compute_bill(inputs), compute_bill(supposing(inputs, supposed, plans))
    session.rollback()
    told = _told(account, now, then, with_changes=True)
    return told | {"period": str(period), "bill": None if isinstance(then, NoBill) else then.body}


def _settled(ledger: Ledger, period: Period, feed: Feed) -> dict[str, Outcome]:
    accounts = [facts["account_number"] for facts in feed.companies]
    return dict(zip(accounts, bills.settle(ledger, period, feed), strict=True))


def _require_accepted(account: str, *periods: Period) -> None:
    session = store.session()
    for period in periods:
        if account not in acceptances.of_period(session, str(period), [account]):
            raise Problem("not_found", f"There is no accepted bill for {period}.")
    session.commit()


def _told(account: str, was: Outcome, now: Outcome, *, with_changes: bool) -> dict[str, Any]:
    bodies = [None if isinstance(one, NoBill) else one.body for one in (was, now)]
    body = bodies[1] or bodies[0]
    told = {"account_number": account, "before": _month(was), "after": _month(now)}
    if body is None:
        return told | {"currency": None, "change": None, "classes": [], "changes": []}
    money = Money.of(body["currency"])
    try:
        found = changes(*bodies)
    except DomainError as error:
        return told | {"currency": None, "change": None, "reason": str(error), "classes": [], "changes": []}
    sums = by_cause(found)
    classes = [{"class": str(cause), "amount": money.text(amount)} for cause, amount in sums.items()]
    change = money.text(sum(sums.values(), Decimal(0)))
    listed = [_listed(one, money) for one in found] if with_changes else []
    return told | {"currency": money.currency, "change": change, "classes": classes, "changes": listed}


def _month(outcome: Outcome) -> dict[str, Any]:
    if isinstance(outcome, NoBill):
        return {"status": outcome.status, "total": None, "reason": outcome.reason}
    status = "sealed" if isinstance(outcome, Sealed) else "preview"
    return {"status": status, "total": outcome.body["totals"]["total"], "reason": None}


def _listed(change: Change, money: Money) -> dict[str, Any]:
    return {
        "class": str(change.cause),
        "kind": change.kind,
        "name": change.name,
        "uids": list(change.uids),
        "amount": money.text(change.amount),
        "before": change.before,
        "after": change.after,
    }
