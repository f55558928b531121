"""The mails of invoices: tries and what became of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from hivematrix_common.database import AnySession
from hivematrix_common.errors import Problem
from hivematrix_common.transactions import connection_beside
from sqlalchemy import Row, text
from sqlalchemy.orm import Session

from hivematrix_ledger.models import db

from . import release

_LOCK = text("SELECT pg_try_advisory_lock(hashtextextended('mail ' || :invoice_number, 0))")
_NOTE = text(
    "INSERT INTO invoice_mails"
    " (invoice_number, account_number, period, message_id, recipient, outcome, reason, sent_by, at)"
    " VALUES (:invoice_number, :account_number, :period, :message_id, :recipient, :outcome, :reason, :sent_by, :at)"
)
# Each try with its end; one without an end is not known, or on its way just now.
_TRIES = (
    "SELECT t.at, t.recipient, t.sent_by, t.message_id, coalesce(e.outcome, 'unknown') AS outcome, e.reason"
    " FROM invoice_mails t LEFT JOIN invoice_mails e ON e.message_id = t.message_id AND e.outcome <> 'trying'"
    " WHERE t.invoice_number = :number AND t.outcome = 'trying'"
)
_ALL = text(f"{_TRIES} ORDER BY t.id")
# What a later try left open counts no less for an earlier one that arrived.
_DECIDING = text(f"{_TRIES} AND coalesce(e.outcome, 'unknown') IN ('sent', 'unknown') ORDER BY t.id DESC LIMIT 1")
_ACCEPTED = text(
    "SELECT account_number FROM acceptances WHERE period = :period AND account_number > :after"
    " ORDER BY account_number LIMIT :limit"
)


@dataclass(frozen=True, slots=True)
class Try:
    invoice_number: str
    account_number: str
    period: str
    message_id: str
    recipient: str
    sent_by: str
    at: datetime


@contextmanager
def alone(invoice_number: str) -> Iterator[Session]:
    """A session of its own while nobody else sends this invoice; its commits keep the lock. Problem when one does."""
    with (
        connection_beside(db.session) as connection,
        Session(connection, join_transaction_mode="create_savepoint") as own,
    ):
        try:
            if not own.scalar(_LOCK, {"invoice_number": invoice_number}):
                raise Problem("still_running", f"{invoice_number} is being sent.", headers={"Retry-After": "5"})
            own.commit()
            yield own
        finally:
            release(connection, own)


def note(session: AnySession, what: Try, outcome: str, reason: str | None = None) -> None:
    """Insert a try, or its end."""
    session.execute(_NOTE, asdict(what) | {"outcome": outcome, "reason": reason})


def all_of(session: AnySession, invoice_number: str) -> Sequence[Row[Any]]:
    """Every try, oldest first, with what became of it."""
    return session.execute(_ALL, {"number": invoice_number}).all()


def deciding(session: AnySession, invoice_number: str) -> Row[Any] | None:
    """The newest try that arrived or may have; None when the invoice can be sent without a second thought."""
    return session.execute(_DECIDING, {"number": invoice_number}).one_or_none()


def accepted(session: AnySession, period: str, after: str, limit: int) -> list[str]:
    """A page of the month's accounts with an accepted bill."""
    return list(session.scalars(_ACCEPTED, {"period": period, "after": after, "limit": limit}))
