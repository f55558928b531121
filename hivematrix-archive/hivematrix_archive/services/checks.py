"""Whether a sealed document holds, found out now: what a verifier does with its proof, and the log's growth."""

from collections.abc import Callable

from hivematrix_common.database import AnySession
from hivematrix_common.domain import merkle
from hivematrix_common.domain.canonical import digest
from hivematrix_common.domain.checkpoint import Checkpoint, open_checkpoint
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.note import Note
from hivematrix_common.errors import Problem
from hivematrix_common.shown import count, plural
from hivematrix_common.signatures import check_signature

from hivematrix_archive.domain.seal import Leaf
from hivematrix_archive.services import log
from hivematrix_archive.store import log as store
from hivematrix_archive.store.outside import Outside

Check = tuple[str, str, str]
"""ok, bad or unknown; what holds; how that is known."""


class Checks:
    """Of the document of entry `index`. `first` is the first signed checkpoint that covers it."""

    def __init__(self, session: AnySession, outside: Outside, index: int) -> None:
        found = store.covering(session, index)
        if found is None:
            raise log.broken(f"No signed checkpoint covers entry {index}.")
        self._session, self._outside, self._index, self._note = session, outside, index, found.note
        self._nodes = store.stored_nodes(session)
        self.first = Checkpoint.parse(Note.parse(found.note).text)

    def of(self, body: bytes) -> list[Check]:
        """The document's four; an erased one (no bytes) is known by its digest alone."""
        erased = ("unknown", "The document was erased", f"Its digest stays in entry {self._index}.")
        return [
            _made("The document is the one sealed", lambda: self._sealed(body)) if body else erased,
            _made("The entry is in the log", self._included),
            _made("The root is signed", self._signed),
            _made("The log only grew since", self._grew),
        ]

    def _leaf(self) -> bytes:
        found = store.leaves(self._session, self._index, self._index + 1)
        if not found:
            raise DomainError("log", f"entry {self._index} is missing")
        return found[0]

    def _sealed(self, body: bytes) -> str:
        sealed = Leaf.parse(self._leaf()).body
        if sealed != digest(body):
            raise DomainError("body", f"entry {self._index} seals {sealed}, the stored bytes are {digest(body)}")
        return f"SHA-256 of its bytes is in entry {count(self._index)}."

    def _included(self) -> str:
        path = merkle.inclusion_proof(self._index, self.first.size, self._nodes)
        leaf = merkle.leaf_hash(self._leaf())
        if not merkle.verify_inclusion(leaf, self._index, self.first.size, path, self.first.root):
            raise DomainError("log", f"the path does not lead from entry {self._index} to the signed root")
        return f"A path of {plural(len(path), 'hash', 'hashes')} leads to the root of size {count(self.first.size)}."

    def _signed(self) -> str:
        open_checkpoint(self._note, self._outside.keys(), check_signature)
        return f"By the key of {self.first.origin}."

    def _grew(self) -> str:
        newest = log.checkpoint(self._session)
        tip = open_checkpoint(newest, self._outside.keys(), check_signature)
        proof = merkle.consistency_proof(self.first.size, tip.size, self._nodes)
        if not merkle.verify_consistency(self.first.size, tip.size, self.first.root, tip.root, proof):
            raise DomainError("log", f"the log of {tip.size} entries does not extend the one of {self.first.size}")
        if self._outside.last_kept() != newest:
            raise DomainError("log", "the newest checkpoint is not the last one kept outside the database")
        entries = plural(tip.size, "entry", "entries")
        return f"From {count(self.first.size)} to {entries}; the file outside the database holds the same."


def _made(title: str, check: Callable[[], str]) -> Check:
    """The check, made now. A log with holes in it fails while it is read."""
    try:
        return "ok", title, check()
    except (DomainError, Problem) as error:
        return "bad", title, f"{error}."
    except (IndexError, KeyError, ValueError):
        return "bad", title, "The stored log has holes; run: hivematrix-archive verify"
