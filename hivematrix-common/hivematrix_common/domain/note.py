"""Signed notes and verifier keys (C2SP signed-note), Ed25519 alone. Signing and checking are handed in."""

import base64
import binascii
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from hivematrix_common.domain.errors import DomainError

ED25519 = b"\x01"
KEY_BYTES, SIGNATURE_BYTES, ID_BYTES = 32, 64, 4
MAX_SIGNATURES = 16
_SIGNATURE = re.compile(r"— (\S+) ([A-Za-z0-9+/]+={0,2})")
_NAME = re.compile(r"[^\s+]+")

Sign = Callable[[bytes], bytes]
Check = Callable[[bytes, bytes, bytes], bool]
"""(public key, message, signature) -> whether the signature holds."""


@dataclass(frozen=True, slots=True)
class VerifierKey:
    """A key's name and its 32 public bytes; written as a vkey."""

    name: str
    public: bytes

    def __post_init__(self) -> None:
        if not _NAME.fullmatch(self.name):
            raise DomainError("name", f"a key's name has no spaces and no plus, got {self.name!r}")
        if len(self.public) != KEY_BYTES:
            raise DomainError("key", f"an Ed25519 key has {KEY_BYTES} bytes, got {len(self.public)}")

    @property
    def id(self) -> bytes:
        return hashlib.sha256(self.name.encode() + b"\n" + ED25519 + self.public).digest()[:ID_BYTES]

    def __str__(self) -> str:
        return f"{self.name}+{self.id.hex()}+{encode(ED25519 + self.public)}"

    @classmethod
    def parse(cls, text: str) -> "VerifierKey":
        name, _, rest = text.partition("+")
        number, _, material = rest.partition("+")
        key = decode(material, "key")
        if key[:1] != ED25519:
            raise DomainError("key", "only Ed25519 keys (type 1) are known")
        found = cls(name, key[1:])
        if found.id.hex() != number:
            raise DomainError("key", f"the key id of this name and key is {found.id.hex()}, got {number!r}")
        return found


@dataclass(frozen=True, slots=True)
class Signature:
    name: str
    key_id: bytes
    value: bytes

    def __str__(self) -> str:
        return f"— {self.name} {encode(self.key_id + self.value)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A text ending in a newline, and its signatures; nothing is checked yet."""

    text: str
    signatures: tuple[Signature, ...]

    def __str__(self) -> str:
        return f"{self.text}\n{''.join(map(str, self.signatures))}"

    @classmethod
    def parse(cls, data: str) -> "Note":
        text, blank, tail = data.rpartition("\n\n")
        if not blank or not tail.endswith("\n"):
            raise DomainError("note", "expected a text, an empty line and signature lines")
        if any(char < " " and char != "\n" for char in data):
            raise DomainError("note", "a note has no control characters")
        lines = tail[:-1].split("\n")
        if len(lines) > MAX_SIGNATURES:
            raise DomainError("note", f"more than {MAX_SIGNATURES} signatures")
        return cls(text + "\n", tuple(_parse_signature(line) for line in lines))


def sign_note(text: str, signers: Sequence[tuple[VerifierKey, Sign]]) -> Note:
    message = text.encode()
    return Note(text, tuple(Signature(key.name, key.id, sign(message)) for key, sign in signers))


def open_note(data: str, keys: Iterable[VerifierKey], check: Check) -> Note:
    """The note when a known key signed it; DomainError when none did, or a known key's signature fails."""
    note = Note.parse(data)
    known = {(key.name, key.id): key for key in keys}
    held = [(known[at], mark) for mark in note.signatures if (at := (mark.name, mark.key_id)) in known]
    if not held:
        raise DomainError("note", "not signed by a known key")
    for key, mark in held:
        if not check(key.public, note.text.encode(), mark.value):
            raise DomainError("note", f"the signature of {mark.name} does not hold")
    return note


def encode(data: bytes) -> str:
    return base64.b64encode(data).decode()


def decode(text: str, field: str, length: int | None = None) -> bytes:
    """Standard base64 in its only spelling, of `length` bytes when given."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise DomainError(field, f"expected base64, got {text!r}") from None
    if encode(data) != text or length not in (None, len(data)):
        raise DomainError(field, f"expected base64 of {length or 'some'} bytes, got {text!r}")
    return data


def _parse_signature(line: str) -> Signature:
    match = _SIGNATURE.fullmatch(line)
    if not match or "+" in match[1]:
        raise DomainError("note", f"expected a signature line, got {line!r}")
    raw = decode(match[2], "note")
    if len(raw) <= ID_BYTES:
        raise DomainError("note", f"the signature of {match[1]} is empty")
    return Signature(match[1], raw[:ID_BYTES], raw[ID_BYTES:])
