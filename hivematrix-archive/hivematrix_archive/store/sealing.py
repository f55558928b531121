"""The sealing transaction's statements. Each is timed, and followed by a failpoint where tests end the process."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from hivematrix_common.database import AnySession, advisory_xact_lock, copy_lines, copy_rows
from hivematrix_common.domain import merkle
from hivematrix_common.failpoints import failpoint
from hivematrix_common.metrics import stage
from sqlalchemy import insert, text

from hivematrix_archive.domain.bill import CHARGES, Row
from hivematrix_archive.domain.seal import Receipt, Sealed
from hivematrix_archive.domain.tiles import Edge, Node, edge_levels, edge_span
from hivematrix_archive.models import documents, entries
from hivematrix_archive.store import binary

LOCK = "archive-log"
_ESCAPED = frozenset("\\\t\n\r")
MONEY_COLUMNS = {
    "user": "total_user_charges",
    "asset": "total_asset_charges",
    "backup": "total_backup_charges",
    "hours": "total_ticket_charges",
    "item": "total_line_item_charges",
    "tax": "total_tax_charges",
    "total": "total_amount",
}
SNAPSHOT_COLUMNS = (
    *("id", "company_account_number", "company_name", "invoice_number", "billing_year", "billing_month"),
    *("invoice_date", "due_date", "archived_at", "billing_plan", "contract_term", "support_level"),
    *(MONEY_COLUMNS[name] for name in (*CHARGES, "total")),
    *("user_count", "asset_count", "billable_hours", "created_by", "notes", "kind", "revision", "currency"),
    *("body_sha256", "log_index", "corrects"),
)
BODY_COLUMNS = ("billing_year", "log_index", "body", "csv", "meta")
LINE_COLUMNS = ("id", "snapshot_id", "line_type", "item_name", "description", "quantity", "rate", "amount")
_RECEIPTS = text("""
    SELECT s.invoice_number, s.body_sha256, s.log_index, s.archived_at, c.note
    FROM billing_snapshots s
    CROSS JOIN LATERAL (
        SELECT note FROM archive_log.checkpoints WHERE size > s.log_index ORDER BY size, id LIMIT 1
    ) c
    WHERE s.invoice_number = ANY(:numbers)
""")
_EDGE = text("""
    SELECT 0 AS level, index, hash FROM archive_log.entries WHERE index >= :leaves
    UNION ALL
    SELECT n.level, n.index, n.hash
    FROM unnest(CAST(:starts AS bigint[])) WITH ORDINALITY AS edge (start, level)
    JOIN archive_log.nodes n ON n.level = edge.level AND n.index >= edge.start
    ORDER BY level, index
""")
_TIP = text("SELECT size, root, snapshots, note FROM archive_log.checkpoints ORDER BY id DESC LIMIT 1")
_INSERT_CHECKPOINT = text("""
    INSERT INTO archive_log.checkpoints (size, root, snapshots, note, signed_at)
    VALUES (:size, :root, :snapshots, :note, :signed_at)
""")


@dataclass(frozen=True, slots=True)
class Tip:
    """The last signed checkpoint: the log's size and root, and how many bills are in it."""

    size: int
    root: bytes
    snapshots: int
    note: str


def lock_log(session: AnySession) -> None:
    """Wait until nobody else extends the log; the lock ends with the transaction."""
    with stage("seal-lock"):
        advisory_xact_lock(session, LOCK)
    failpoint("seal-lock")


def receipts(session: AnySession, numbers: Sequence[str]) -> dict[str, Receipt]:
    """The receipts of those invoices that are sealed, each with the first checkpoint that covers it."""
    with stage("seal-look-up"):
        rows = session.execute(_RECEIPTS, {"numbers": list(numbers)}).all()
    failpoint("seal-look-up")
    return {
        row.invoice_number: Receipt(row.invoice_number, row.body_sha256, row.log_index, row.archived_at, row.note)
        for row in rows
    }


def tip(session: AnySession) -> Tip | None:
    with stage("seal-tip"):
        row = session.execute(_TIP).one_or_none()
    failpoint("seal-tip")
    return Tip(row.size, bytes(row.root), row.snapshots, row.note) if row else None


def load_edge(session: AnySession, size: int) -> Edge:
    """The right edge of the log as it is stored; DomainError when a hash is missing or there is one too many."""
    levels = edge_levels(size)
    starts = [edge_span(level, size)[0] for level in range(max(levels, 1))]
    found: list[list[bytes]] = [[] for _ in starts]
    with stage("seal-edge"):
        for row in session.execute(_EDGE, {"leaves": starts[0], "starts": starts[1:]}):
            found[row.level].append(bytes(row.hash))
    failpoint("seal-edge")
    return Edge(size, found)


def insert_entries(session: AnySession, sealed: Sequence[Sealed]) -> None:
    with stage("seal-entries"):
        data = binary.rows((binary.bigint(one.index), one.leaf, one.hash) for one in sealed)
        copy_rows(session, "archive_log.entries", ("index", "leaf", "hash"), data, "FORMAT binary")
    failpoint("seal-entries")


def insert_snapshots(session: AnySession, sealed: Sequence[Sealed]) -> None:
    with stage("seal-snapshots"):
        data = binary.rows(map(_snapshot_row, sealed))
        copy_rows(session, "billing_snapshots", SNAPSHOT_COLUMNS, data, "FORMAT binary")
    failpoint("seal-snapshots")


def insert_bodies(session: AnySession, sealed: Sequence[Sealed]) -> None:
    with stage("seal-bodies"):
        data = binary.rows(map(_body_row, sealed))
        copy_rows(session, "archive_data.bodies", BODY_COLUMNS, data, "FORMAT binary")
    failpoint("seal-bodies")


def insert_line_items(session: AnySession, sealed: Sequence[Sealed]) -> None:
    with stage("seal-line-items"):
        data = "".join([line_text(one.index + 1, one.checked.bill.lines) for one in sealed]).encode()
        copy_rows(session, "snapshot_line_items", LINE_COLUMNS, data)
    failpoint("seal-line-items")


def insert_nodes(session: AnySession, nodes: Sequence[Node]) -> None:
    with stage("seal-nodes"):
        if nodes:
            data = binary.rows((binary.smallint(node.level), binary.bigint(node.index), node.hash) for node in nodes)
            copy_rows(session, "archive_log.nodes", ("level", "index", "hash"), data, "FORMAT binary")
    failpoint("seal-nodes")


def insert_act(session: AnySession, index: int, leaf: bytes, body: bytes, meta: bytes) -> None:
    """An entry that seals no bill, with its documents."""
    session.execute(insert(entries).values(index=index, leaf=leaf, hash=merkle.leaf_hash(leaf)))
    session.execute(insert(documents).values(index=index, body=body, meta=meta))


def insert_checkpoint(session: AnySession, tip: Tip, signed_at: datetime) -> None:
    values = {"size": tip.size, "root": tip.root, "snapshots": tip.snapshots, "note": tip.note, "signed_at": signed_at}
    with stage("seal-checkpoint"):
        session.execute(_INSERT_CHECKPOINT, values)
    failpoint("seal-checkpoint")


def _body_row(one: Sealed) -> tuple[binary.Field, ...]:
    year = binary.integer(one.checked.bill.period.year)
    return year, binary.bigint(one.index), one.checked.body, one.checked.csv, one.meta


def line_text(snapshot: int, lines: Sequence[Row]) -> str:
    """A bill's line items in COPY's text format. Kinds and figures are plain; one look tells whether a text is."""
    if not _ESCAPED.isdisjoint("".join([line[1] + line[2] for line in lines])):
        return copy_lines((at, snapshot, *line) for at, line in enumerate(lines, 1)).decode()
    return "".join([f"{at}\t{snapshot}\t" + "\t".join(line) + "\n" for at, line in enumerate(lines, 1)])


def _snapshot_row(one: Sealed) -> tuple[binary.Field, ...]:
    bill = one.checked.bill
    text_ = binary.text
    return (
        binary.bigint(one.index + 1),
        text_(bill.account_number),
        text_(bill.company_name),
        text_(bill.invoice_number),
        binary.integer(bill.period.year),
        binary.integer(bill.period.month),
        binary.day(bill.invoice_date),
        binary.day(bill.due_date),
        binary.instant(one.sealed_at),
        text_(bill.billing_plan),
        text_(bill.contract_term),
        text_(bill.support_level),
        *(binary.numeric(bill.totals[name]) for name in (*CHARGES, "total")),
        binary.integer(bill.user_count),
        binary.integer(bill.asset_count),
        binary.numeric(bill.billable_hours),
        text_(one.created_by),
        text_(one.checked.told["notes"]),
        text_(bill.kind),
        binary.integer(bill.revision),
        text_(bill.currency),
        text_(one.checked.digest),
        binary.bigint(one.index),
        text_(bill.corrects),
    )
