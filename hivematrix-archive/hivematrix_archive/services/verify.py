"""Verify: everything stored is hashed again and compared, in one view of the database."""

from collections.abc import Callable
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
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.note import encode
from sqlalchemy import Connection, Engine, Row

from hivematrix_archive.domain.bill import Bill, read_bill
from hivematrix_archive.domain.erasure import FORMAT as ERASURE
from hivematrix_archive.domain.seal import KNOWN, SEAL, Leaf
from hivematrix_archive.domain.tiles import Edge, Node
from hivematrix_archive.services.erasure import Erasures
from hivematrix_archive.services.signed_sizes import BadError, SignedSizes, check_kept
from hivematrix_archive.store import verifying as store
from hivematrix_archive.store.outside import Outside
from hivematrix_archive.store.sealing import line_text
from hivematrix_archive.store.verifying import Stored

PAGE = 500
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Verified:
    """What was found good."""

    entries: int
    checkpoints: int
    kept: int
    root: bytes
    erased: int = 0

    def as_json(self) -> dict[str, Any]:
        counts = {"entries": self.entries, "checkpoints": self.checkpoints, "kept_outside": self.kept}
        counts["erased"] = self.erased
        return {"good": True, **counts, "root": encode(self.root)}


def verify(
    engine: Engine, outside: Outside, progress: Progress, kept_file: Path | None = None, *, bodies_only: bool = False
) -> Verified:
    """Compare everything with everything; BadError names the first entry that does not hold.

    `kept_file` stands for the checkpoint file, as when a backup's copy is checked. With `bodies_only` the bodies are
    hashed and the roots rebuilt, but columns, line items and CSVs are not compared.
    """
    with store.frozen(engine) as connection:
        signed, erasures = SignedSizes(connection, outside.keys()), Erasures(connection)
        edge, made = _walk(connection, signed, erasures, progress, bodies_only=bodies_only)
        _check_nodes(connection, made)
        for index, what in sorted(store.strangers(connection)):
            raise BadError(index, f"{what} belongs to no entry of the log")
        kept = check_kept(connection, outside, kept_file, edge.size)
        return Verified(edge.size, signed.count, kept, edge.root(), erasures.count)


def _walk(
    connection: Connection, signed: SignedSizes, erasures: Erasures, progress: Progress, *, bodies_only: bool
) -> tuple[Edge, list[Node]]:
    """Entries in order; at each signed size the root so far must be the signed one."""
    size = store.log_size(connection)
    edge = Edge(0, [])
    made = signed.follow(edge, [])
    for start in range(0, size, PAGE):
        end = min(start + PAGE, size)
        hashes, bad = _check_page(connection, erasures, start, end, bodies_only=bodies_only)
        made += signed.follow(edge, hashes)
        if bad:
            raise bad
        progress(end, size)
    signed.check_covered(size)
    return edge, made


def _check_page(
    connection: Connection, erasures: Erasures, start: int, end: int, *, bodies_only: bool
) -> tuple[list[bytes], BadError | None]:
    """The hashes of entries [start, end), each compared with all that is stored of it, up to the first bad one."""
    bills: dict[int, Bill] = {}
    hashes: list[bytes] = []
    try:
        for index, stored in zip(range(start, end), store.entries(connection, start, end, bodies_only), strict=False):
            if stored.index != index:
                break
            bill = _check_entry(stored, erasures, bodies_only=bodies_only)
            if bill:
                bills[index] = bill
            hashes.append(stored.hash)
        bad = None if len(hashes) == end - start else BadError(start + len(hashes), "missing from the log")
    except BadError as error:
        bad = error
    # An entry before the bad one may have a bad line, and is then the first.
    bad = _first_bad_line(connection, start, bills) or bad
    return hashes[: bad.index - start] if bad else hashes, bad


def _check_entry(stored: Stored, erasures: Erasures, *, bodies_only: bool) -> Bill | None:
    """The entry's bill, when it seals one and is to be compared with its row."""
    if merkle.leaf_hash(stored.leaf) != stored.hash:
        raise BadError(stored.index, "its hash is not that of its leaf data")
    try:
        leaf = Leaf.parse(stored.leaf, known=KNOWN)
        if leaf.format == SEAL and stored.body == b"":
            return _check_erased(stored, leaf, erasures, bodies_only=bodies_only)
        if leaf.format == SEAL and not bodies_only:
            return _check_seal(stored, leaf)
        _check_documents(stored, leaf)
        if leaf.format == ERASURE:
            erasures.check(stored.index)
    except (DomainError, orjson.JSONDecodeError) as error:
        raise BadError(stored.index, str(error)) from None
    return None


def _check_seal(stored: Stored, leaf: Leaf) -> Bill:
    if stored.row is None:
        raise DomainError("", "its row of billing_snapshots is missing")
    if stored.body is None or stored.csv is None or stored.meta is None:
        raise DomainError("", f"its body is missing from year {stored.row.billing_year}")
    _check_digest("body", stored.body, leaf.body)
    _check_digest("meta", stored.meta, leaf.meta)
    bill = read_bill(orjson.loads(stored.body))
    _check_digest("csv", stored.csv, bill.csv_sha256)
    _check_row(stored.row, _expected(stored.index, bill, leaf, orjson.loads(stored.meta)))
    return bill


def _check_erased(stored: Stored, leaf: Leaf, erasures: Erasures, *, bodies_only: bool) -> Bill | None:
    """A bill whose document was emptied: what is left of it is what its erasure entry says."""
    erased = erasures.meet(stored.index)
    if bodies_only:
        return None
    if stored.row is None:
        raise DomainError("", "its row of billing_snapshots is missing")
    for name, left in (("csv", stored.csv), ("meta", stored.meta)):
        if left != b"":
            raise DomainError(name, "the bill was erased, and this is there")
    meta = {"created_by": erased.created_by or None, "sealed_by": None, "notes": None}
    _check_row(stored.row, _expected(stored.index, erased.bill, leaf, meta))
    return erased.bill


def _check_row(row: Row[Any], expected: dict[str, Any]) -> None:
    found = row._mapping  # noqa: SLF001 - SQLAlchemy's public name for a row as a mapping
    for name, value in expected.items():
        if found[name] != value:
            raise DomainError(f"column {name}", f"sealed as {_told(value)}, found {_told(found[name])}")


def _check_documents(stored: Stored, leaf: Leaf) -> None:
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


def _first_bad_line(connection: Connection, start: int, bills: dict[int, Bill]) -> BadError | None:
    """Compare a page's line items at one stroke as text; only where that differs, one by one as values."""
    if not bills:
        return None
    end = max(bills) + 1
    if store.line_text(connection, start, end) == "".join(starmap(_line_text, bills.items())).encode():
        return None
    found: dict[int, list[tuple[Any, ...]]] = {}
    for number, snapshot, *line in store.line_rows(connection, start, end):
        found.setdefault(snapshot - 1, []).append((number, *line))
    try:
        for index, bill in bills.items():
            _compare_lines(index, bill, found.get(index, []))
    except BadError as bad:
        return bad
    return None


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


def _told(value: Any) -> str:
    return value.isoformat() if isinstance(value, datetime) else str(value)
