"""Verify: everything stored is hashed again and compared, in one view of the database."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from functools import lru_cache
from itertools import starmap
from pathlib import Path
from typing import Any

import orjson
from hivematrix_common.domain import merkle
from hivematrix_common.domain.canonical import digest
from hivematrix_common.domain.checkpoint import Checkpoint, open_checkpoint, parse_kept
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.note import Note, VerifierKey, encode
from hivematrix_common.errors import Problem
from hivematrix_common.signatures import check_signature
from sqlalchemy import Connection, Engine

from hivematrix_archive.domain.bill import Bill, read_bill
from hivematrix_archive.domain.seal import KNOWN, SEAL, Leaf
from hivematrix_archive.domain.tiles import Edge, Node
from hivematrix_archive.store import log as log_store
from hivematrix_archive.store import verifying as store
from hivematrix_archive.store.outside import Outside
from hivematrix_archive.store.sealing import line_text
from hivematrix_archive.store.verifying import Stored

PAGE = 500
Progress = Callable[[int, int], None]


class BadError(Exception):
    """The first thing that does not hold: the entry's index, and why."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(f"entry {index}: {why}")
        self.index, self.why = index, why


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found good."""

    entries: int
    checkpoints: int
    kept: int
    root: bytes

    def as_json(self) -> dict[str, Any]:
        counts = {"entries": self.entries, "checkpoints": self.checkpoints, "kept_outside": self.kept}
        return {"good": True, **counts, "root": encode(self.root)}


def verify(engine: Engine, outside: Outside, progress: Progress, kept_file: Path | None = None) -> Verified:
    """Compare everything with everything; BadError names the first entry that does not hold.

    `kept_file` stands for the checkpoint file, as when a backup's copy is checked.
    """
    with store.frozen(engine) as connection:
        keys = outside.keys()
        edge, made, signed = _walk(connection, keys, progress)
        _check_nodes(connection, made)
        for index, what in sorted(store.strangers(connection)):
            raise BadError(index, f"{what} belongs to no entry of the log")
        kept = _check_kept(connection, outside, kept_file, edge.size)
        return Verified(edge.size, signed, kept, edge.root())


def _walk(connection: Connection, keys: list[VerifierKey], progress: Progress) -> tuple[Edge, list[Node], int]:
    """Entries in order; at each signed size the root so far must be the signed one."""
    size, sizes = store.log_size(connection), store.signed_sizes(connection)
    edge = Edge(0, [])
    made: list[Node] = []
    signed = _check_signed(connection, edge, keys)
    for start, end in _pages(sizes, size):
        hashes = _check_page(connection, start, end)
        if end > size:
            raise BadError(size, f"missing, and a checkpoint of size {end} is signed")
        made += edge.append(hashes)
        signed += _check_signed(connection, edge, keys)
        edge.forget()
        progress(end, size)
    if size > (covered := sizes[-1] if sizes else 0):
        raise BadError(covered, "no signed checkpoint covers it")
    return edge, made, signed


def _pages(signed: list[int], size: int) -> Iterator[tuple[int, int]]:
    """Runs of at most PAGE entries that end at every signed size, and at the last entry."""
    start = 0
    for stop in [*signed, *([size] if not signed or signed[-1] < size else [])]:
        while start < stop:
            end = min(start + PAGE, stop)
            yield start, end
            start = end


def _check_signed(connection: Connection, edge: Edge, keys: list[VerifierKey]) -> int:
    """The checkpoints of the present size, and how many there are; the log's last entry must be covered."""
    rows = store.checkpoints_of(connection, edge.size)
    for row in rows:
        try:
            found = open_checkpoint(row.note, keys + _renamed(row.note, keys), check_signature)
        except DomainError as error:
            raise BadError(max(edge.size - 1, 0), f"checkpoint of size {edge.size}: {error.message}") from None
        if (found.size, found.root) != (row.size, bytes(row.root)) or found.root != edge.root():
            raise BadError(max(edge.size - 1, 0), f"the root signed at size {edge.size} is not the entries' root")
    return len(rows)


def _renamed(note: str, keys: list[VerifierKey]) -> list[VerifierKey]:
    """Size 0 may have been signed under an origin that was changed before the first bill."""
    try:
        found = Checkpoint.parse(Note.parse(note).text)
    except DomainError:
        return []
    return [VerifierKey(found.origin, key.public) for key in keys] if found.size == 0 else []


def _check_page(connection: Connection, start: int, end: int) -> list[bytes]:
    """The hashes of entries [start, end), each compared with all that is stored of it; the first bad one is raised."""
    bills: dict[int, Bill] = {}
    hashes: list[bytes] = []
    try:
        for index, stored in zip(range(start, end), store.entries(connection, start, end), strict=False):
            if stored.index != index:
                raise BadError(index, "missing from the log")
            bill = _check_entry(stored)
            if bill:
                bills[index] = bill
            hashes.append(stored.hash)
    finally:
        # An entry before the bad one may have a bad line, and is then the first.
        _check_lines(connection, start, bills)
    return hashes


def _check_entry(stored: Stored) -> Bill | None:
    """The entry's bill, when it seals one."""
    if merkle.leaf_hash(stored.leaf) != stored.hash:
        raise BadError(stored.index, "its hash is not that of its leaf data")
    try:
        leaf = Leaf.parse(stored.leaf, known=KNOWN)
        if leaf.format == SEAL:
            return _check_seal(stored, leaf)
        _check_act(stored, leaf)
        return None
    except (DomainError, orjson.JSONDecodeError) as error:
        raise BadError(stored.index, str(error)) from None


def _check_seal(stored: Stored, leaf: Leaf) -> Bill:
    if stored.row is None:
        raise DomainError("", "its row of billing_snapshots is missing")
    if stored.body is None or stored.csv is None or stored.meta is None:
        raise DomainError("", f"its body is missing from year {stored.row.billing_year}")
    _check_digest("body", stored.body, leaf.body)
    _check_digest("meta", stored.meta, leaf.meta)
    bill = read_bill(orjson.loads(stored.body))
    _check_digest("csv", stored.csv, bill.csv_sha256)
    found = stored.row._mapping  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping
    for name, value in _expected(stored.index, bill, leaf, orjson.loads(stored.meta)).items():
        if found[name] != value:
            raise DomainError(f"column {name}", f"sealed as {_told(value)}, found {_told(found[name])}")
    return bill


def _check_act(stored: Stored, leaf: Leaf) -> None:
    """An entry that seals no bill has its documents in the log's own schema, and no row."""
    if stored.body is None or stored.meta is None:
        raise DomainError("", f"its document ({leaf.format}) is missing")
    _check_digest("body", stored.body, leaf.body)
    _check_digest("meta", stored.meta, leaf.meta)


def _check_digest(name: str, document: bytes, sealed: str) -> None:
    found = digest(document)
    if found != sealed:
        raise DomainError(name, f"sealed as {sealed}, found {found}")


def _expected(index: int, bill: Bill, leaf: Leaf, meta: dict[str, Any]) -> dict[str, Any]:
    """What the columns repeat of the sealed documents."""
    return {
        "company_account_number": bill.account_number,
        "company_name": bill.company_name,
        "invoice_number": bill.invoice_number,
        "billing_year": bill.period.year,
        "billing_month": bill.period.month,
        "invoice_date": bill.invoice_date,
        "due_date": bill.due_date,
        "archived_at": leaf.sealed_at,
        "billing_plan": bill.billing_plan,
        "contract_term": bill.contract_term,
        "support_level": bill.support_level,
        "total_amount": bill.totals["total"],
        "total_user_charges": bill.totals["user"],
        "total_asset_charges": bill.totals["asset"],
        "total_backup_charges": bill.totals["backup"],
        "total_ticket_charges": bill.totals["hours"],
        "total_line_item_charges": bill.totals["item"],
        "total_tax_charges": bill.totals["tax"],
        "user_count": bill.user_count,
        "asset_count": bill.asset_count,
        "billable_hours": bill.billable_hours,
        "created_by": meta["created_by"] or meta["sealed_by"],
        "notes": meta["notes"],
        "kind": bill.kind,
        "revision": bill.revision,
        "currency": bill.currency,
        "body_sha256": leaf.body,
        "log_index": index,
        "corrects": bill.corrects,
    }


def _check_lines(connection: Connection, start: int, bills: dict[int, Bill]) -> None:
    """Compare a page's line items at one stroke as text; only where that differs, one by one as values."""
    if not bills:
        return
    end = max(bills) + 1
    if store.line_text(connection, start, end) == "".join(starmap(_line_text, bills.items())).encode():
        return
    found: dict[int, list[tuple[Any, ...]]] = {}
    for number, snapshot, *line in store.line_rows(connection, start, end):
        found.setdefault(snapshot - 1, []).append((number, *line))
    for index, bill in bills.items():
        _compare_lines(index, bill, found.get(index, []))


def _line_text(index: int, bill: Bill) -> str:
    """The line items as the columns show them: figures with four places."""
    shown = [(*line[:3], _four_places(line[3]), _four_places(line[4]), _four_places(line[5])) for line in bill.lines]
    return line_text(index + 1, shown)


@lru_cache(maxsize=50_000)
def _four_places(figure: str) -> str:
    whole, _, places = figure.partition(".")
    return f"{whole}.{places:0<4}"


def _compare_lines(index: int, bill: Bill, lines: list[tuple[Any, ...]]) -> None:
    if len(lines) != len(bill.lines):
        raise BadError(index, f"line items: sealed with {len(bill.lines)}, found {len(lines)}")
    for number, (row, sealed) in enumerate(zip(lines, bill.lines, strict=True), 1):
        if row != (number, *sealed[:3], *map(Decimal, sealed[3:])):
            raise BadError(index, f"line item {number}: sealed as {list(sealed)}, found {list(map(_told, row[1:]))}")


def _check_nodes(connection: Connection, made: list[Node]) -> None:
    stored = {(level, index): bytes(found) for level, index, found in store.node_rows(connection)}
    for node in made:
        if stored.pop((node.level, node.index), None) != node.hash:
            raise BadError(node.index * 256**node.level, f"the stored hash of its tile (level {node.level}) is wrong")
    for level, index in sorted(stored):
        raise BadError(index * 256**level, f"a hash of level {level} is stored that no entries make")


def _check_kept(connection: Connection, outside: Outside, path: Path | None, size: int) -> int:
    """The database holds every checkpoint of the file; our own file holds all but the newest of the database too."""
    try:
        kept, torn = _given(path) if path else outside.kept()
    except DomainError as error:
        raise BadError(size, str(error)) from None
    missing = log_store.first_missing(connection, kept)
    if missing is not None:
        found = Checkpoint.parse(Note.parse(kept[missing]).text)
        why = f"the database lacks checkpoint {missing + 1} of the file, of size {found.size}"
        raise BadError(min(found.size, size), why)
    if torn and not log_store.begins_a_note(connection, torn):
        raise BadError(size, "the database lacks the last checkpoint of the file")
    if path is None:
        _check_complete(connection, kept, size)
    return len(kept)


def _given(path: Path) -> tuple[list[str], str]:
    """The checkpoints somebody kept: a copy of the file, or one as /log/checkpoint gave it."""
    text = path.read_text(encoding="utf-8", errors="replace")
    notes, torn = parse_kept(text.rstrip("\n") + "\n\n")
    if torn or not notes:
        raise Problem("invalid", f"{path}: expected checkpoints such as /log/checkpoint gives; nothing was compared.")
    return notes, torn


def _check_complete(connection: Connection, kept: list[str], size: int) -> None:
    known = set(kept)
    older = log_store.notes_until(connection, kept[-1]) if kept else log_store.notes_since(connection, None)[1:]
    for note in older:
        if note not in known:
            found = Checkpoint.parse(Note.parse(note).text)
            raise BadError(min(found.size, size), f"the file lacks the checkpoint of size {found.size}")


def _told(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
