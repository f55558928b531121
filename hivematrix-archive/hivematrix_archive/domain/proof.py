"""A sealed bill's proof as a file of its own (C2SP tlog-proof): leaf data, place, path, checkpoint."""

import re
from dataclasses import dataclass

from hivematrix_common.domain import merkle
from hivematrix_common.domain.canonical import digest
from hivematrix_common.domain.checkpoint import Checkpoint, open_checkpoint
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.note import Check, VerifierKey, decode, encode

from hivematrix_archive.domain.seal import Leaf

HEAD = "c2sp.org/tlog-proof@v1"
_INDEX = re.compile(r"0|[1-9][0-9]{0,18}")


@dataclass(frozen=True, slots=True)
class Proof:
    """`leaf` is the exact leaf data, `checkpoint` the signed note's text; nothing is checked yet."""

    leaf: bytes
    index: int
    path: tuple[bytes, ...]
    checkpoint: str

    def __str__(self) -> str:
        lines = [HEAD, f"extra {encode(self.leaf)}", f"index {self.index}", *map(encode, self.path), ""]
        return "\n".join(lines) + "\n" + self.checkpoint

    @classmethod
    def parse(cls, text: str) -> "Proof":
        head, blank, checkpoint = text.partition("\n\n")
        lines = head.split("\n")
        if not blank or len(lines) < 3 or lines[0] != HEAD:  # noqa: PLR2004
            raise DomainError("proof", f"expected a file that begins with {HEAD}")
        index = _member(lines[2], "index")
        if not _INDEX.fullmatch(index):
            raise DomainError("proof", f"expected an index, got {index!r}")
        path = tuple(decode(line, "proof", merkle.HASH_BYTES) for line in lines[3:])
        return cls(decode(_member(lines[1], "extra"), "proof"), int(index), path, checkpoint)


def check_proof(proof: Proof, body: bytes, keys: list[VerifierKey], check: Check) -> Checkpoint:
    """The checkpoint under which `body` is sealed; DomainError says what does not hold."""
    checkpoint = open_checkpoint(proof.checkpoint, keys, check)
    hashed = merkle.leaf_hash(proof.leaf)
    if not merkle.verify_inclusion(hashed, proof.index, checkpoint.size, proof.path, checkpoint.root):
        raise DomainError("proof", f"the path does not lead from entry {proof.index} to the signed root")
    leaf = Leaf.parse(proof.leaf)
    if leaf.body != digest(body):
        raise DomainError("body", f"entry {proof.index} seals {leaf.body}, these bytes are {digest(body)}")
    return checkpoint


def _member(line: str, name: str) -> str:
    key, _, value = line.partition(" ")
    if key != name:
        raise DomainError("proof", f"expected a line {name!r}, got {line!r}")
    return value
