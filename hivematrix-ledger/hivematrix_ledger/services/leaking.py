"""The leakage report: of one company, of a page of them, and who acknowledged what."""

from collections.abc import Iterator, Sequence
from typing import Any

from hivematrix_common import audit, clock
from hivematrix_common.database import AnySession
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import Problem

from hivematrix_ledger import store
from hivematrix_ledger.clients import Feed
from hivematrix_ledger.domain.engines import NoBill
from hivematrix_ledger.domain.leakage import Finding, Months, findings
from hivematrix_ledger.services import Ledger, bills, no_bill, no_company
from hivematrix_ledger.store import acceptances, inputs
from hivematrix_ledger.store import findings as kept


def of_company(ledger: Ledger, account: str, period: Period) -> dict[str, Any]:
    """A company's findings, each open or acknowledged."""
    feed = ledger.codex.feed_of(period, [account])
    if not feed.companies:
        raise no_company(account)
    [told] = _report(ledger, period, feed)
    return told | {"period": str(period)}


def of_page(ledger: Ledger, period: Period, limit: int, cursor: str) -> tuple[list[dict[str, Any]], str | None]:
    """The findings of a page of companies."""
    feed = ledger.codex.feed(period, cursor=cursor, limit=limit)
    return list(_report(ledger, period, feed)), feed.next


def acknowledge(ledger: Ledger, account: str, period: Period, key: str, *, reason: str, by: str) -> dict[str, Any]:
    """Let a finding stand; Problem(not_found) when the report has it no more. The same again changes nothing."""
    report = of_company(ledger, account, period)
    found: dict[str, Any] | None = next((one for one in report["findings"] if one["key"] == key), None)
    if found is None:
        raise Problem("not_found", f"The report of {account} for {period} has no finding {key}; read it again.")
    if found["acknowledged"] is None:
        session = store.session()
        row = {name: found[name] for name in ("key", "kind", "subject", "detail")}
        kept.acknowledge(session, account, str(period), row, reason=reason, by=by, at=clock.now())
        audit.about(f"{account} {period}", finding=found["detail"], reason=reason)
        session.commit()
        found["acknowledged"] = {"by": by, "reason": reason}
    return found


def _report(ledger: Ledger, period: Period, feed: Feed) -> Iterator[dict[str, Any]]:
    session = store.session()
    accounts = [facts["account_number"] for facts in feed.companies]
    known = kept.acknowledged(session, str(period), accounts)
    months = _months(session, ledger, period, feed)
    for account in accounts:
        one = months[account]
        if isinstance(one, NoBill):
            yield no_bill(one) | {"open": 0, "findings": []}
            continue
        found = [_told(finding, known.get((account, finding.key))) for finding in findings(one, ledger.thresholds)]
        unanswered = sum(finding["acknowledged"] is None for finding in found)
        yield {"account_number": account, "status": "billable", "open": unanswered, "findings": found}


def _months(session: AnySession, ledger: Ledger, period: Period, feed: Feed) -> dict[str, Months | NoBill]:
    """By account the bill, the sealed one before it, and the hours."""
    companies = list(feed.companies)
    accounts = [facts["account_number"] for facts in companies]
    outcomes = bills.settle(ledger, period, Feed(companies, feed.plans, None))
    before = _bodies_before(session, ledger, period, accounts)
    billed = _billed(session, [entry["uid"] for facts in companies for entry in facts["entries"]])
    return {
        facts["account_number"]: outcome
        if isinstance(outcome, NoBill)
        else Months(outcome.body, before.get(facts["account_number"]), facts["entries"], billed)
        for facts, outcome in zip(companies, outcomes, strict=True)
    }


def _bodies_before(
    session: AnySession, ledger: Ledger, period: Period, accounts: Sequence[str]
) -> dict[str, dict[str, Any]]:
    month = str(period.plus(-1))
    accepted = list(acceptances.of_period(session, month, accounts))
    session.commit()  # no transaction waits for a peer
    found = ledger.archive.sealed(month, accepted) if accepted else {}
    return {account: sealed.invoice.body for account, sealed in found.items() if sealed.invoice.body}


def _billed(session: AnySession, uids: Sequence[str]) -> frozenset[str]:
    return frozenset(uids) - inputs.read_unbilled(session, uids)


def _told(finding: Finding, acknowledged: dict[str, str] | None) -> dict[str, Any]:
    return {
        "key": finding.key,
        "kind": str(finding.kind),
        "subject": finding.subject,
        "detail": finding.detail,
        "acknowledged": acknowledged,
    }
