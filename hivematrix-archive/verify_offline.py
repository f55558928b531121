#!/usr/bin/env python3
"""Check one sealed bill without the archive: this file, Python and the `cryptography` package are all it takes.

    verify_offline.py BODY PROOF --key VKEYFILE

BODY is the bill's exact bytes (/api/snapshot/<invoice>/body), PROOF its .tlog-proof (/api/snapshot/<invoice>/proof),
VKEYFILE the log's public key (/log/key), which you should have kept from an earlier day or got by another way.
Prints `good: entry N` and exits 0, or says why not and exits 1.

Standards: RFC 6962 and RFC 9162 (Merkle tree), C2SP signed-note, tlog-checkpoint and tlog-proof.
"""

import argparse
import base64
import binascii
import hashlib
import json
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

HEAD = "c2sp.org/tlog-proof@v1"
FORMAT = "hivematrix.seal/1"
MEMBERS = {"body", "format", "meta", "sealed_at"}
NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
SIGNATURE = re.compile(r"\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
Key = tuple[str, bytes]  # name, 32 public bytes


class RefusedError(Exception):
    """Why the proof does not hold."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check one sealed bill against its proof and the log's public key.")
    parser.add_argument("body", type=Path, help="the bill's exact bytes")
    parser.add_argument("proof", type=Path, help="its .tlog-proof file")
    parser.add_argument("--key", type=Path, required=True, help="file with the log's verifier key(s), one a line")
    args = parser.parse_args(argv)
    try:
        keys = read_keys(args.key.read_text(encoding="utf-8"))
        index = check(args.body.read_bytes(), args.proof.read_bytes(), keys)
    except OSError as error:
        parser.error(f"{error.filename}: {error.strerror}")
    except UnicodeDecodeError:
        sys.stderr.write("bad: the proof or the key file is not text\n")
        return 1
    except RefusedError as error:
        sys.stderr.write(f"bad: {error}\n")
        return 1
    sys.stdout.write(f"good: entry {index}\n")
    return 0


def check(body: bytes, proof: bytes, keys: list[Key]) -> int:
    """The index under which `body` is sealed; RefusedError says what does not hold."""
    head, blank, checkpoint = proof.decode("utf-8").partition("\n\n")
    lines = head.split("\n")
    if lines[0] != HEAD:
        raise RefusedError(f"the proof does not begin with {HEAD}")
    if not blank or len(lines) < 3:  # noqa: PLR2004
        raise RefusedError("the proof is cut short: its checkpoint is missing")
    leaf = decode(member(lines[1], "extra"))
    index = number(member(lines[2], "index"))
    size, root = open_checkpoint(checkpoint, keys)
    path = [decode(line, 32) for line in lines[3:]]
    if not included(hashlib.sha256(b"\x00" + leaf).digest(), index, size, path, root):
        raise RefusedError(f"the path does not lead from entry {index} to the signed root")
    sealed, given = parse_leaf(leaf)["body"], "sha256:" + hashlib.sha256(body).hexdigest()
    if sealed != given:
        raise RefusedError(f"entry {index} seals {sealed}, this body is {given}")
    return index


def parse_leaf(data: bytes) -> dict[str, Any]:
    """The leaf's members. Its bytes are signed; what is refused here is a document made to be read in two ways."""
    try:
        leaf = json.loads(data, object_pairs_hook=unique)
    except ValueError as error:
        raise RefusedError(f"the leaf data is not JSON: {error}") from None
    if not isinstance(leaf, dict) or set(leaf) != MEMBERS or not all(isinstance(value, str) for value in leaf.values()):
        raise RefusedError(f"the leaf data does not have the members {', '.join(sorted(MEMBERS))}")
    if leaf["format"] != FORMAT:
        raise RefusedError(f"the leaf's format is {leaf['format']}, not {FORMAT}")
    if json.dumps(leaf, sort_keys=True, separators=(",", ":")).encode() != data:
        raise RefusedError("the leaf data is not in its canonical bytes")
    return leaf


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise RefusedError("a member stands twice in the leaf data")
    return dict(pairs)


def open_checkpoint(note: str, keys: list[Key]) -> tuple[int, bytes]:
    """Size and root of a checkpoint that a known key signed; a known key's broken signature refuses it."""
    text, blank, tail = note.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise RefusedError("the checkpoint is not a signed note")
    text += "\n"
    lines = text.split("\n")
    if len(lines) != 4:  # noqa: PLR2004
        raise RefusedError("the checkpoint does not have the three lines origin, size, root")
    signed = [signature_holds(text.encode(), line, keys) for line in tail[:-1].split("\n")]
    if not any(signed):
        raise RefusedError("no key of the key file signed the checkpoint")
    if lines[0] not in {name for name, _ in keys}:
        raise RefusedError(f"the checkpoint's origin {lines[0]} is not the key's")
    return number(lines[1]), decode(lines[2], 32)


def signature_holds(message: bytes, line: str, keys: list[Key]) -> bool:
    match = SIGNATURE.fullmatch(line)
    if not match:
        raise RefusedError(f"not a signature line: {line!r}")
    raw = decode(match[2])
    public = next((public for name, public in keys if (name, key_id(name, public)) == (match[1], raw[:4])), None)
    if public is None:
        return False
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], message)
    except InvalidSignature:
        raise RefusedError(f"the signature of {match[1]} does not hold") from None
    return True


def read_keys(text: str) -> list[Key]:
    keys = [parse_key(line) for line in text.split("\n") if line.strip()]
    if not keys:
        raise RefusedError("the key file is empty")
    return keys


def parse_key(vkey: str) -> Key:
    name, _, rest = vkey.strip().partition("+")
    given, _, material = rest.partition("+")
    raw = decode(material)
    if not name or raw[:1] != b"\x01" or len(raw) != 33 or key_id(name, raw[1:]).hex() != given:  # noqa: PLR2004
        raise RefusedError(f"not an Ed25519 verifier key: {vkey.strip()!r}")
    return name, raw[1:]


def key_id(name: str, public: bytes) -> bytes:
    return hashlib.sha256(name.encode() + b"\n\x01" + public).digest()[:4]


def included(leaf: bytes, index: int, size: int, path: list[bytes], root: bytes) -> bool:
    """RFC 9162 §2.1.3.2."""
    if index >= size:
        return False
    place, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        left = place & 1 or place == last
        found = hashlib.sha256(b"\x01" + (sibling + found if left else found + sibling)).digest()
        while left and place and not place & 1:
            place, last = place >> 1, last >> 1
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def member(line: str, name: str) -> str:
    found, _, value = line.partition(" ")
    if found != name:
        raise RefusedError(f"expected the line {name!r}, got {line!r}")
    return value


def number(text: str) -> int:
    if not NUMBER.fullmatch(text):
        raise RefusedError(f"not a number: {text!r}")
    return int(text)


def decode(text: str, length: int | None = None) -> bytes:
    """Standard base64 in its only spelling."""
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise RefusedError(f"not base64: {text!r}") from None
    if base64.b64encode(data).decode() != text or length not in (None, len(data)):
        raise RefusedError(f"not base64 of {length or 'some'} bytes: {text!r}")
    return data


if __name__ == "__main__":
    sys.exit(main())
