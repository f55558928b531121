"""What a witness of the archive's log compares: each checkpoint with the one held before it."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from hivematrix_common.domain import merkle
from hivematrix_common.domain.checkpoint import Checkpoint, open_checkpoint
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.note import Check, Note, VerifierKey

SILENT = timedelta(hours=26)
Prove = Callable[[int, int], Sequence[bytes]]
"""(old size, new size) -> the archive's proof that the one is a prefix of the other."""


class State(StrEnum):
    """Of the log as it is watched. `waiting`: nothing was seen of it yet. The last three are alerts."""

    WAITING = "waiting"
    GOOD = "good"
    SHORTER = "shorter"
    DIFFERENT = "different"
    STALE = "stale"


ALERTS = (State.SHORTER, State.DIFFERENT, State.STALE)


class FindingError(Exception):
    """The log is not what is held of it; `note` is what it showed instead."""

    def __init__(self, state: State, detail: str, note: str | None = None) -> None:
        super().__init__(detail)
        self.state, self.detail, self.note = state, detail, note


@dataclass(frozen=True, slots=True)
class Held:
    """The newest checkpoint that is held, and its number in the archive."""

    archive_id: int
    checkpoint: Checkpoint
    note: str


def may_sign(keys: Sequence[VerifierKey], held: Held | None) -> Sequence[VerifierKey]:
    """Of the log's keys, oldest first: those that may sign now. One that another followed signs nothing more."""
    marks = {(mark.name, mark.key_id) for mark in Note.parse(held.note).signatures} if held else set()
    signed = [at for at, key in enumerate(keys) if (key.name, key.id) in marks]
    return keys[max(signed, default=0) :]


def read(note: str, keys: Sequence[VerifierKey], check: Check) -> Checkpoint:
    """A note that one of the keys signed; FindingError(different) otherwise."""
    try:
        return open_checkpoint(note, keys, check)
    except DomainError as error:
        raise FindingError(State.DIFFERENT, f"a checkpoint is not this log's: {error.message}", note) from None


def is_of_another_name(note: str, keys: Sequence[VerifierKey]) -> bool:
    """Whether the note says of a log with none of these names that it is empty."""
    try:
        found = Checkpoint.parse(Note.parse(note).text)
    except DomainError:
        return False
    return not found.size and found.origin not in {key.name for key in keys}


def follow(held: Checkpoint | None, found: Checkpoint, prove: Prove, note: str) -> None:
    """`found` is of the log that `held` is of, and not shorter; FindingError otherwise."""
    if held is None or not held.size:
        return
    if found.size < held.size:
        raise FindingError(State.SHORTER, f"the log has {found.size} entries, and {held.size} were signed before", note)
    proof = prove(held.size, found.size) if held.size < found.size else []
    if not merkle.verify_consistency(held.size, found.size, held.root, found.root, proof):
        detail = f"the log of {found.size} entries does not hold the {held.size} that were signed before"
        raise FindingError(State.DIFFERENT, detail, note)


def taken_back(held: Checkpoint, note: str) -> FindingError:
    """What to say of a log whose newest checkpoint is an earlier one of those that are held, under whatever key."""
    size = Checkpoint.parse(Note.parse(note).text).size
    if size < held.size:
        detail = f"the log has {size} entries, and {held.size} were signed before"
    else:
        detail = f"the newest checkpoint of {size} entries is gone, and with it the key that followed"
    return FindingError(State.SHORTER, detail, note)


def vouched(note: str, known: Sequence[VerifierKey], offered: Sequence[VerifierKey], check: Check) -> list[VerifierKey]:
    """The keys that signed this note beside a known one, which so hands the log over to them."""
    marks = {(mark.name, mark.key_id): mark.value for mark in Note.parse(note).signatures}
    text = Note.parse(note).text.encode()
    fresh = [key for key in offered if key not in known]
    return [key for key in fresh if (at := (key.name, key.id)) in marks and check(key.public, text, marks[at])]
