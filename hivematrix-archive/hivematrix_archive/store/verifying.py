"""The whole archive in the order of the log, a page at a time, in one unchanging view of the database."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from hivematrix_common.database import COPY_BUFFER
from sqlalchemy import Connection, Engine, Row, func, select, text

from hivematrix_archive.models import checkpoints, nodes, snapshots
from hivematrix_archive.store import binary

_DOCUMENTS = """
    SELECT e.index, e.leaf, e.hash, coalesce(b.body, d.body), {csv}, coalesce(b.meta, d.meta)
    FROM archive_log.entries e
    LEFT JOIN billing_snapshots s ON s.id = e.index + 1
    LEFT JOIN archive_data.bodies b ON b.billing_year = s.billing_year AND b.log_index = e.index
    LEFT JOIN archive_log.documents d ON d.index = e.index
    WHERE e.index >= {start} AND e.index < {end} ORDER BY e.index
"""
_LINES = """
    SELECT id, snapshot_id, line_type, item_name, description, quantity, rate, amount
    FROM snapshot_line_items WHERE snapshot_id > {start} AND snapshot_id <= {end} ORDER BY snapshot_id, id
"""
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
    "a document": """
        SELECT min(index) FROM archive_log.documents d WHERE EXISTS (
            SELECT FROM billing_snapshots s WHERE s.id = d.index + 1)
            OR NOT EXISTS (SELECT FROM archive_log.entries e WHERE e.index = d.index)
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


@dataclass(frozen=True, slots=True)
class Stored:
    """An entry with its row of billing_snapshots and its documents; None where they are missing."""

    index: int
    leaf: bytes
    hash: bytes
    body: bytes | None
    csv: bytes | None
    meta: bytes | None
    row: Row[Any] | None


def entries(connection: Connection, start: int, end: int, bodies_only: bool = False) -> list[Stored]:
    """Entries [start, end) in their order; with `bodies_only` without their rows and CSVs."""
    rows: dict[int, Row[Any]] = {}
    if not bodies_only:
        found = connection.execute(select(snapshots).where(snapshots.c.id > start, snapshots.c.id <= end))
        rows = {row.id: row for row in found}
    csv = "NULL::bytea" if bodies_only else "b.csv"
    data = _copy_out(connection, _DOCUMENTS.format(start=start, end=end, csv=csv), "FORMAT binary")
    return [_stored(fields, rows) for fields in binary.read(data)]


def _stored(fields: list[bytes | None], rows: dict[int, Row[Any]]) -> Stored:
    index, leaf, hashed, body, csv, meta = fields
    number = int.from_bytes(index or b"", "big")
    return Stored(number, leaf or b"", hashed or b"", body, csv, meta, rows.get(number + 1))


def line_text(connection: Connection, start: int, end: int) -> bytes:
    """The line items of the snapshots of entries [start, end) in COPY's text format."""
    return _copy_out(connection, _LINES.format(start=start, end=end), "FORMAT text")


def line_rows(connection: Connection, start: int, end: int) -> Sequence[Row[Any]]:
    """The same as rows."""
    return connection.execute(text(_LINES.format(start=start, end=end))).all()


def _copy_out(connection: Connection, query: str, options: str) -> bytes:
    out = BytesIO()
    cursor: Any = connection.connection.cursor()
    try:
        cursor.copy_expert(f"COPY ({query}) TO STDOUT WITH ({options})", out, size=COPY_BUFFER)
    finally:
        cursor.close()
    return out.getvalue()


def node_rows(connection: Connection) -> Sequence[Row[Any]]:
    return connection.execute(select(nodes).order_by(nodes.c.level, nodes.c.index)).all()


def checkpoints_between(connection: Connection, after: int, upto: int) -> Sequence[Row[Any]]:
    """Those of the sizes (after, upto], in the order in which they were signed."""
    query = select(checkpoints).where(checkpoints.c.size > after, checkpoints.c.size <= upto)
    return connection.execute(query.order_by(checkpoints.c.size, checkpoints.c.id)).all()


def first_signed_beyond(connection: Connection, size: int) -> int | None:
    """The smallest signed size above `size`."""
    query = select(func.min(checkpoints.c.size)).where(checkpoints.c.size > size)
    return connection.execute(query).scalar()


def strangers(connection: Connection) -> list[tuple[int, str]]:
    """(index, what) of rows that belong to no entry."""
    found = [(connection.execute(text(query)).scalar(), what) for what, query in _STRANGERS.items()]
    return [(int(index), what) for index, what in found if index is not None]
