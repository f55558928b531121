"""What the start page counts: the newest checkpoint, sealed documents by month, a client's own documents."""

from collections.abc import Sequence
from typing import Any

from hivematrix_common.database import AnySession, only_own
from hivematrix_common.domain.period import Period
from sqlalchemy import Row, Select, Text, cast, func, select, tuple_

from hivematrix_archive.models import checkpoints, snapshots

_PERIOD = (snapshots.c.billing_year, snapshots.c.billing_month)


def newest_checkpoint(session: AnySession) -> Row[Any] | None:
    return session.execute(select(checkpoints).order_by(checkpoints.c.id.desc()).limit(1)).one_or_none()


def newest_period(session: AnySession) -> Period | None:
    newest = select(*_PERIOD).order_by(*(column.desc() for column in _PERIOD)).limit(1)
    row = session.execute(newest).one_or_none()
    return Period(row.billing_year, row.billing_month) if row else None


def months(session: AnySession, since: Period) -> Sequence[Row[Any]]:
    """Sealed documents by month and currency, newest month first."""
    number = func.count().label("documents")
    total, last = (
        func.sum(snapshots.c.total_amount).label("total"),
        func.max(snapshots.c.archived_at).label("sealed_at"),
    )
    query = (
        select(*_PERIOD, snapshots.c.currency, number, total, last)
        .where(tuple_(*_PERIOD) >= (since.year, since.month))
        .group_by(*_PERIOD, snapshots.c.currency)
        .order_by(*(column.desc() for column in _PERIOD), number.desc(), snapshots.c.currency)
    )
    return session.execute(query).all()


def own_documents(account: str) -> Select[Any]:
    """The sealed documents of the client who asks, whose account it is."""
    month = func.lpad(cast(snapshots.c.billing_month, Text), 2, "0")
    period = (cast(snapshots.c.billing_year, Text) + "-" + month).label("period")
    names = ("invoice_number", "kind", "currency", "archived_at", "log_index")
    total = func.trim_scale(snapshots.c.total_amount, type_=snapshots.c.total_amount.type).label("total")
    return select(*(snapshots.c[name] for name in names), period, total).where(
        snapshots.c.company_account_number == account, only_own(snapshots.c.company_account_number)
    )
