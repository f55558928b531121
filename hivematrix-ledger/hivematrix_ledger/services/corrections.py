"""Correcting a sealed invoice: credit notes and replacements, sealed beside it, never an edit.

Each step can be repeated and interrupted anywhere, as in acceptance: what is sealed is asked of the archive first and
recorded from the sealed bodies, so that a correction whose end nobody saw is found, and not made twice.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from flask import Response
from hivematrix_common import audit, clock, idempotency
from hivematrix_common.database import AnySession
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import Problem, from_domain
from hivematrix_common.failpoints import failpoint
from sqlalchemy.orm import Session

from hivematrix_ledger import store
from hivematrix_ledger.clients import Outgoing, Sealed, SealedMonth
from hivematrix_ledger.domain import corrections as domain
from hivematrix_ledger.domain.acceptance import Document
from hivematrix_ledger.domain.change import by_cause, changes
from hivematrix_ledger.domain.corrections import ExceededError, Order, Standing
from hivematrix_ledger.domain.engines import CORRECTIONS, Bill, NoBill, compute_bill
from hivematrix_ledger.services import Ledger, bills, settling
from hivematrix_ledger.services.acceptance import KEYS
from hivematrix_ledger.store import acceptances


@dataclass(frozen=True, slots=True)
class Asked:
    """Who corrects which month, and how."""

    account: str
    period: Period
    order: Order
    by: str
    shown: str | None = None
    """What stands for the documents that the person was shown, if they were."""


@dataclass(frozen=True, slots=True)
class Corrected:
    """The documents that were sealed, oldest first; not `fresh` when an interrupted request had sealed them."""

    corrects: str
    documents: list[Sealed]
    fresh: bool = True

    @property
    def message(self) -> str:
        words = [
            f"{'credited by' if one.body['kind'] == 'credit_note' else 'replaced by'} {one.number}"
            for one in self.documents
        ]
        return f"{self.corrects} is {' and '.join(words)}."

    def as_json(self) -> dict[str, Any]:
        return {
            "corrects": self.corrects,
            "invoice_number": self.documents[-1].number,
            "documents": [_told(one) for one in self.documents],
        }


@dataclass(frozen=True, slots=True)
class Preview:
    """The bodies that a correction would seal; `steps` lead from the invoice in force to the one in its place."""

    standing: Standing
    documents: list[Document]
    steps: list[tuple[str, Decimal]]

    @property
    def shown(self) -> str:
        return domain.shown_as(self.documents)

    @property
    def left(self) -> Decimal:
        """What the month comes to afterwards."""
        before = Decimal(self.standing.invoice["totals"]["total"]) + self.standing.credited_total
        return before + sum(Decimal(body["totals"]["total"]) for body in self.documents)


def correct(ledger: Ledger, asked: Asked, respond: Callable[[Corrected], Response]) -> Response:
    """Correct the invoice in force; `respond` makes the answer that the request's idempotency key keeps."""
    with store.exclusive([asked.account]) as session:
        keyed = idempotency.claim(session, KEYS)
        if isinstance(keyed, Response):
            return keyed
        answer = respond(_correct(session, ledger, asked))
        idempotency.store(session, keyed, answer)
        failpoint("correct-answer-stored")
        session.commit()
        failpoint("correct-committed")
    return answer


def correct_unkeyed(ledger: Ledger, asked: Asked) -> Corrected:
    """The same where no program waits for the answer under an idempotency key."""
    with store.exclusive([asked.account]) as session:
        made = _correct(session, ledger, asked)
        audit.done(session, "ledger correct", f"{asked.account} {asked.period}", mode=asked.order.mode)
        session.commit()
    return made


def preview(ledger: Ledger, asked: Asked) -> Preview:
    """What the correction would seal. Nothing is written."""
    standing, session = standing_of(ledger, asked.account, asked.period), store.session()
    made = [bill.body for bill in _documents(session, ledger, asked, standing)]
    session.rollback()
    return Preview(standing, made, _steps(standing.invoice, made[-1]) if asked.order.mode == "replace" else [])


def standing_of(ledger: Ledger, account: str, period: Period) -> Standing:
    """The sealed invoice in force, and what is credited of it; Problem(not_found) or Problem(gone) without one."""
    return settling.standing_of(_sealed_month(ledger, account, period))[-1]


def _correct(session: Session, ledger: Ledger, asked: Asked) -> Corrected:
    """The caller commits what was recorded last."""
    month = _sealed_month(ledger, asked.account, asked.period)
    failpoint("correct-asked")
    unknown = settling.settle(session, [month], asked.by)
    session.commit()
    settling.settle_left(session, ledger, [asked.account], asked.by)
    failpoint("correct-settled")
    if unknown and domain.is_same(asked.order, [one.body for one in unknown]):
        return Corrected(unknown[0].body["corrects"]["invoice_number"], unknown, fresh=False)
    standing = settling.standing_of(month)[-1]
    if repeated := _credited_before(month, standing, asked.order):
        return Corrected(standing.corrects["invoice_number"], repeated, fresh=False)
    made = _documents(session, ledger, asked, standing)
    if domain.says_the_same(standing, made[-1].body):
        return Corrected(*_replaced_before(month, standing), fresh=False)
    if asked.shown is not None and asked.shown != domain.shown_as([bill.body for bill in made]):
        raise Problem("digest_mismatch", "What it would change is no longer what was shown. Look at it again.")
    sealed = _seal(session, ledger, asked, made)
    settling.settle(session, [SealedMonth([*month.documents, *sealed])], asked.by)
    acceptances.forget_sent(session, [(asked.account, str(asked.period))])
    failpoint("correct-recorded")
    return Corrected(standing.corrects["invoice_number"], sealed)


def _sealed_month(ledger: Ledger, account: str, period: Period) -> SealedMonth:
    month = ledger.archive.sealed(str(period), [account]).get(account)
    if month is None:
        raise Problem("not_found", f"{account} has no sealed bill for {period}: nothing can be corrected.")
    if not month.is_whole:
        numbers = ", ".join(one.number for one in month.documents if not one.body)
        raise Problem("gone", f"{numbers} was erased: the month can no longer be corrected.")
    return month


def _steps(before: Document, after: Document) -> list[tuple[str, Decimal]]:
    """From one invoice's total, class by class, to the other's; none where their currencies differ."""
    try:
        sums = by_cause(changes(before, after))
    except DomainError:
        return []
    totals = [("", Decimal(body["totals"]["total"])) for body in (before, after)]
    return [totals[0], *((str(cause).capitalize(), amount) for cause, amount in sums.items()), totals[1]]


def _credited_before(month: SealedMonth, standing: Standing, order: Order) -> list[Sealed]:
    """The credit note that is asked for again, whoever recorded it: another one could only be refused."""
    notes = [one for one in month.documents if one.body["corrects"] == standing.corrects]
    return [one for one in notes if domain.is_same(order, [one.body])]


def _replaced_before(month: SealedMonth, standing: Standing) -> tuple[str, list[Sealed]]:
    """What the invoice in force replaces, and the documents that were sealed with it."""
    corrects = standing.invoice["corrects"]
    sealed = [one for one in month.documents if one.body["corrects"] == corrects]
    together = [one for one in sealed if one.body["inputs"]["correction"]["mode"] == "replace"]
    return corrects["invoice_number"], together


def _documents(session: AnySession, ledger: Ledger, asked: Asked, standing: Standing) -> list[Bill]:
    made: list[Bill] = []
    if asked.order.mode == "credit" or standing.left:
        made.append(_credit_note(standing, asked.order))
    if asked.order.mode == "replace":
        made.append(_replacement(session, ledger, asked, standing, len(made) + 1))
    failpoint("correct-computed")
    return made


def _credit_note(standing: Standing, order: Order) -> Bill:
    try:
        note = _computed(domain.credit_inputs(standing, order))
        domain.check_credit(standing, note.body)
    except ExceededError as error:
        raise from_domain(error, "conflict") from None
    except DomainError as error:
        raise from_domain(error) from None
    return note


def _replacement(session: AnySession, ledger: Ledger, asked: Asked, standing: Standing, place: int) -> Bill:
    """The month as today's facts have it, with the hours of the invoice that it replaces."""
    released = standing.settled().uids
    outcome = bills.computed(session, ledger, asked.account, asked.period, released)
    if isinstance(outcome, NoBill):
        detail = f"{asked.account} would get no bill for {asked.period} now: {outcome.reason}; credit it instead"
        raise Problem("conflict", f"{detail}.")
    return _computed(outcome.body["inputs"] | {"correction": domain.correction(standing, asked.order, place)})


def _computed(inputs: dict[str, Any]) -> Bill:
    outcome = compute_bill(inputs, CORRECTIONS)
    assert isinstance(outcome, Bill)
    return outcome


def _seal(session: Session, ledger: Ledger, asked: Asked, made: Sequence[Bill]) -> list[Sealed]:
    """Noted before it is sent: until it is recorded, no other month gives out hours that it may hold."""
    acceptances.note_sent(session, str(asked.period), [(asked.account, made[-1].digest)], clock.now())
    failpoint("correct-noted")
    session.commit()
    failpoint("correct-sent")
    told = {"created_by": asked.by, "notes": asked.order.reason}
    receipts = ledger.archive.seal_together([Outgoing.of(bill) for bill in made], told)
    failpoint("correct-sealed")
    pairs = zip(made, receipts, strict=True)
    return [Sealed(bill.body, receipt | {"kind": bill.body["kind"]}) for bill, receipt in pairs]


def _told(sealed: Sealed) -> dict[str, Any]:
    body = {name: sealed.body[name] for name in ("invoice_number", "kind", "corrects", "currency")}
    receipt = {name: sealed.receipt[name] for name in ("body", "log_index", "sealed_at", "checkpoint")}
    return body | {"total": sealed.body["totals"]["total"]} | receipt
