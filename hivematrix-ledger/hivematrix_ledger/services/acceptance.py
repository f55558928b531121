"""Accepting bills: what the archive has sealed is recorded from the sealed body, the rest is computed and sealed.

Each step can be repeated and interrupted anywhere. While a page is worked on, nobody else accepts bills of its
accounts. A bill is noted before it is sent and forgotten with its acceptance; what a dead process left noted is asked
of the archive first, so that no hour and no prepaid hour of a sealed bill is given out again.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from flask import Response
from hivematrix_common import clock, idempotency
from hivematrix_common.domain.money import decimal_text, minor_digits, round_half_up
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import FieldError, Problem
from hivematrix_common.failpoints import failpoint
from hivematrix_common.metrics import stage
from hivematrix_common.peers import PeerError
from sqlalchemy.orm import Session

from hivematrix_ledger import store
from hivematrix_ledger.clients import Feed, Outgoing, Sealed, SealedMonth
from hivematrix_ledger.domain.acceptance import Document, Settled
from hivematrix_ledger.domain.differences import differences
from hivematrix_ledger.domain.engines import Bill, NoBill
from hivematrix_ledger.services import Ledger, bills, leaking, no_company, settling
from hivematrix_ledger.services.leaking import Report
from hivematrix_ledger.store import acceptances, previews

KEYS = "idempotency_keys"


@dataclass(frozen=True, slots=True)
class Asked:
    """Who accepts what. `digests` are those of the bills they were shown, by account."""

    period: Period
    by: str
    notes: str | None = None
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one company: sealed, already (sealed), skipped or failed. A `retryable` failure may pass."""

    account_number: str
    status: str
    invoice_number: str | None = None
    total: str | None = None
    reason: str | None = None
    retryable: bool = False
    problem: Problem | None = None

    def as_json(self) -> dict[str, Any]:
        names = ("account_number", "status", "invoice_number", "total", "reason")
        found = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        if self.status == "failed":
            found["retryable"] = self.retryable
        if self.problem:
            found |= {"code": self.problem.code, **self.problem.extra}
        return found


def accept(
    ledger: Ledger, asked: Asked, accounts: Sequence[str], respond: Callable[[list[Result]], Response]
) -> Response:
    """Accept a page of bills; `respond` makes the answer that the request's idempotency key keeps."""
    require_ended(ledger, asked.period)
    with store.exclusive(accounts) as session:
        keyed = idempotency.claim(session, KEYS)
        if isinstance(keyed, Response):
            return keyed
        results = _Page(ledger, session, asked, accounts).accept()
        answer = respond(results)
        # A failure may pass, so the same key may ask again; and what differs from a preview names people.
        if all(result.status != "failed" for result in results):
            idempotency.store(session, keyed, answer)
        failpoint("accept-answer-stored")
        session.commit()
        failpoint("accept-committed")
    return answer


def accept_all(ledger: Ledger, asked: Asked, size: int) -> list[Result]:
    """Accept every company's bill, page by page."""
    require_ended(ledger, asked.period)
    accounts = list(ledger.codex.accounts())
    pages = (accounts[first : first + size] for first in range(0, len(accounts), size))
    return [result for page in pages for result in accept_page(ledger, asked, page)]


def accept_page(ledger: Ledger, asked: Asked, accounts: Sequence[str]) -> list[Result]:
    """Accept a page of bills where no program waits for the answer under an idempotency key."""
    require_ended(ledger, asked.period)
    with store.exclusive(accounts) as session:
        results = _Page(ledger, session, asked, accounts).accept()
        session.commit()
    return results


def require_ended(ledger: Ledger, period: Period) -> None:
    zone = ledger.defaults.zone
    if not period.has_ended(clock.now(), zone):
        message = f"{period} has not ended in {zone.key}"
        raise Problem("period_open", f"{message}.", fields=[FieldError("period", message)])


class _Page:
    """One page under its accounts' locks. The caller commits what was recorded last, with its answer."""

    def __init__(self, ledger: Ledger, session: Session, asked: Asked, accounts: Sequence[str]) -> None:
        self.ledger, self.session, self.asked = ledger, session, asked
        self.accounts = list(dict.fromkeys(accounts))
        self.period = str(asked.period)
        self.results: dict[str, Result] = {}

    def accept(self) -> list[Result]:
        try:
            self._take_accepted()
            if self.rest:
                self._take_sealed()
            if self.rest:
                self._seal(self._computed())
        except PeerError as error:
            for account in self.rest:
                self._failed(account, error, retryable=error.retryable)
        return [self.results[account] for account in self.accounts]

    @property
    def rest(self) -> list[str]:
        return [account for account in self.accounts if account not in self.results]

    def _take_accepted(self) -> None:
        for account, row in acceptances.of_period(self.session, self.period, self.accounts).items():
            if self._is_as_shown(account, row.body_sha256, partial(self._sealed_body, account)):
                total = decimal_text(round_half_up(row.total, minor_digits(row.currency)))
                self.results[account] = Result(account, "already", row.invoice_number, total)

    def _take_sealed(self) -> None:
        """Record what the archive has and Ledger has not; settle what a dead process left noted."""
        left = acceptances.sent(self.session, self.rest)
        self.session.commit()
        mine = self._sealed_of(self.period, self.rest)
        failpoint("accept-asked")
        found = list(mine.values())
        for period in sorted({period for _, period in left} - {self.period}):
            found += self._sealed_of(period, [account for account, of in left if of == period]).values()
        settling.settle(self.session, found, self.asked.by)
        acceptances.forget_sent(self.session, left)
        self.session.commit()
        failpoint("accept-settled")
        for account, month in mine.items():
            self._take(account, month.invoice)

    def _sealed_of(self, period: str, accounts: Sequence[str]) -> dict[str, SealedMonth]:
        return self.ledger.archive.sealed(period, accounts)

    def _computed(self) -> list[Outgoing]:
        """The bills to seal; for the other companies it is settled why they have none."""
        with stage("feed"):
            feed = self.ledger.codex.feed_of(self.asked.period, self.rest)
        failpoint("accept-fed")
        computed = []
        reported = self._reported(feed)
        for outcome in bills.compute(self.session, self.ledger, self.asked.period, feed):
            if isinstance(outcome, NoBill):
                status = "skipped" if outcome.status == "skipped" else "failed"
                self.results[outcome.account_number] = Result(outcome.account_number, status, reason=outcome.reason)
            elif self._is_settled(outcome, reported) and self._is_as_shown(
                outcome.account_number, outcome.digest, partial(_body, outcome)
            ):
                computed.append(Outgoing.of(outcome))
        failpoint("accept-computed")
        for account in set(self.rest) - {bill.settled.account_number for bill in computed}:
            self._failed(account, no_company(account))
        return computed

    def _reported(self, feed: Feed) -> dict[str, Report]:
        """By account the report that its bill must have no open finding in; nothing where nobody insists."""
        if not self.ledger.insist:
            return {}
        accounts = [facts["account_number"] for facts in feed.companies]
        return dict(zip(accounts, leaking.reports(self.ledger, self.asked.period, feed), strict=True))

    def _is_settled(self, bill: Bill, reported: Mapping[str, Report]) -> bool:
        """Whether nothing was found on the bill that nobody let stand; else that becomes its result."""
        if not self.ledger.insist:
            return True
        report = reported[bill.account_number]
        if not isinstance(report[0], Bill) or report[0].digest != bill.digest:
            problem = Problem("findings_open", "The bill changed while its findings were looked for.")
            self._failed(bill.account_number, problem, retryable=True)
            return False
        found = leaking.unanswered(report)
        if found:
            detail = f"{len(found)} findings are open, the first: {found[0]['detail']}."
            self._failed(bill.account_number, Problem("findings_open", detail, findings=found))
        return not found

    def _seal(self, computed: list[Outgoing]) -> None:
        if not computed:
            return
        acceptances.note_sent(
            self.session, self.period, [(bill.settled.account_number, bill.digest) for bill in computed], clock.now()
        )
        failpoint("accept-noted")
        self.session.commit()
        failpoint("accept-sent")
        sealed: list[tuple[Settled, Document]] = []
        try:
            with stage("seal"):
                for bill, answer in self.ledger.archive.seal(computed, self._told()):
                    self._answered(bill, answer, sealed)
        finally:
            failpoint("accept-sealed")
            with stage("record"):
                settling.accept(self.session, sealed, self.asked.by)
                acceptances.forget_sent(self.session, [(account, self.period) for account in self.results])
            failpoint("accept-recorded")
        differing = self.rest
        if differing:
            self._take_differing(differing)

    def _answered(self, bill: Outgoing, answer: Document, sealed: list[tuple[Settled, Document]]) -> None:
        settled = bill.settled
        if answer["status"] != "refused":
            sealed.append((settled, answer))
            self.results[settled.account_number] = Result(
                settled.account_number, answer["status"], settled.invoice_number, settled.total
            )
        elif answer["problem"]["code"] != "already_accepted":
            refusal = answer["problem"]
            problem = Problem("invalid", f"The archive refuses it: {refusal['detail']}")
            # Here the month had ended: the archive's clock will get there too.
            self._failed(settled.account_number, problem, retryable=refusal["code"] == "period_open")

    def _take_differing(self, accounts: list[str]) -> None:
        """Others sealed these with other content meanwhile; theirs is what is accepted."""
        found = self._sealed_of(self.period, accounts)
        settling.settle(self.session, found.values(), self.asked.by)
        acceptances.forget_sent(self.session, [(account, self.period) for account in found])
        for account, month in found.items():
            self._take(account, month.invoice)
        for account in self.rest:
            self._failed(account, Problem("already_accepted", "It is sealed with other content."), retryable=True)

    def _take(self, account: str, sealed: Sealed) -> None:
        if self._is_as_shown(account, sealed.receipt["body"], partial(_body, sealed)):
            total = sealed.body["totals"]["total"] if sealed.body else None
            self.results[account] = Result(account, "already", sealed.number, total)

    def _is_as_shown(self, account: str, digest: str, body: Callable[[], dict[str, Any]]) -> bool:
        """Whether the bill is the one this person was shown; else what differs becomes its result."""
        shown = self.asked.digests.get(account)
        if shown is None or shown == digest:
            return True
        previewed = previews.find(self.session, account, self.period, shown)
        told = differences(previewed, body()) if previewed else []
        detail = f"The bill shown was {shown}, it is {digest} now."
        self._failed(account, Problem("digest_mismatch", detail, differences=told))
        return False

    def _failed(self, account: str, problem: Problem, *, retryable: bool = False) -> None:
        self.results[account] = Result(account, "failed", reason=problem.detail, retryable=retryable, problem=problem)

    def _sealed_body(self, account: str) -> dict[str, Any]:
        return self._sealed_of(self.period, [account])[account].invoice.body

    def _told(self) -> dict[str, str | None]:
        return {"created_by": self.asked.by, "notes": self.asked.notes}


def _body(bill: Bill | Sealed) -> dict[str, Any]:
    return bill.body
