"""The month board: how every company stands in a month, what the month comes to, and what recurs."""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from hivematrix_common.domain.money import minor_digits, round_half_up
from hivematrix_common.domain.period import Period
from sqlalchemy import Row

from hivematrix_ledger import store
from hivematrix_ledger.clients import Feed, Sealed
from hivematrix_ledger.domain.engines import Bill, NoBill
from hivematrix_ledger.services import Brief, Ledger, bills, leaking
from hivematrix_ledger.store import board as held

Document = dict[str, Any]
# Half a page of Codex, for two are held at a time.
PAGE = 250
STATES = ("sealed", "unrecorded", "sealing", "open", "findings", "unbillable", "skipped", "erased")
KINDS = ("user", "asset", "backup", "hours", "item", "tax", "total")


@dataclass(slots=True)
class _Sums:
    """What one currency's bills come to."""

    kinds: dict[str, Decimal] = field(default_factory=lambda: dict.fromkeys(KINDS, Decimal(0)))
    recurring: Decimal = Decimal(0)


def board(ledger: Ledger, period: Period, advance: Callable[[int, int], None] = lambda _done, _total: None) -> Document:
    """Every company's row. `advance` is told how many companies are done, of how many."""
    session = store.session()
    accepted = held.accepted(session, str(period))
    on_their_way = set(held.on_their_way(session, str(period))) - accepted.keys()
    before = held.recurring(session, str(period.plus(-1)))
    session.commit()  # no transaction waits for a peer
    names = ledger.codex.names()
    unread = [account for account, row in accepted.items() if row.totals is None or row.replaced]
    kept = [_accepted(row) for account, row in accepted.items() if account not in set(unread)]
    rows = {row["account_number"]: row for row in kept}
    rest = [account for account in names if account not in rows]
    advance(len(rows), len(names))
    for feed in _feeds(ledger, period, [rest[at : at + PAGE] for at in range(0, len(rest), PAGE)]):
        for row in _page(ledger, period, feed, on_their_way):
            rows[row["account_number"]] = row
        advance(len(rows), len(names))
    listed = [{"company_name": names.get(account), **rows[account]} for account in sorted(rows)]
    return {"period": str(period), **_summary(listed, before), "companies": listed}


def _feeds(ledger: Ledger, period: Period, pages: Sequence[Sequence[str]]) -> Iterator[Feed]:
    """The facts of each page; while one is worked on, Codex is asked for the next."""
    with ThreadPoolExecutor(1) as worker:

        def ask(accounts: Sequence[str]) -> Future[Feed]:
            """With our trace, our deadline and our app."""
            return worker.submit(copy_context().run, ledger.codex.feed_of, period, accounts)

        ahead = deque(map(ask, pages[:1]))
        for page in pages[1:]:
            feed = ahead.popleft().result()
            ahead.append(ask(page))
            yield feed
        yield from (last.result() for last in ahead)


def _page(ledger: Ledger, period: Period, feed: Feed, on_their_way: set[str]) -> Iterator[Document]:
    sent = [account for account in feed.lines if account in on_their_way]
    unrecorded = ledger.archive.sealed(str(period), sent) if sent else {}
    for report in leaking.reports(ledger, period, feed, bills.settle_briefly):
        row = _computed(report)
        if row["account_number"] in unrecorded:
            row |= {"state": "unrecorded", "reason": "sealed in the archive, not recorded here yet"}
        elif row["account_number"] in on_their_way:
            row |= {"state": "sealing", "reason": "on its way to the archive"}
        yield row


def _computed(report: leaking.Report) -> Document:
    outcome, _ = report
    if isinstance(outcome, NoBill):
        return _row(outcome.account_number, outcome.status, reason=outcome.reason)
    brief = outcome if isinstance(outcome, Brief) else Brief.of(outcome.body, _digest(outcome))
    number = len(leaking.unanswered(report))
    state = "sealed" if isinstance(outcome, Sealed) else "findings" if number else "open"
    return _row(
        brief.account_number,
        state,
        invoice_number=brief.invoice_number,
        currency=brief.currency,
        totals=brief.totals,
        recurring=brief.recurring,
        findings=number,
        digest=brief.digest,
    )


def _digest(outcome: Sealed | Bill) -> str:
    return str(outcome.receipt["body"]) if isinstance(outcome, Sealed) else outcome.digest


def _accepted(row: Row[Any]) -> Document:
    digits = minor_digits(row.currency)
    return _row(
        row.account_number,
        "sealed",
        invoice_number=row.invoice_number,
        currency=row.currency,
        totals=row.totals,
        recurring=format(round_half_up(row.recurring, digits), "f"),
        credited=format(round_half_up(row.credited, digits), "f"),
        digest=row.body_sha256,
    )


def _row(account: str, state: str, **known: Any) -> Document:
    absent = dict.fromkeys(("reason", "invoice_number", "currency", "totals", "recurring", "credited", "digest"))
    return {"account_number": account, "state": state, **absent, "findings": 0, **known}


def _summary(rows: Sequence[Document], before: Any) -> Document:
    states = dict.fromkeys(STATES, 0)
    sums: dict[str, _Sums] = {}
    for row in rows:
        states[row["state"]] += 1
        if row["totals"]:
            of_currency = sums.setdefault(row["currency"], _Sums())
            of_currency.recurring += Decimal(row["recurring"])
            for kind in KINDS:
                of_currency.kinds[kind] += Decimal(row["totals"][kind])
    return {"states": states, "totals": [_total(currency, sums[currency], before) for currency in sorted(sums)]}


def _total(currency: str, sums: _Sums, before: Any) -> Document:
    """`change` is against what the month before was invoiced; null where that is not known."""
    was = before.get(currency)
    digits = minor_digits(currency)

    def text(amount: Decimal) -> str:
        return format(round_half_up(amount, digits), "f")

    return {
        "currency": currency,
        **{kind: text(amount) for kind, amount in sums.kinds.items()},
        "mrr": text(sums.recurring),
        "mrr_before": None if was is None else text(was),
        "mrr_change": None if was is None else text(sums.recurring - was),
    }
