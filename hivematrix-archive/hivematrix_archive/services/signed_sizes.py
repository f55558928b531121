"""What verify compares with signatures: the log at every signed size, and the checkpoints kept outside the database."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hivematrix_common.domain.checkpoint import Checkpoint, open_checkpoint, parse_kept
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.note import Note, VerifierKey
from hivematrix_common.errors import Problem
from hivematrix_common.signatures import check_signature
from sqlalchemy import Connection

from hivematrix_archive.domain.tiles import Edge, Node
from hivematrix_archive.store import log as log_store
from hivematrix_archive.store import verifying as store
from hivematrix_archive.store.outside import Outside


class BadError(Exception):
    """The first thing that does not hold: the entry's index, and why."""

    def __init__(self, index: int, why: str) -> None:
        super().__init__(f"entry {index}: {why}")
        self.index, self.why = index, why


class SignedSizes:
    """Follows a growing log and compares it with every checkpoint on the way. `count` is how many there were."""

    def __init__(self, connection: Connection, keys: Sequence[VerifierKey]) -> None:
        self.count = 0
        self._connection, self._keys = connection, list(keys)
        self._covered, self._seen = 0, -1
        self._newest = self._last_id = 0

    def follow(self, edge: Edge, hashes: list[bytes]) -> list[Node]:
        """Let the log grow by `hashes`, looking at each signed size; the nodes that were completed. BadError."""
        first = edge.size
        made: list[Node] = []
        for row in store.checkpoints_between(self._connection, self._seen, first + len(hashes)):
            made += edge.append(hashes[edge.size - first : row.size - first])
            self._check(edge, row)
        made += edge.append(hashes[edge.size - first :])
        edge.forget()
        self._seen = edge.size
        return made

    def check_covered(self, size: int) -> None:
        """Every entry is signed, and every signed entry is there."""
        beyond = store.first_signed_beyond(self._connection, size)
        if beyond:
            raise BadError(size, f"missing, and a checkpoint of size {beyond} is signed")
        if size > self._covered:
            raise BadError(self._covered, "no signed checkpoint covers it")

    def _check(self, edge: Edge, row: Any) -> None:
        last = max(edge.size - 1, 0)
        if row.id < self._last_id:  # whoever asks for the newest is given the one that was stored last
            raise BadError(
                self._covered, f"a checkpoint of size {self._covered} was put after that of size {edge.size}"
            )
        try:
            keys = self._keys + _renamed(row.note, self._keys)
            found = open_checkpoint(row.note, keys, check_signature)
            self._check_order(row.note)
        except DomainError as error:
            raise BadError(last, f"checkpoint of size {edge.size}: {error.message}") from None
        if (found.size, found.root) != (row.size, bytes(row.root)) or found.root != edge.root():
            raise BadError(last, f"the root signed at size {edge.size} is not the entries' root")
        self._covered, self._last_id = edge.size, row.id
        self.count += 1

    def _check_order(self, note: str) -> None:
        """A key that another followed signs no more: whoever finds it later signs nothing with it."""
        marks = {mark.key_id for mark in Note.parse(note).signatures}
        newest = max((at for at, key in enumerate(self._keys) if key.id in marks), default=self._newest)
        if newest < self._newest:
            raise DomainError("note", "signed with a key that was replaced")
        self._newest = newest


def _renamed(note: str, keys: Sequence[VerifierKey]) -> list[VerifierKey]:
    """Size 0 may have been signed under an origin that was changed before the first bill."""
    try:
        found = Checkpoint.parse(Note.parse(note).text)
    except DomainError:
        return []
    return [VerifierKey(found.origin, key.public) for key in keys] if found.size == 0 else []


def check_kept(connection: Connection, outside: Outside, path: Path | None, size: int) -> int:
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
