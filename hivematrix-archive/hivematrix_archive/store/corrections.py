"""What is sealed of one company's month, and which documents correct which."""

from collections.abc import Sequence
from typing import Any

from hivematrix_common.database import AnySession, only_own
from hivematrix_common.domain.period import Period
from sqlalchemy import Row, func, select

from hivematrix_archive.domain.corrections import Document
from hivematrix_archive.models import bodies, snapshots
from hivematrix_archive.store.sealing import MONEY_COLUMNS

_COLUMNS = ("invoice_number", "kind", "revision", "currency", "corrects", "body_sha256", *MONEY_COLUMNS.values())


def documents(session: AnySession, account: str, period: Period) -> list[Document]:
    """The month's documents in the order of their revisions."""
    table = snapshots.c
    same = (table.billing_year == bodies.c.billing_year) & (table.log_index == bodies.c.log_index)
    erased = (func.length(bodies.c.body) == 0).label("erased")
    query = select(*(table[name] for name in _COLUMNS), erased).outerjoin(bodies, same)
    query = query.where(
        table.company_account_number == account,
        table.billing_year == period.year,
        table.billing_month == period.month,
    )
    return [_document(row) for row in session.execute(query.order_by(table.revision))]


def correcting(session: AnySession, account: str, invoices: Sequence[str]) -> Sequence[Row[Any]]:
    """The account's documents that correct one of `invoices`, oldest first."""
    table = snapshots.c
    names = ("invoice_number", "corrects", "kind", "currency", "total_amount", "archived_at", "log_index")
    query = select(*(table[name] for name in names)).where(
        table.company_account_number == account,
        table.corrects.in_(invoices),
        only_own(table.company_account_number),
    )
    return session.execute(query.order_by(table.id)).all()


def balances(session: AnySession, account: str) -> dict[str, Any]:
    """The sum of all documents of an account by currency."""
    table = snapshots.c
    query = select(table.currency, func.sum(table.total_amount)).where(
        table.company_account_number == account, only_own(table.company_account_number)
    )
    rows = session.execute(query.group_by(table.currency).order_by(table.currency))
    return {currency: total for currency, total in rows}  # noqa: C416 - of rows


def _document(row: Row[Any]) -> Document:
    totals = {kind: getattr(row, column) for kind, column in MONEY_COLUMNS.items()}
    number, kind, revision = row.invoice_number, row.kind, row.revision
    return Document(number, kind, revision, row.currency, row.corrects, row.body_sha256, totals, bool(row.erased))
