"""A period's sealed bills with their documents, in the order of the log, for an auditor's pack."""

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, Row, select, text

from hivematrix_archive.models import bodies, checkpoints, entries, snapshots

PAGE = 200
_WITHOUT_ROW = text("""
    SELECT min(e.index) FROM archive_log.entries e
    WHERE NOT EXISTS (SELECT FROM billing_snapshots s WHERE s.id = e.index + 1)
        AND NOT EXISTS (SELECT FROM archive_log.documents d WHERE d.index = e.index)
""")


def bills(connection: Connection, year: int, month: int) -> Iterator[Row[Any]]:
    """Invoice, company, index, leaf and documents of every bill of a month; a few are held at a time."""
    same = (snapshots.c.billing_year == bodies.c.billing_year) & (snapshots.c.log_index == bodies.c.log_index)
    query = (
        select(
            *(snapshots.c.invoice_number, snapshots.c.company_name, snapshots.c.log_index),
            *(entries.c.leaf, bodies.c.body, bodies.c.csv),
        )
        .join(entries, entries.c.index == snapshots.c.log_index)
        .outerjoin(bodies, same)
        .where(snapshots.c.billing_year == year, snapshots.c.billing_month == month)
        .order_by(snapshots.c.id)
    )
    return iter(connection.execution_options(yield_per=PAGE).execute(query))


def first_without_row(connection: Connection) -> int | None:
    """The first entry that seals a bill of which there is no row."""
    return connection.execute(_WITHOUT_ROW).scalar()


def signed_notes(connection: Connection) -> list[Row[Any]]:
    """Size, root and note of every checkpoint above size 0, in the order in which they were signed."""
    query = select(checkpoints.c.size, checkpoints.c.root, checkpoints.c.note).where(checkpoints.c.size > 0)
    return list(connection.execute(query.order_by(checkpoints.c.id)))
