"""What enters the log: the leaf, which shows nothing of a bill, and the meta document behind it."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from hivematrix_common.domain.canonical import canonical, parse_strict
from hivematrix_common.domain.errors import DomainError

from hivematrix_archive.domain.bill import parse_digest
from hivematrix_archive.domain.check import Checked

SEAL = "hivematrix.seal/1"
KNOWN = frozenset({SEAL, "hivematrix.erasure/1", "hivematrix.adoption/1"})
META = "hivematrix.meta/1"
RANDOM_BYTES = 16
_INSTANT = "%Y-%m-%dT%H:%M:%SZ"
# What every leaf looks like. One that does not is read member by member, to name what is wrong with it.
_LEAF = re.compile(
    rb'{"body":"(sha256:[0-9a-f]{64})","format":"([a-z./0-9]+)","meta":"(sha256:[0-9a-f]{64})",'
    rb'"sealed_at":"([0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z)"}'
)


@dataclass(frozen=True, slots=True)
class Leaf:
    """An entry of the log: digests of body and meta, and when it was sealed (whole seconds, UTC)."""

    body: str
    meta: str
    sealed_at: datetime
    format: str = SEAL

    @property
    def data(self) -> bytes:
        members = {"body": self.body, "format": self.format, "meta": self.meta, "sealed_at": instant(self.sealed_at)}
        return canonical(members)

    @classmethod
    def parse(cls, data: bytes, *, known: frozenset[str] = frozenset({SEAL})) -> "Leaf":
        """Strict: exactly these members in their canonical bytes; a format outside `known` is refused by name."""
        match = _LEAF.fullmatch(data)
        if match:
            body, kind, meta, sealed_at = (part.decode() for part in match.groups())
            if kind in known:
                return cls(body, meta, parse_instant(sealed_at, "leaf.sealed_at"), kind)
        members = parse_strict(data)
        if not isinstance(members, dict) or set(members) != {"body", "format", "meta", "sealed_at"}:
            raise DomainError("leaf", "expected the members body, format, meta and sealed_at")
        if members["format"] not in known:
            raise DomainError("leaf.format", f"unknown format {members['format']!r}")
        leaf = cls(
            parse_digest(members["body"], "leaf.body"),
            parse_digest(members["meta"], "leaf.meta"),
            parse_instant(members["sealed_at"], "leaf.sealed_at"),
            members["format"],
        )
        if leaf.data != data:
            raise DomainError("leaf", "not in its canonical bytes")
        return leaf


@dataclass(frozen=True, slots=True)
class Sealed:
    """A checked bill at its place in the log."""

    checked: Checked
    index: int
    leaf: bytes
    hash: bytes
    meta: bytes
    sealed_at: datetime
    created_by: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What the sender of a bill gets, the first time and every later time."""

    invoice_number: str
    body: str
    log_index: int
    sealed_at: datetime
    checkpoint: str

    def as_json(self) -> dict[str, Any]:
        return {
            "invoice_number": self.invoice_number,
            "body": self.body,
            "log_index": self.log_index,
            "sealed_at": instant(self.sealed_at),
            "checkpoint": self.checkpoint,
        }


def meta_document(sealed_by: str, random: bytes, key: str | None = None, **told: str | None) -> bytes:
    """Who sealed, what they said about it, and random bytes so that the digest cannot be guessed."""
    if len(random) != RANDOM_BYTES:
        raise DomainError("random", f"expected {RANDOM_BYTES} bytes, got {len(random)}")
    return canonical({"format": META, "idempotency_key": key, "random": random.hex(), "sealed_by": sealed_by, **told})


def instant(value: datetime) -> str:
    return value.astimezone(UTC).strftime(_INSTANT)


def parse_instant(text: Any, field: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except (TypeError, ValueError):
        raise DomainError(field, f"expected an instant such as 2025-11-01T02:00:07Z, got {text!r}") from None
    if instant(found) != text:
        raise DomainError(field, f"expected an instant such as 2025-11-01T02:00:07Z, got {text!r}")
    return found
