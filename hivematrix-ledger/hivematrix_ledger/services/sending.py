"""Sending sealed invoices by mail: each once, and never again by itself where nobody knows whether it arrived.

Before the mail server gets a message, the try is recorded; afterwards what became of it. A process that dies in
between leaves a try without an end: the invoice is told as unknown, and is sent again only when somebody says so.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import uuid4

import orjson
from flask import Response
from hivematrix_common import clock, idempotency
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import Problem
from hivematrix_common.failpoints import failpoint
from hivematrix_common.mail import MailError, Outbox
from sqlalchemy.orm import Session

from hivematrix_ledger import store
from hivematrix_ledger.clients import SealedMonth
from hivematrix_ledger.render.mail import Envelope, invoice_mail, proof_bundle
from hivematrix_ledger.services import Ledger, documents
from hivematrix_ledger.services.acceptance import KEYS
from hivematrix_ledger.services.documents import Paper
from hivematrix_ledger.store import mails

_ADDRESS = re.compile(r"[!-~]{1,64}@[A-Za-z0-9.-]{1,255}")
_NUMBER = re.compile(r"(?P<account>[A-Za-z0-9]+)-(?P<year>[0-9]{4})(?P<month>[0-9]{2})(-C(?P<correction>[0-9]+))?")


@dataclass(frozen=True, slots=True)
class Asked:
    """Who sends; `force` sends again what was sent, or may have been."""

    by: str
    force: bool = False


@dataclass(frozen=True, slots=True)
class Result:
    """What became of one invoice: sent, already (sent), unknown or failed; the last two have a problem."""

    invoice_number: str
    status: str
    to: str | None = None
    message_id: str | None = None
    at: datetime | None = None
    problem: Problem | None = None

    @classmethod
    def failed(cls, invoice_number: str, problem: Problem) -> "Result":
        status = "unknown" if problem.code == "delivery_unknown" else "failed"
        return cls(invoice_number, status, problem=problem)

    def as_json(self) -> dict[str, Any]:
        names = ("invoice_number", "status", "to", "message_id", "at")
        found = {name: getattr(self, name) for name in names if getattr(self, name) is not None}
        return found | ({"code": self.problem.code, "reason": self.problem.detail} if self.problem else {})


def send(ledger: Ledger, number: str, asked: Asked, respond: Callable[[Result], Response]) -> Response:
    """Send one document; `respond` makes the answer that the request's idempotency key keeps."""
    with closing(_outbox(ledger)) as outbox, mails.alone(number) as session:
        keyed = idempotency.claim(session, KEYS)
        if isinstance(keyed, Response):
            return keyed
        result = _send(ledger, outbox, session, _paper(ledger, number), asked)
        if result.problem:
            session.commit()
            raise result.problem
        answer = idempotency.store(session, keyed, respond(result))
        session.commit()
    return answer


def send_month(
    ledger: Ledger, period: Period, by: str, accounts: Sequence[str] | None, *, limit: int, cursor: str
) -> tuple[list[Result], str | None]:
    """Send what is sealed of a page of companies and was not sent before; with the next page's cursor."""
    session = store.session()
    page = mails.accepted(session, str(period), cursor, limit) if accounts is None else list(dict.fromkeys(accounts))
    session.commit()
    more = page[-1] if accounts is None and len(page) == limit else None
    sealed = ledger.archive.sealed(str(period), page) if page else {}
    with closing(_outbox(ledger)) as outbox:
        results = [
            result
            for account in page
            for result in _of_company(ledger, outbox, f"{account}-{period.compact}", sealed.get(account), by)
        ]
    return results, more


def history(number: str) -> list[dict[str, Any]]:
    """Every try to send a document, oldest first."""
    return [
        {
            "at": row.at,
            "to": row.recipient,
            "by": row.sent_by,
            "message_id": row.message_id,
            "outcome": row.outcome,
            "reason": row.reason,
        }
        for row in mails.all_of(store.session(), number)
    ]


def _of_company(ledger: Ledger, outbox: Outbox, first: str, month: SealedMonth | None, by: str) -> Iterator[Result]:
    if month is None:
        yield Result.failed(first, Problem("not_found", f"{first} is not sealed."))
        return
    for found in month.documents:
        try:
            paper = Paper.sealed(found)
            with mails.alone(found.number) as session:
                result = _send(ledger, outbox, session, paper, Asked(by))
                session.commit()
            yield result
        except Problem as problem:
            yield Result.failed(found.number, problem)


def _send(ledger: Ledger, outbox: Outbox, session: Session, paper: Paper, asked: Asked) -> Result:
    """The caller commits what became of it, and holds the invoice's lock."""
    number: str = paper.body["invoice_number"]
    last = None if asked.force else mails.deciding(session, number)
    if last is not None and last.outcome == "sent":
        return Result(number, "already", last.recipient, last.message_id, last.at)
    if last is not None:
        told = f"Whether {number} reached {last.recipient} on {clock.instant_text(last.at)} is not known"
        return Result.failed(number, Problem("delivery_unknown", f"{told}: ask there, then send it with force."))
    try:
        what, message = _composed(ledger, outbox, paper, asked.by)
        outbox.open()
    except MailError as error:
        return Result.failed(number, _problem(error))
    mails.note(session, what, "trying")
    session.commit()
    failpoint("send-noted")
    try:
        outbox.send(what.recipient, message)
    except MailError as error:
        mails.note(session, what, error.outcome, str(error))
        return Result.failed(number, _problem(error))
    failpoint("send-taken")
    mails.note(session, what, "sent")
    return Result(number, "sent", what.recipient, what.message_id, what.at)


def _composed(ledger: Ledger, outbox: Outbox, paper: Paper, by: str) -> tuple[mails.Try, bytes]:
    body, number, at = paper.body, paper.body["invoice_number"], clock.now()
    recipient, sender = _recipient(ledger, body["account_number"]), outbox.sender
    envelope = Envelope(sender, recipient, f"<{number}.{uuid4().hex}@{sender.partition('@')[2]}>", at)
    bundle = proof_bundle(number, orjson.dumps(body), ledger.archive.proof(number), ledger.archive.key())
    message = invoice_mail(body, ledger.seller, envelope, pdf=documents.pdf_of(ledger, paper), bundle=bundle)
    what = mails.Try(number, body["account_number"], body["period"], envelope.message_id, recipient, by, at)
    return what, message


def _recipient(ledger: Ledger, account: str) -> str:
    address = ledger.codex.email(account)
    if not address:
        raise Problem("conflict", f"{account} has no e-mail address: give it one in Codex (companies.email).")
    if not _ADDRESS.fullmatch(address):
        raise Problem("conflict", f"{account}: expected one e-mail address such as pay@example.com, got {address!r}.")
    return address


def _paper(ledger: Ledger, number: str) -> Paper:
    found = _NUMBER.fullmatch(number)
    assert found is not None
    period = Period(int(found["year"]), int(found["month"]))
    return documents.find(ledger, found["account"], period, int(found["correction"] or 0))


def _outbox(ledger: Ledger) -> Outbox:
    if ledger.mail is None:
        raise Problem("conflict", "No mail server is configured: set host and sender of [smtp] in ledger.conf.")
    return Outbox(ledger.mail)


def _problem(error: MailError) -> Problem:
    code = {"deferred": "mail_unavailable", "refused": "mail_refused", "unknown": "delivery_unknown"}[error.outcome]
    return Problem(code, str(error))
