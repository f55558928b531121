"""Sealed bills as people look for them: one, a search, a company's, a period's."""

from collections.abc import Callable, Sequence
from typing import Any

from hivematrix_common.database import AnySession, only_own, own_account
from sqlalchemy import ColumnElement, Row, Select, and_, exists, func, null, select, tuple_

from hivematrix_archive.domain.filter import Filter
from hivematrix_archive.models import bodies, checkpoints, line_items, snapshots

COUNTED = 10_000
_HOUSES = {"created_by", "notes"}
_SEARCH_COLUMNS = (
    *("id", "company_account_number", "company_name", "invoice_number", "billing_year", "billing_month"),
    *("invoice_date", "archived_at", "billing_plan", "currency", "kind", "total_amount", "user_count", "asset_count"),
)
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
    columns = [null().label(c.name) if c.name in _HOUSES and own_account() else c for c in snapshots.c]
    query = select(*columns, bodies.c.body, note.label("checkpoint")).join(bodies, _same()).where(_invoice(invoice))
    return session.execute(query).one_or_none()


def log_index(session: AnySession, invoice: str) -> int | None:
    return session.execute(select(snapshots.c.log_index).where(_invoice(invoice))).scalar_one_or_none()


def body(session: AnySession, invoice: str) -> bytes | None:
    found = session.execute(
        select(bodies.c.body).join(snapshots, _same()).where(_invoice(invoice))
    ).scalar_one_or_none()
    return None if found is None else bytes(found)


def csv(session: AnySession, invoice: str) -> Row[Any] | None:
    columns = (
        *(bodies.c.csv, snapshots.c.company_name, snapshots.c.company_account_number),
        *(snapshots.c.billing_year, snapshots.c.billing_month),
    )
    return session.execute(select(*columns).join(snapshots, _same()).where(_invoice(invoice))).one_or_none()


def lines(session: AnySession, invoice: str) -> Sequence[Row[Any]]:
    query = select(line_items).join(snapshots, snapshots.c.id == line_items.c.snapshot_id).where(_invoice(invoice))
    return session.execute(query.order_by(line_items.c.id)).all()


def search(session: AnySession, wanted: Filter, limit: int, offset: int, before_id: int | None) -> Sequence[Row[Any]]:
    """Newest first; ids fall as `archived_at` does."""
    query = _filtered(select(*(snapshots.c[name] for name in _SEARCH_COLUMNS)), wanted)
    if before_id is not None:
        query = query.where(snapshots.c.id < before_id)
    return session.execute(query.order_by(snapshots.c.id.desc()).limit(limit).offset(offset)).all()


def count(session: AnySession, wanted: Filter) -> tuple[int, bool]:
    """How many there are, and whether that is exact: above 10,000 it is for no filter, an account or a period."""
    if wanted.empty:
        newest = select(checkpoints.c.snapshots).order_by(checkpoints.c.id.desc()).limit(1)
        return session.execute(newest).scalar_one_or_none() or 0, True
    query = _filtered(select(snapshots.c.id), wanted)
    if not wanted.cheap:
        query = query.limit(COUNTED + 1)
    found = session.execute(select(func.count()).select_from(query.subquery())).scalar_one()
    return (found, True) if wanted.cheap or found <= COUNTED else (COUNTED, False)


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
        query = query.add_columns(bodies.c.body).join(bodies, _same())
    query = query.where(snapshots.c.billing_year == year, snapshots.c.billing_month == month)
    if accounts:
        query = query.where(snapshots.c.company_account_number.in_(accounts))
    return session.execute(query.order_by(snapshots.c.company_account_number, snapshots.c.revision)).all()


def _invoice(invoice: str) -> ColumnElement[bool]:
    return (snapshots.c.invoice_number == invoice) & only_own(snapshots.c.company_account_number)


def _same() -> ColumnElement[bool]:
    return and_(snapshots.c.billing_year == bodies.c.billing_year, snapshots.c.log_index == bodies.c.log_index)


def _filtered(query: Select[Any], wanted: Filter) -> Select[Any]:
    columns = snapshots.c
    conditions: dict[str, Callable[[Any], ColumnElement[bool]]] = {
        "account_number": lambda value: columns.company_account_number == value,
        "company": lambda value: columns.company_name.icontains(value, autoescape=True),
        "year": lambda value: columns.billing_year == value,
        "month": lambda value: columns.billing_month == value,
        "since": lambda value: columns.archived_at >= value,
        "before": lambda value: columns.archived_at < value,
        "min_total": lambda value: columns.total_amount >= value,
        "max_total": lambda value: columns.total_amount <= value,
        "plan": lambda value: columns.billing_plan == value,
        "item": _has_item,
        "kind": lambda value: columns.kind == value,
    }
    for name, condition in conditions.items():
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(condition(value))
    return query.where(only_own(columns.company_account_number))


def _has_item(part: str) -> ColumnElement[bool]:
    named = line_items.c.item_name.icontains(part, autoescape=True)
    described = line_items.c.description.icontains(part, autoescape=True)
    return exists().where(line_items.c.snapshot_id == snapshots.c.id, named | described)
