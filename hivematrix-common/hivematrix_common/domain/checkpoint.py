"""Checkpoints of the log (C2SP tlog-checkpoint) and the file that keeps them outside the database."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.merkle import HASH_BYTES
from hivematrix_common.domain.note import Check, Note, VerifierKey, decode, encode, open_note

_SIZE = re.compile(r"0|[1-9][0-9]{0,18}")
_ORIGIN = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?(/[A-Za-z0-9._~-]+)*")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        return f"{self.origin}\n{self.size}\n{encode(self.root)}\n"

    @classmethod
    def parse(cls, text: str) -> "Checkpoint":
        """The three lines; extension lines are refused, this log has none."""
        lines = text.split("\n")
        if len(lines) != 4 or lines[3] or not lines[0]:  # noqa: PLR2004
            raise DomainError("checkpoint", "expected three lines: origin, size, root")
        if not _SIZE.fullmatch(lines[1]):
            raise DomainError("checkpoint", f"expected a size, got {lines[1]!r}")
        return cls(lines[0], int(lines[1]), decode(lines[2], "checkpoint", HASH_BYTES))


def open_checkpoint(data: str, keys: Iterable[VerifierKey], check: Check) -> Checkpoint:
    """The checkpoint of a signed note; one of `keys` must have signed it under its own name as the origin."""
    known = list(keys)
    note = open_note(data, known, check)
    found = Checkpoint.parse(note.text)
    signed = {(mark.name, mark.key_id) for mark in note.signatures}
    if found.origin not in {key.name for key in known if (key.name, key.id) in signed}:
        raise DomainError("checkpoint", f"the origin {found.origin} is not this log's")
    return found


def parse_origin(text: str) -> str:
    """A log's address without its scheme, such as `archive.example.com/log`."""
    if not _ORIGIN.fullmatch(text):
        raise DomainError(
            "origin", f"expected an address without a scheme, such as archive.example.com/log, got {text!r}"
        )
    return text


def nameless_origin(public: bytes) -> str:
    """The origin of a log without a public name."""
    return f"hivematrix.invalid/{public[:4].hex()}"


def parse_kept(text: str) -> tuple[list[str], str]:
    """The notes of a checkpoint file, each followed by an empty line, and what was left of a last one cut short."""
    parts = text.split("\n\n")
    notes = [f"{parts[at]}\n\n{parts[at + 1]}\n" for at in range(0, len(parts) - 2, 2)]
    rest = "\n\n".join(parts[len(notes) * 2 :])
    for number, note in enumerate(notes, 1):
        try:
            Checkpoint.parse(Note.parse(note).text)
        except DomainError as error:
            raise DomainError(f"checkpoint {number} of the file", error.message) from None
    return notes, rest
