"""The stored log as readers need it: checkpoints, runs of hashes, entries, and nodes for proofs."""

from collections.abc import Iterable, Sequence

from hivematrix_common.database import AnySession
from hivematrix_common.domain import merkle
from sqlalchemy import Connection, Row, select, text

from hivematrix_archive.domain.tiles import BITS, WIDTH
from hivematrix_archive.models import bodies, checkpoints, entries, nodes, snapshots

LARGEST = 2**63 - 1
Session = AnySession | Connection
_MISSING = text("""
    SELECT kept.place FROM unnest(CAST(:notes AS text[])) WITH ORDINALITY AS kept (note, place)
    WHERE NOT EXISTS (SELECT FROM archive_log.checkpoints c WHERE c.note = kept.note)
    ORDER BY kept.place LIMIT 1
""")
_SINCE = text("""
    SELECT note FROM archive_log.checkpoints
    WHERE id > coalesce((SELECT max(id) FROM archive_log.checkpoints WHERE note = :note), 0) ORDER BY id
""")


_UNTIL = text("""
    SELECT note FROM archive_log.checkpoints
    WHERE id < (SELECT max(id) FROM archive_log.checkpoints WHERE note = :note) ORDER BY id
""")


def first_missing(session: Session, notes: Sequence[str]) -> int | None:
    """The place in `notes` of the first that the database does not hold."""
    place = session.execute(_MISSING, {"notes": list(notes)}).scalar_one_or_none()
    return None if place is None else int(place) - 1


def any_held(session: Session, notes: Sequence[str]) -> bool:
    """Whether the database holds one of `notes`."""
    return session.execute(select(checkpoints.c.id).where(checkpoints.c.note.in_(notes)).limit(1)).first() is not None


def notes_since(session: Session, note: str | None) -> list[str]:
    """The notes signed after `note`, oldest first; all of them without one."""
    return list(session.execute(_SINCE, {"note": note or ""}).scalars())


def notes_until(session: Session, note: str) -> list[str]:
    """The notes signed before `note`, oldest first."""
    return list(session.execute(_UNTIL, {"note": note}).scalars())


def begins_a_note(session: Session, beginning: str) -> bool:
    query = select(checkpoints.c.id).where(checkpoints.c.note.startswith(beginning, autoescape=True)).limit(1)
    return session.execute(query).first() is not None


def newest_note(session: Session) -> str | None:
    return session.execute(select(checkpoints.c.note).order_by(checkpoints.c.id.desc()).limit(1)).scalar_one_or_none()


def covering(session: Session, index: int) -> Row[tuple[int, str]] | None:
    """Size and note of the first signed checkpoint that covers entry `index`."""
    query = select(checkpoints.c.size, checkpoints.c.note).where(checkpoints.c.size > index)
    return session.execute(query.order_by(checkpoints.c.size, checkpoints.c.id).limit(1)).one_or_none()


def signed_at_size(session: Session, size: int) -> str | None:
    query = select(checkpoints.c.note).where(checkpoints.c.size == size).order_by(checkpoints.c.id).limit(1)
    return session.execute(query).scalar_one_or_none()


def any_signed_size(session: Session, first: int, before: int | None) -> bool:
    """Whether a signed size lies in [first, before)."""
    if first > LARGEST:
        return False
    query = select(checkpoints.c.id).where(checkpoints.c.size >= first).limit(1)
    if before is not None:
        query = query.where(checkpoints.c.size < min(before, LARGEST))
    return session.execute(query).first() is not None


def hashes(session: Session, level: int, start: int, end: int) -> list[bytes]:
    """Hashes [start, end) of a level."""
    table = entries if level == 0 else nodes
    query = select(table.c.hash).where(table.c.index >= start, table.c.index < end).order_by(table.c.index)
    if level:
        query = query.where(nodes.c.level == level)
    return [bytes(found) for found in session.execute(query).scalars()]


def leaves(session: Session, start: int, end: int) -> list[bytes]:
    query = select(entries.c.leaf).where(entries.c.index >= start, entries.c.index < end).order_by(entries.c.index)
    return [bytes(leaf) for leaf in session.execute(query).scalars()]


def stored_nodes(session: Session) -> merkle.Nodes:
    """The stored log as merkle's proofs ask for it; a tile is read once."""
    tiles: dict[tuple[int, int], list[bytes]] = {}

    def node(height: int, index: int) -> bytes:
        level, rest = divmod(height, BITS)
        start = index << rest
        place = (level, start // WIDTH)
        if place not in tiles:
            tiles[place] = hashes(session, level, place[1] * WIDTH, (place[1] + 1) * WIDTH)
        within = start - place[1] * WIDTH
        return merkle.subtree_root(tiles[place][within : within + (1 << rest)])

    return node


def bodies_of(session: Session, invoices: Iterable[str]) -> dict[str, bytes]:
    query = (
        select(snapshots.c.invoice_number, bodies.c.body)
        .join(
            bodies, (snapshots.c.billing_year == bodies.c.billing_year) & (snapshots.c.log_index == bodies.c.log_index)
        )
        .where(snapshots.c.invoice_number.in_(list(invoices)))
    )
    return {row.invoice_number: bytes(row.body) for row in session.execute(query)}
