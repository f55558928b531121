"""The whole archive in the order of the log, a page at a time, in one unchanging view of the database."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from sqlalchemy import Connection, Engine, Row, and_, select, text

from hivematrix_archive.models import bodies, checkpoints, entries, nodes, snapshots

_ENTRIES = (
    select(
        entries.c.index.label("entry"),
        entries.c.leaf,
        entries.c.hash,
        *snapshots.c,
        bodies.c.body,
        bodies.c.csv,
        bodies.c.meta,
    )
    .join(snapshots, snapshots.c.id == entries.c.index + 1, isouter=True)
    .join(
        bodies,
        and_(bodies.c.billing_year == snapshots.c.billing_year, bodies.c.log_index == entries.c.index),
        isouter=True,
    )
    .order_by(entries.c.index)
)
_LINES = text("""
    SELECT snapshot_id, line_type, item_name, description, quantity, rate, amount
    FROM snapshot_line_items WHERE snapshot_id > :first AND snapshot_id <= :last ORDER BY snapshot_id, id
""")
# What stands beside the log and belongs to no entry, by the index that it claims.
_STRANGERS = {
    "a row of billing_snapshots": """
        SELECT min(id - 1) FROM billing_snapshots s
        WHERE NOT EXISTS (SELECT FROM archive_log.entries e WHERE e.index = s.id - 1)
    """,
    "a body": """
        SELECT min(log_index) FROM archive_data.bodies b WHERE NOT EXISTS (
            SELECT FROM billing_snapshots s WHERE s.id = b.log_index + 1 AND s.billing_year = b.billing_year)
    """,
    "a line item": """
        SELECT min(snapshot_id - 1) FROM snapshot_line_items l
        WHERE NOT EXISTS (SELECT FROM billing_snapshots s WHERE s.id = l.snapshot_id)
    """,
}


@contextmanager
def frozen(engine: Engine) -> Iterator[Connection]:
    """One unchanging view of the database, without the service's time limits."""
    with engine.connect().execution_options(isolation_level="REPEATABLE READ") as connection, connection.begin():
        for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(text(f"SET LOCAL {limit} = 0"))
        yield connection


def log_size(connection: Connection) -> int:
    """One more than the largest index."""
    return int(connection.execute(text("SELECT coalesce(max(index) + 1, 0) FROM archive_log.entries")).scalar_one())


def entry_rows(connection: Connection, start: int, end: int) -> Sequence[Row[Any]]:
    """Entries [start, end), each with its snapshot's columns and documents; None where they are missing."""
    return connection.execute(_ENTRIES.where(entries.c.index >= start, entries.c.index < end)).all()


def line_rows(connection: Connection, start: int, end: int) -> Sequence[Row[Any]]:
    """The line items of the snapshots of entries [start, end)."""
    return connection.execute(_LINES, {"first": start, "last": end}).all()


def node_rows(connection: Connection) -> Sequence[Row[Any]]:
    return connection.execute(select(nodes).order_by(nodes.c.level, nodes.c.index)).all()


def checkpoints_of(connection: Connection, size: int) -> Sequence[Row[Any]]:
    return connection.execute(select(checkpoints).where(checkpoints.c.size == size).order_by(checkpoints.c.id)).all()


def signed_sizes(connection: Connection) -> list[int]:
    """Every size above 0 that a checkpoint states, ascending."""
    query = select(checkpoints.c.size).where(checkpoints.c.size > 0).distinct().order_by(checkpoints.c.size)
    return list(connection.execute(query).scalars())


def strangers(connection: Connection) -> list[tuple[int, str]]:
    """(index, what) of rows that belong to no entry."""
    found = [(connection.execute(text(query)).scalar(), what) for what, query in _STRANGERS.items()]
    return [(int(index), what) for index, what in found if index is not None]
