"""The leakage report: of one company, of a page of them, and who acknowledged what.

A report is kept as long as all it was made of is the same, so that a board of all companies need not read last month's
bodies again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson
from hivematrix_common import audit, clock
from hivematrix_common.database import AnySession
from hivematrix_common.domain.canonical import digest
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import Problem

from hivematrix_ledger import store
from hivematrix_ledger.clients import Feed, Sealed
from hivematrix_ledger.domain.engines import Bill, NoBill
from hivematrix_ledger.domain.leakage import YEAR, Finding, Months, findings
from hivematrix_ledger.services import Brief, Ledger, bills, no_bill, no_company
from hivematrix_ledger.store import acceptances, board, corrections, inputs
from hivematrix_ledger.store import findings as kept

Document = dict[str, Any]
Outcome = Sealed | Bill | Brief | NoBill
Report = tuple[Outcome, list[Document]]


def of_company(ledger: Ledger, account: str, period: Period) -> Document:
    """A company's findings, each open or acknowledged."""
    feed = ledger.codex.feed_of(period, [account])
    if not feed.companies:
        raise no_company(account)
    [report] = reports(ledger, period, feed)
    return _document(account, report) | {"period": str(period)}


def of_page(ledger: Ledger, period: Period, limit: int, cursor: str) -> tuple[list[Document], str | None]:
    """The findings of a page of companies."""
    feed = ledger.codex.feed(period, cursor=cursor, limit=limit)
    accounts = [facts["account_number"] for facts in feed.companies]
    made = reports(ledger, period, feed)
    return [_document(account, report) for account, report in zip(accounts, made, strict=True)], feed.next


def acknowledge(ledger: Ledger, account: str, period: Period, key: str, *, reason: str, by: str) -> Document:
    """Let a finding stand; Problem(not_found) when the report has it no more. The same again changes nothing."""
    report = of_company(ledger, account, period)
    found: Document | None = next((one for one in report["findings"] if one["key"] == key), None)
    if found is None:
        raise Problem("not_found", f"The report of {account} for {period} has no finding {key}; read it again.")
    if found["acknowledged"] is None:
        session = store.session()
        row = {name: found[name] for name in ("key", "kind", "subject", "detail")}
        kept.acknowledge(session, account, str(period), row, reason=reason, by=by, at=clock.now())
        audit.about(f"{account} {period}", finding=key)  # texts may name people, and audit rows stay for ever
        session.commit()
        found["acknowledged"] = {"by": by, "reason": reason}
    return found


def unanswered(report: Report) -> list[Document]:
    """The findings that nobody acknowledged."""
    return [finding for finding in report[1] if finding["acknowledged"] is None]


def reports(
    ledger: Ledger,
    period: Period,
    feed: Feed,
    settle: Callable[[Ledger, Period, Feed], Sequence[Outcome]] = bills.settle,
) -> list[Report]:
    """The outcome of each company of a feed page with its findings, in its order."""
    session, companies = store.session(), list(feed.companies)
    outcomes = settle(ledger, period, replace(feed, companies=list(companies)))
    made = _Reports(session, ledger, period, companies, outcomes)
    return [(outcome, made.of(facts["account_number"])) for facts, outcome in zip(companies, outcomes, strict=True)]


class _Reports:
    """The findings of a page; those whose bill, hours or bill before changed are made anew, and kept."""

    def __init__(
        self,
        session: AnySession,
        ledger: Ledger,
        period: Period,
        companies: Sequence[Document],
        outcomes: Sequence[Outcome],
    ) -> None:
        self.ledger, self.period = ledger, period
        self.accounts = [facts["account_number"] for facts in companies]
        self.entries: Mapping[str, list[Document]] = {one["account_number"]: one["entries"] for one in companies}
        billable = zip(self.accounts, outcomes, strict=True)
        self.outcomes = {account: one for account, one in billable if not isinstance(one, NoBill)}
        uids = [entry["uid"] for account in self.outcomes for entry in self.entries[account]]
        self.billed = frozenset(uids) - inputs.read_unbilled(session, uids)
        before = acceptances.of_period(session, str(period.plus(-1)), list(self.outcomes))
        self.before = {account: row.body_sha256 for account, row in before.items()}
        self.corrected = corrections.counts(session, list(self.outcomes))
        self.found = self._found(session)
        self.acknowledged = kept.acknowledged(session, str(period), self.accounts)
        session.commit()

    def of(self, account: str) -> list[Document]:
        return [
            finding | {"acknowledged": self.acknowledged.get((account, finding["key"]))}
            for finding in self.found.get(account, ())
        ]

    def _found(self, session: AnySession) -> dict[str, list[Document]]:
        made_of = {account: self._made_of(account) for account in self.outcomes}
        held = board.reports(session, str(self.period), list(self.outcomes))
        stale = [account for account in made_of if held.get(account, ("", []))[0] != made_of[account]]
        since = str(self.period.plus(1 - YEAR))
        billed = acceptances.billed_entries(session, since, stale) if stale else {}
        session.commit()  # no transaction waits for a peer
        fresh = self._made(stale, billed)
        rows = [{"account_number": one, "made_of": made_of[one], "findings": fresh[one]} for one in stale]
        board.keep_reports(session, str(self.period), rows)
        return {account: found for account, (_, found) in held.items()} | fresh

    def _made(self, accounts: Sequence[str], held: Mapping[str, list[Document]]) -> dict[str, list[Document]]:
        before = self._bodies_before([account for account in accounts if account in self.before])
        return {
            account: [
                _told(finding)
                for finding in findings(
                    Months(
                        self.outcomes[account].body,
                        before.get(account),
                        self.entries[account],
                        self.billed,
                        held[account],
                    ),
                    self.ledger.thresholds,
                )
            ]
            for account in accounts
        }

    def _bodies_before(self, accounts: Sequence[str]) -> dict[str, Document]:
        found = self.ledger.archive.sealed(str(self.period.plus(-1)), accounts) if accounts else {}
        return {account: month.invoice.body for account, month in found.items() if month.invoice.body}

    def _made_of(self, account: str) -> str:
        outcome = self.outcomes[account]
        entries = self.entries[account]
        parts = [
            outcome.receipt["body"] if isinstance(outcome, Sealed) else outcome.digest,
            self.before.get(account),
            self.corrected.get(account, 0),
            [[entry[name] for name in ("uid", "worked_on", "hours", "billable")] for entry in entries],
            [entry["uid"] for entry in entries if entry["uid"] in self.billed],
            [str(value) for value in self.ledger.thresholds],
        ]
        return digest(orjson.dumps(parts))


def _document(account: str, report: Report) -> Document:
    outcome, found = report
    if isinstance(outcome, NoBill):
        return no_bill(outcome) | {"open": 0, "findings": []}
    status = "sealed" if isinstance(outcome, Sealed) else "preview"
    return {"account_number": account, "status": status, "open": len(unanswered(report)), "findings": found}


def _told(finding: Finding) -> Document:
    kind = str(finding.kind)
    return {"key": finding.key, "kind": kind, "subject": finding.subject, "detail": finding.detail}
