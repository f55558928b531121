"""Bills as they are: the sealed one of an accepted month, else what the engine makes of today's facts."""

import hashlib
import threading
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

import orjson
from hivematrix_common import clock
from hivematrix_common.database import AnySession, own_account
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import Problem
from hivematrix_common.metrics import stage

from hivematrix_ledger import store
from hivematrix_ledger.clients import Feed, Sealed, SealedMonth
from hivematrix_ledger.domain.engines import CURRENT, Bill, NoBill, compute_bill
from hivematrix_ledger.domain.engines.v1.months import index_of, month_of
from hivematrix_ledger.domain.inputs import Candidates, Document, Page, PlanBook, Rows, build_inputs, candidates
from hivematrix_ledger.services import Brief, Ledger, Shown, no_bill, no_company
from hivematrix_ledger.store import acceptances, inputs, previews

# The accepted months a bill may depend on: a year either way, and two back where unused hours roll over.
_YEAR = 12
# Two pages computed at once only take turns and end late together; one after the other, the first is sealed meanwhile.
_turn = threading.Lock()
Computed = TypeVar("Computed", Bill, Brief)


def compute(
    session: AnySession, ledger: Ledger, period: Period, feed: Feed, released: Collection[str] = ()
) -> Iterator[Bill | NoBill]:
    """What the engine makes of each company of a feed page, in its order. The page is used up on the way, so that
    not all of it is held at once. Entries that are `released` count as on no bill.
    """
    rows, found, page = _prepare(session, ledger, period, feed, released)
    found.reverse()
    feed.companies.reverse()
    with _turn:
        while feed.companies:
            facts = feed.companies.pop()
            with stage("compute"):
                outcome = _bill(period, facts, rows.accounts[facts["account_number"]], found.pop(), page)
            yield outcome


def _compute_briefly(session: AnySession, ledger: Ledger, period: Period, feed: Feed) -> Iterator[Brief | NoBill]:
    rows, found, page = _prepare(session, ledger, period, feed)
    shared = orjson.dumps([CURRENT, str(period), repr(ledger.defaults), feed.plans])
    for facts, asked in zip(feed.companies, found, strict=True):
        account, own = facts["account_number"], rows.accounts[facts["account_number"]]
        billed = [row["uid"] for row in facts["entries"] if row["uid"] in page.billed]
        overrides = [
            [held[row["uid"]] for row in facts[kind] if row["uid"] in held]
            for kind, held in (("assets", rows.asset_overrides), ("contacts", rows.user_overrides))
        ]
        spelled = orjson.dumps([own, billed, overrides])
        made_of = hashlib.sha256(b"\n".join([shared, spelled, feed.lines[account]])).digest()
        yield _brief(ledger, account, str(period), made_of, partial(_bill, period, facts, own, asked, page))


def _brief(
    ledger: Ledger, account: str, period: str, made_of: bytes, whole: Callable[[], Bill | NoBill]
) -> Brief | NoBill:
    known = ledger.briefs.find(account, period, made_of)
    if known is not None:
        return known if isinstance(known, NoBill) else replace(known, whole=whole)
    with _turn, stage("compute"):
        outcome = whole()
    brief = outcome if isinstance(outcome, NoBill) else Brief.of(outcome.body, outcome.digest)
    ledger.briefs.keep(account, period, made_of, brief)
    return brief if isinstance(brief, NoBill) else replace(brief, whole=lambda: outcome)


def inputs_of(session: AnySession, ledger: Ledger, account: str, period: Period) -> tuple[Document, PlanBook]:
    """What the engine would be given for one company, and every plan; DomainError when its facts cannot be read."""
    feed = ledger.codex.feed_of(period, [account])
    if not feed.companies:
        raise no_company(account)
    [facts] = feed.companies
    rows, [found], page = _prepare(session, ledger, period, feed)
    if isinstance(found, NoBill):
        raise DomainError("company", found.reason)
    return build_inputs(period, facts, rows.accounts[account], found, page), page.plans


def _prepare(
    session: AnySession, ledger: Ledger, period: Period, feed: Feed, released: Collection[str] = ()
) -> tuple[inputs.PageRows, list[Candidates | NoBill], Page]:
    """What a feed page's inputs are built from."""
    with stage("read"):
        rows = _rows(session, period, feed)
    found = [_candidates(ledger, period, facts, rows.accounts[facts["account_number"]]) for facts in feed.companies]
    uids = [entry["uid"] for one in found if isinstance(one, Candidates) for entry in one.entries]
    with stage("read"):
        billed = set(uids) - inputs.read_unbilled(session, uids) - set(released)
    return rows, found, _shared(ledger, feed, rows, billed)


def _shared(ledger: Ledger, feed: Feed, rows: inputs.PageRows, billed: Collection[str]) -> Page:
    return Page(PlanBook(feed.plans), ledger.defaults, rows.asset_overrides, rows.user_overrides, billed)


def show(ledger: Ledger, account: str, period: Period) -> Shown | NoBill:
    """One company's bill. What is shown of an open month is kept for a while, to say later what differs.

    A client gets accepted bills only: Problem(not_found) for the rest.
    """
    with store.single_reads() as connection:  # given back: no connection waits for a peer
        accepted = acceptances.of_one(connection, str(period), account)
    if accepted:
        data = ledger.archive.body(accepted.invoice_number, accepted.body_sha256)
        return Shown(data, accepted.body_sha256, None)
    if own_account() is not None:
        raise Problem("not_found", f"There is no accepted bill for {period}.")
    return _preview(ledger, account, period)


def _preview(ledger: Ledger, account: str, period: Period) -> Shown | NoBill:
    """What the engine makes of today's facts. It is computed anew unless all that it is made of is as it was."""
    feed = ledger.codex.feed_of(period, [account])
    if not feed.companies:
        raise no_company(account)
    uids, months = _asked(period, feed)
    with stage("read"), store.single_reads() as connection:
        held = inputs.read_one(connection, account, str(period), uids, months, shown_after=clock.now() - previews.FRESH)
    made_of = _made_of(ledger, period, feed, held)
    shown = ledger.previews.find(account, str(period), made_of)
    if shown is None:
        outcome = _computed_one(ledger, period, feed, held)
        if isinstance(outcome, NoBill):
            return outcome
        shown = Shown(outcome.data, outcome.digest, outcome.csv)
        ledger.previews.keep(account, str(period), made_of, shown)
    if shown.digest not in held.previews:
        session = store.session()
        previews.keep(session, account, str(period), digest=shown.digest, body=shown.data, now=clock.now())
        session.commit()
    return shown


def _made_of(ledger: Ledger, period: Period, feed: Feed, held: inputs.Held) -> bytes:
    """A digest of everything that the bill may depend on."""
    spelled = orjson.dumps([CURRENT, str(period), repr(ledger.defaults), *held.spelled])
    [line] = feed.lines.values()
    return hashlib.sha256(spelled + b"\n" + line).digest()


def _computed_one(ledger: Ledger, period: Period, feed: Feed, held: inputs.Held) -> Bill | NoBill:
    [facts] = feed.companies
    rows = held.rows.accounts[facts["account_number"]]
    page = _shared(ledger, feed, held.rows, held.billed)
    with stage("compute"):
        return _bill(period, facts, rows, _candidates(ledger, period, facts, rows), page)


def billed(ledger: Ledger, account: str, period: Period) -> Shown:
    """One company's bill; Problem(conflict) says why it has none."""
    shown = show(ledger, account, period)
    if isinstance(shown, NoBill):
        raise Problem("conflict", f"{account} has no bill for {period}: {shown.status}, {shown.reason}.")
    return shown


def computed(
    session: AnySession, ledger: Ledger, account: str, period: Period, released: Collection[str] = ()
) -> Bill | NoBill:
    """What the engine makes of one company's facts now; Problem(not_found) when Codex does not know it."""
    feed = ledger.codex.feed_of(period, [account])
    if not feed.companies:
        raise no_company(account)
    [outcome] = compute(session, ledger, period, feed, released)
    return outcome


def is_accepted(account: str, period: Period) -> bool:
    return bool(acceptances.of_period(store.session(), str(period), [account]))


def page(ledger: Ledger, period: Period, limit: int, cursor: str) -> tuple[list[bytes], str | None]:
    """A page of companies: each one's body, or why it has none, as JSON; with the next page's cursor."""
    feed = ledger.codex.feed(period, cursor=cursor, limit=limit)
    return [_document(outcome) for outcome in settle(ledger, period, feed)], feed.next


def settle(ledger: Ledger, period: Period, feed: Feed) -> list[Sealed | Bill | NoBill]:
    """The outcome of each company of a feed page, in its order."""
    return _settled(ledger, period, feed, compute)


def settle_briefly(ledger: Ledger, period: Period, feed: Feed) -> list[Sealed | Brief | NoBill]:
    """The same, in brief: a bill is computed anew only when anything that it is made of has changed."""
    return _settled(ledger, period, feed, _compute_briefly)


def _settled(
    ledger: Ledger, period: Period, feed: Feed, computing: Callable[..., Iterator[Computed | NoBill]]
) -> list[Sealed | Computed | NoBill]:
    session = store.session()
    accounts = [facts["account_number"] for facts in feed.companies]
    accepted = list(acceptances.of_period(session, str(period), accounts))
    session.commit()
    found: dict[str, Sealed | Computed | NoBill] = {}
    sealed = ledger.archive.sealed(str(period), accepted) if accepted else {}
    found |= {account: _in_force(account, month) for account, month in sealed.items()}
    rest = [facts for facts in feed.companies if facts["account_number"] not in found]
    outcomes = computing(session, ledger, period, Feed(rest, feed.plans, None, feed.lines))
    found |= {outcome.account_number: outcome for outcome in outcomes}
    return [found[account] for account in accounts]


def _in_force(account: str, month: SealedMonth) -> Sealed | NoBill:
    invoice = month.invoice
    return invoice if invoice.body else NoBill(account, "erased", f"{invoice.number} was erased")


def _document(outcome: Sealed | Bill | NoBill) -> bytes:
    if isinstance(outcome, NoBill):
        return orjson.dumps(no_bill(outcome))
    # A parsed body keeps the order of its members, so these are its canonical bytes again.
    return outcome.data if isinstance(outcome, Bill) else orjson.dumps(outcome.body)


def _rows(session: AnySession, period: Period, feed: Feed) -> inputs.PageRows:
    return inputs.read_rows(session, [facts["account_number"] for facts in feed.companies], *_asked(period, feed))


def _asked(period: Period, feed: Feed) -> tuple[inputs.Uids, inputs.Months]:
    """What Ledger's own rows are asked for: those of these uids, and the accepted months that a bill may depend on."""
    month = index_of(str(period))
    entries = [entry for facts in feed.companies for entry in facts["entries"]]
    uids = inputs.Uids(
        assets=[row["uid"] for facts in feed.companies for row in facts["assets"]],
        contacts=[row["uid"] for facts in feed.companies for row in facts["contacts"]],
        entries=[entry["uid"] for entry in entries],
    )
    months = inputs.Months(
        since=min([month_of(month + 1 - _YEAR), *(entry["worked_on"][:7] for entry in entries)]),
        until=month_of(month + _YEAR - 1),
        rolled_since=month_of(month + 1 - 2 * _YEAR),
    )
    return uids, months


def _candidates(ledger: Ledger, period: Period, facts: dict[str, Any], rows: Rows) -> Candidates | NoBill:
    try:
        return candidates(period, facts, rows, ledger.defaults.zone)
    except DomainError as error:
        return NoBill(facts["account_number"], "unbillable", str(error))


def _bill(period: Period, facts: dict[str, Any], rows: Rows, found: Candidates | NoBill, page: Page) -> Bill | NoBill:
    if isinstance(found, NoBill):
        return found
    try:
        return compute_bill(build_inputs(period, facts, rows, found, page))
    except DomainError as error:
        return NoBill(facts["account_number"], "unbillable", str(error))
