"""Emptying a sealed bill, which the owner alone can do: for the moment it takes, the triggers that refuse are off."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from hivematrix_common.database import AnySession
from hivematrix_common.domain.period import Period
from sqlalchemy import Connection, Row, func, select, text

from hivematrix_archive.models import bodies, documents, entries, snapshots

_TABLES = ("billing_snapshots", "snapshot_line_items", "archive_data.bodies")
_EMPTY = (
    text("UPDATE billing_snapshots SET company_name = '', notes = NULL WHERE id = :index + 1 AND billing_year = :year"),
    text("UPDATE snapshot_line_items SET item_name = '', description = '' WHERE snapshot_id = :index + 1"),
    text(
        "UPDATE archive_data.bodies SET body = '', csv = '', meta = ''"
        " WHERE billing_year = :year AND log_index = :index"
    ),
)
_FORGET = text("SELECT archive_search.refill(:account)")
_SAME = (snapshots.c.billing_year == bodies.c.billing_year) & (snapshots.c.log_index == bodies.c.log_index)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a sealed bill lies."""

    index: int
    year: int
    account: str


def sealed(session: AnySession, invoice: str) -> Row[Any] | None:
    """Place, digest, maker and body of a sealed bill."""
    names = ("log_index", "billing_year", "billing_month", "company_account_number", "body_sha256", "created_by")
    query = select(*(snapshots.c[name] for name in names), bodies.c.body).join(bodies, _SAME)
    return session.execute(query.where(snapshots.c.invoice_number == invoice)).one_or_none()


def legible(session: AnySession, account: str, period: Period) -> Sequence[str]:
    """The month's documents that are not erased."""
    query = select(snapshots.c.invoice_number).join(bodies, _SAME)
    query = query.where(
        snapshots.c.company_account_number == account,
        snapshots.c.billing_year == period.year,
        snapshots.c.billing_month == period.month,
        func.length(bodies.c.body) > 0,
    )
    return session.scalars(query.order_by(snapshots.c.id)).all()


def acts(connection: Connection) -> list[tuple[int, bytes, bytes]]:
    """Index, leaf data and document of every entry that seals no bill."""
    same = entries.c.index == documents.c.index
    query = select(documents.c.index, entries.c.leaf, documents.c.body).join(entries, same).order_by(documents.c.index)
    return [(index, bytes(leaf), bytes(body)) for index, leaf, body in connection.execute(query)]


def empty(session: AnySession, place: Place) -> None:
    """Take body, CSV, names and notes away, out of the search too; digests and amounts stay."""
    _switch(session, "DISABLE")
    for statement in _EMPTY:
        session.execute(statement, {"index": place.index, "year": place.year})
    _switch(session, "ENABLE")
    session.execute(_FORGET, {"account": place.account})


def _switch(session: AnySession, how: str) -> None:
    for table in _TABLES:
        session.execute(text(f"ALTER TABLE {table} {how} TRIGGER never_changed"))
