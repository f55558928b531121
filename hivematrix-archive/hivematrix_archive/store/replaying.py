"""Sealed bodies in the order of the log, for whoever computes them again."""

from collections.abc import Sequence
from typing import Any

from hivematrix_common.domain.period import Period
from sqlalchemy import Connection, Row, func, select

from hivematrix_archive.models import bodies, snapshots


def page(
    connection: Connection, invoices: Sequence[str], period: Period | None, after: int, limit: int
) -> Sequence[Row[Any]]:
    """Number, index and body of those after index `after`: of these invoices, or of a period, or of all."""
    same = (snapshots.c.billing_year == bodies.c.billing_year) & (snapshots.c.log_index == bodies.c.log_index)
    columns = (snapshots.c.invoice_number, snapshots.c.log_index, bodies.c.body)
    query = select(*columns).join(bodies, same).where(snapshots.c.log_index > after, *_wanted(invoices, period))
    return connection.execute(query.order_by(snapshots.c.log_index).limit(limit)).all()


def count(connection: Connection, invoices: Sequence[str], period: Period | None) -> int:
    query = select(func.count()).select_from(snapshots).where(*_wanted(invoices, period))
    return connection.execute(query).scalar_one()


def _wanted(invoices: Sequence[str], period: Period | None) -> list[Any]:
    found: list[Any] = []
    if invoices:
        found.append(snapshots.c.invoice_number.in_(invoices))
    if period:
        found += [snapshots.c.billing_year == period.year, snapshots.c.billing_month == period.month]
    return found
