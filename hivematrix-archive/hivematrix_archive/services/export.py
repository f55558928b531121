"""The auditor's pack of a month: everything that somebody needs who has files and the log's key, and nothing else."""

import shutil
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from hivematrix_common import audit, clock
from hivematrix_common.domain import merkle
from hivematrix_common.domain.canonical import digest
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import Problem
from sqlalchemy import Connection, Engine

import hivematrix_archive
from hivematrix_archive import render
from hivematrix_archive.domain import pack
from hivematrix_archive.domain.erasure import FORMAT as ERASURE
from hivematrix_archive.domain.erasure import read_erasure
from hivematrix_archive.domain.pack import Manifest, Packed
from hivematrix_archive.domain.seal import Leaf
from hivematrix_archive.services import log
from hivematrix_archive.services.signed_sizes import BadError
from hivematrix_archive.store import erasure as erasure_store
from hivematrix_archive.store import exporting as store
from hivematrix_archive.store import log as log_store
from hivematrix_archive.store.outside import Outside, Signer
from hivematrix_archive.store.verifying import frozen

VERIFIER = Path(hivematrix_archive.__file__).parents[1] / "verify_offline.py"
_ERASURES = frozenset({ERASURE})


def export(engine: Engine, outside: Outside, period: Period, out: Path, who: str) -> Manifest:
    """Write the pack of `period` to the folder `out`, whole or not at all.

    BadError names an entry that is not what was sealed: then nothing is written, and verify says more.
    """
    signer = log.signer_of(outside)
    if out.exists() and any(out.iterdir()):
        raise Problem("conflict", f"{out} is not empty; name a folder that is not there yet.")
    partial = out.with_name(f".partial-{out.name}")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        with frozen(engine) as connection:
            manifest = _Writer(connection, partial, period).write(signer, outside)
        partial.replace(out)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _tell(engine, who, period, len(manifest.bills))
    return manifest


class _Writer:
    """One pack while it is written."""

    def __init__(self, connection: Connection, folder: Path, period: Period) -> None:
        self.connection, self.folder = connection, folder
        self.nodes = log_store.stored_nodes(connection)
        self.notes = store.signed_notes(connection)
        self.manifest = Manifest(period, self.notes[-1].size if self.notes else 0)

    def write(self, signer: Signer, outside: Outside) -> Manifest:
        self.folder.mkdir(mode=0o700, parents=True)
        missing = store.first_without_row(self.connection)
        if missing is not None:
            raise BadError(missing, "its row of billing_snapshots is missing")
        self._add_bills()
        if not self.manifest.bills:
            raise Problem("not_found", f"No bill of {self.manifest.period} is sealed.")
        self._add(pack.CHECKPOINTS, "".join(f"{row.note}\n" for row in self.notes).encode())
        self._add(pack.CONSISTENCY, pack.consistency_text(self._consistency()).encode())
        self._add(pack.KEY, log.keys(outside).encode())
        self._add(VERIFIER.name, VERIFIER.read_bytes())
        self._add(pack.PAGE, self._page(signer.key.name).encode())
        self._write(pack.MANIFEST, self.manifest.signed(signer.key, signer.sign).encode())
        return self.manifest

    def _add_bills(self) -> None:
        erasures = dict(self._erasures())
        period = self.manifest.period
        for row in store.bills(self.connection, period.year, period.month):
            bill = Packed(row.invoice_number, row.log_index, row.company_name, row.log_index in erasures)
            self.manifest.bills.append(bill)
            self._add(pack.PROOF.format(bill.invoice), self._proof(bill.index))
            if bill.erased:
                self._add_erasure(bill, *erasures[bill.index])
            else:
                self._add_bill(bill, row)

    def _add_bill(self, bill: Packed, row: Any) -> None:
        sealed = Leaf.parse(bytes(row.leaf)).body
        if row.body is None or sealed != digest(bytes(row.body)):
            raise BadError(bill.index, f"its body is not what was sealed as {sealed}")
        self._add(pack.BODY.format(bill.invoice), bytes(row.body))
        self._add(pack.CSV.format(bill.invoice), bytes(row.csv))

    def _add_erasure(self, bill: Packed, entry: int, document: bytes) -> None:
        self._add(pack.ERASURE.format(bill.invoice), document)
        self._add(pack.ERASURE_PROOF.format(bill.invoice), self._proof(entry))

    def _erasures(self) -> Iterator[tuple[int, tuple[int, bytes]]]:
        """Erased entry -> the entry that says so, and its document."""
        for index, leaf, document in erasure_store.acts(self.connection):
            if ERASURE in leaf.decode() and Leaf.parse(leaf, known=_ERASURES).body == digest(document):
                yield read_erasure(document).entry, (index, document)

    def _proof(self, index: int) -> bytes:
        return log.proof(self.connection, index, nodes=self.nodes).encode()

    def _consistency(self) -> Iterator[tuple[int, int, Sequence[bytes]]]:
        for old, new in pairwise(self.notes):
            if old.size == new.size:
                continue
            path = merkle.consistency_proof(old.size, new.size, self.nodes)
            if not merkle.verify_consistency(old.size, new.size, bytes(old.root), bytes(new.root), path):
                raise BadError(old.size, f"the log signed at size {new.size} does not extend that of size {old.size}")
            yield old.size, new.size, path

    def _page(self, origin: str) -> str:
        told = {"period": self.manifest.period, "origin": origin, "size": self.manifest.size}
        return render.pack_page(**told, bills=self.manifest.bills, written_on=clock.now().date())

    def _add(self, name: str, data: bytes) -> None:
        self._write(name, data)
        self.manifest.add(name, data)

    def _write(self, name: str, data: bytes) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(data)


def _tell(engine: Engine, who: str, period: Period, bills: int) -> None:
    told: dict[str, audit.Detail] = {"bills": bills}
    entry = audit.Entry(
        service="archive", action="export", actor=who, actor_kind="command", target=str(period), details=told
    )
    with engine.begin() as connection:
        audit.record(connection, entry)
