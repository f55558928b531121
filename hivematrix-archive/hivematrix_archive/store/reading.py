"""Sealed bills as people read them: one, a company's, a period's."""

from collections.abc import Sequence
from typing import Any

from hivematrix_common.database import AnySession, Reader, connection_of, only_own, own_account, rows
from hivematrix_common.prepared import Prepared
from sqlalchemy import ColumnElement, Row, Select, and_, null, select, tuple_

from hivematrix_archive.models import bodies, checkpoints, line_items, snapshots

_HOUSES = {"created_by", "notes"}
_SAME = and_(snapshots.c.billing_year == bodies.c.billing_year, snapshots.c.log_index == bodies.c.log_index)
# Asked beforehand, for only with the year said outright does the server plan for its one partition.
_WHERE = Prepared(
    "place_of_body",
    ("text", "text"),
    "SELECT billing_year AS year, log_index AS index FROM billing_snapshots"
    " WHERE invoice_number = $1 AND ($2 IS NULL OR company_account_number = $2)",
)
_BODY = "SELECT body FROM archive_data.bodies WHERE billing_year = %s AND log_index = %s"
_COMPANY_COLUMNS = (
    *("id", "company_name", "invoice_number", "billing_year", "billing_month", "invoice_date", "archived_at"),
    *("currency", "kind", "corrects", "total_amount", "billing_plan", "contract_term"),
)


def snapshot(session: AnySession, invoice: str) -> Row[Any] | None:
    """Every column of a sealed bill, its body, and the checkpoint that first covers it.

    Who sealed it and what was noted is the house's own: to a client both are null.
    """
    note = (
        select(checkpoints.c.note)
        .where(checkpoints.c.size > snapshots.c.log_index)
        .order_by(checkpoints.c.size, checkpoints.c.id)
        .limit(1)
        .scalar_subquery()
    )
    query = select(*map(_column, snapshots.c.keys()), bodies.c.body, note.label("checkpoint"))
    return _with_body(session, query, invoice)


def family(session: AnySession, one: Row[Any]) -> Sequence[Row[Any]]:
    """All documents of its company and month, in the order of their sealing."""
    names = ("invoice_number", "kind", "revision", "total_amount", "currency", "archived_at", "log_index", "corrects")
    query = select(*(snapshots.c[name] for name in names), *(_column(name) for name in sorted(_HOUSES)))
    query = query.where(
        snapshots.c.company_account_number == one.company_account_number,
        snapshots.c.billing_year == one.billing_year,
        snapshots.c.billing_month == one.billing_month,
        only_own(snapshots.c.company_account_number),
    )
    return session.execute(query.order_by(snapshots.c.id)).all()


def log_index(session: AnySession, invoice: str) -> int | None:
    return session.execute(select(snapshots.c.log_index).where(_invoice(invoice))).scalar_one_or_none()


def _whose() -> str | None:
    """Whose bodies the caller may have; None: everybody's."""
    return own_account()


def body(session: Reader, invoice: str) -> bytes | None:
    connection = connection_of(session)
    place = _WHERE.one(connection, invoice, _whose())
    found = rows(connection, _BODY, place) if place else []
    return bytes(found[0].body) if found else None


def body_digest(session: Reader, invoice: str) -> str | None:
    return session.execute(select(snapshots.c.body_sha256).where(_invoice(invoice))).scalar_one_or_none()


def csv(session: AnySession, invoice: str) -> Row[Any] | None:
    columns = (
        *(bodies.c.csv, snapshots.c.company_name, snapshots.c.company_account_number),
        *(snapshots.c.billing_year, snapshots.c.billing_month),
    )
    return _with_body(session, select(*columns), invoice)


def _with_body(session: AnySession, query: Select[Any], invoice: str) -> Row[Any] | None:
    """The row of a bill joined to its body."""
    place = _WHERE.one(connection_of(session), invoice, _whose())
    if place is None:
        return None
    there = (bodies.c.billing_year == place.year, bodies.c.log_index == place.index)
    query = query.select_from(snapshots).join(bodies, _SAME).where(_invoice(invoice), *there)
    return session.execute(query).one_or_none()


def lines(session: AnySession, invoice: str) -> Sequence[Row[Any]]:
    query = select(line_items).join(snapshots, snapshots.c.id == line_items.c.snapshot_id).where(_invoice(invoice))
    return session.execute(query.order_by(line_items.c.id)).all()


def company(session: AnySession, account: str, limit: int, after: tuple[int, int, int] | None) -> Sequence[Row[Any]]:
    """A company's bills, newest period first; `after` is (year, month, id) of the last one seen."""
    place = tuple_(snapshots.c.billing_year, snapshots.c.billing_month, snapshots.c.id)
    query = select(*(snapshots.c[name] for name in _COMPANY_COLUMNS)).where(
        snapshots.c.company_account_number == account, only_own(snapshots.c.company_account_number)
    )
    if after:
        query = query.where(place < after)
    order = (snapshots.c.billing_year.desc(), snapshots.c.billing_month.desc(), snapshots.c.id.desc())
    return session.execute(query.order_by(*order).limit(limit)).all()


def sealed(
    session: AnySession, year: int, month: int, accounts: Sequence[str], *, documents: bool
) -> Sequence[Row[Any]]:
    """A period's sealed bills by account, with their receipts; with their exact bodies too when asked."""
    covering = (
        select(checkpoints.c.note)
        .where(checkpoints.c.size > snapshots.c.log_index)
        .order_by(checkpoints.c.size, checkpoints.c.id)
        .limit(1)
        .scalar_subquery()
    )
    names = ("company_account_number", "invoice_number", "kind", "revision", "body_sha256", "log_index", "archived_at")
    query = select(*(snapshots.c[name] for name in names), covering.label("checkpoint"))
    if documents:
        query = query.add_columns(bodies.c.body).join(bodies, _SAME)
    query = query.where(snapshots.c.billing_year == year, snapshots.c.billing_month == month)
    if accounts:
        query = query.where(snapshots.c.company_account_number.in_(accounts))
    return session.execute(query.order_by(snapshots.c.company_account_number, snapshots.c.revision)).all()


def _column(name: str) -> ColumnElement[Any]:
    return null().label(name) if name in _HOUSES and own_account() else snapshots.c[name]


def _invoice(invoice: str) -> ColumnElement[bool]:
    return (snapshots.c.invoice_number == invoice) & only_own(snapshots.c.company_account_number)
