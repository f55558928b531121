#!/usr/bin/env python3
"""Check sealed bills without the archive: this file, Python and the `cryptography` package are all it takes.

    verify_offline.py BODY PROOF --key VKEYFILE
    verify_offline.py --pack DIR --key VKEYFILE [--known CHECKPOINT]

BODY is the bill's exact bytes (/api/snapshot/<invoice>/body), PROOF its .tlog-proof (/api/snapshot/<invoice>/proof).
DIR is an auditor's pack as `hivematrix-archive export` writes. VKEYFILE is the log's public key (/log/key), CHECKPOINT
what /log/checkpoint gave: both kept from an earlier day or got by another way. Prints `good: ...` and exits 0, or says
why not, with the first bad entry, and exits 1.
Standards: RFC 6962 and RFC 9162 (Merkle tree), C2SP signed-note, tlog-checkpoint and tlog-proof.
"""

import argparse
import base64
import hashlib
import json
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

HEAD, PACK_HEAD = "c2sp.org/tlog-proof@v1", "hivematrix.pack/1"
SEAL, ERASURE, BODY = "hivematrix.seal/1", "hivematrix.erasure/1", "hivematrix.snapshot/1"
MEMBERS = {"body", "format", "meta", "sealed_at"}
NO_ENTRY = sys.maxsize
LARGEST = 256 * 1024 * 1024
NUMBER = re.compile(r"0|[1-9][0-9]{0,18}")
SIGNATURE = re.compile(r"\u2014 ([^\s+]+) ([A-Za-z0-9+/]+={0,2})")
BILL = re.compile(r"(bill|erased) (0|[1-9][0-9]{0,18}) ([A-Za-z0-9-]{1,60})")
FILE = re.compile(r"(sha256:[0-9a-f]{64}) ((?:[a-z]+/)?[A-Za-z0-9_.-]{1,80})")
Key = tuple[str, bytes]  # name, 32 public bytes


class RefusedError(Exception):
    """Why it does not hold."""


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Check sealed bills against their proofs and the log's public key.")
    parser.add_argument("body", type=Path, nargs="?", help="one bill's exact bytes")
    parser.add_argument("proof", type=Path, nargs="?", help="its .tlog-proof file")
    parser.add_argument("--pack", type=Path, help="or the folder of an auditor's pack")
    parser.add_argument("--key", type=Path, required=True, help="file with the log's verifier key(s), one a line")
    parser.add_argument("--known", type=Path, help="with --pack: checkpoint(s) of this log that were kept earlier")
    args = parser.parse_args(argv)
    if bool(args.pack) == bool(args.proof) or (args.known and not args.pack):
        parser.error("give BODY and PROOF, or --pack DIR")
    try:
        keys = read_keys(args.key.read_text(encoding="utf-8"))
        known = args.known.read_text(encoding="utf-8") if args.known else None
        one = None if args.pack else f"entry {check(args.body.read_bytes(), args.proof.read_bytes(), keys)}"
        good = one or Pack(args.pack, keys).check(known)
    except OSError as error:
        parser.error(f"{error.filename}: {error.strerror}")
    except (RefusedError, UnicodeDecodeError) as error:
        told = f"{'not text: ' if isinstance(error, UnicodeDecodeError) else ''}{error}"
        sys.stderr.write(f"bad: {told.encode('unicode_escape').decode()}\n")  # no name pretends to be another answer
        return 1
    sys.stdout.write(f"good: {good}\n")
    return 0


def check(body: bytes, proof: bytes, keys: list[Key]) -> int:
    """The index under which `body` is sealed; RefusedError says what does not hold."""
    leaf, index, _ = open_proof(proof, keys)
    check_digest(parse_leaf(leaf)["body"], body, f"entry {index} seals {{}}, this body is {{}}")
    return index


def open_proof(proof: bytes, keys: list[Key]) -> tuple[bytes, int, tuple[int, bytes]]:
    """Leaf data, index, and size and root of the signed checkpoint that the entry is in."""
    head, blank, checkpoint = proof.decode("utf-8").partition("\n\n")
    lines = head.split("\n")
    if lines[0] != HEAD:
        raise RefusedError(f"the proof does not begin with {HEAD}")
    if not blank or len(lines) < 3:  # noqa: PLR2004
        raise RefusedError("the proof is cut short: its checkpoint is missing")
    leaf = decode(member(lines[1], "extra"))
    index = number(member(lines[2], "index"))
    size, root, _ = open_checkpoint(checkpoint, keys)
    path = [decode(line, 32) for line in lines[3:]]
    if not included(hashlib.sha256(b"\x00" + leaf).digest(), index, size, path, root):
        raise RefusedError(f"the path does not lead from entry {index} to the signed root")
    return leaf, index, (size, root)


def parse_leaf(data: bytes, wanted: str = SEAL) -> dict[str, Any]:
    """The leaf's members. Its bytes are signed; what is refused here is a document made to be read in two ways."""
    leaf = parse_object(data, "the leaf data")
    if set(leaf) != MEMBERS or not all(isinstance(value, str) for value in leaf.values()):
        raise RefusedError(f"the leaf data does not have the members {', '.join(sorted(MEMBERS))}")
    if leaf["format"] != wanted:
        raise RefusedError(f"the leaf's format is {leaf['format']}, not {wanted}")
    if json.dumps(leaf, sort_keys=True, separators=(",", ":")).encode() != data:
        raise RefusedError("the leaf data is not in its canonical bytes")
    return leaf


def parse_object(data: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(data, object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise RefusedError(f"{what} is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise RefusedError(f"{what} is not an object")
    return found


def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len({name for name, _ in pairs}) != len(pairs):
        raise RefusedError("a member stands twice in one object")
    return dict(pairs)


def check_digest(sealed: Any, data: bytes, told: str) -> None:
    found = "sha256:" + hashlib.sha256(data).hexdigest()
    if sealed != found:
        raise RefusedError(told.format(sealed, found))


class Pack:
    """An auditor's pack. Everything in it is looked at; of what does not hold, the first bad entry is told."""

    def __init__(self, folder: Path, keys: list[Key]) -> None:
        self.folder, self.keys = folder, keys
        self.faults: list[tuple[int, str]] = []
        self.signed: dict[int, bytes] = {}
        self.size = self.newest_key = 0
        self.period = ""
        self.bills: dict[str, tuple[int, str]] = {}
        self.files: dict[str, str] = {}

    def check(self, known: str | None = None) -> str:
        with self.finding():
            self.read_checkpoints()
        with self.finding():
            self.read_manifest()
        self.check_files()
        for invoice, (index, kind) in self.bills.items():
            with self.finding(index):
                self.check_bill(invoice, index, kind)
        if known is not None:
            with self.finding():
                self.check_known(known)
        for index, why in sorted(self.faults, key=lambda fault: fault[0])[:1]:
            raise RefusedError(why if index == NO_ENTRY else f"entry {index}: {why}")
        return f"{len(self.bills)} bills of {self.period}; the log's checkpoints up to size {self.size} agree"

    @contextmanager
    def finding(self, index: int = NO_ENTRY) -> Iterator[None]:
        try:
            yield
        except (OSError, UnicodeDecodeError, RefusedError) as error:
            why = f"{error.filename}: {error.strerror}" if isinstance(error, OSError) else str(error)
            self.faults.append((index, why))

    def read(self, name: str) -> bytes:
        path = self.folder / name
        if path.is_symlink() or (path.exists() and (not path.is_file() or path.stat().st_size > LARGEST)):
            raise RefusedError(f"{name}: not a plain file of at most {LARGEST:,} bytes")
        return path.read_bytes()

    def read_checkpoints(self) -> None:
        proofs = iter(self.read("consistency").decode().split("\n\n"))
        for note in notes_of(self.read("checkpoints").decode()):
            with self.finding(self.size):
                self.follow(note, proofs)
        if list(proofs) != [""]:
            raise RefusedError("consistency: not one proof for each two checkpoints")

    def follow(self, note: str, proofs: Iterator[str]) -> None:
        """The next checkpoint is signed, with no replaced key, and extends the one before; no size has two roots."""
        before, (size, root, key) = self.size, open_checkpoint(note, self.keys)
        if key < self.newest_key:
            raise RefusedError(f"the checkpoint of size {size} is signed with a key that was replaced")
        if not 0 < size >= before or self.signed.setdefault(size, root) != root:
            raise RefusedError(f"the checkpoint of size {size} contradicts one before it")
        if 0 < before < size:
            head, *path = next(proofs, "").split("\n")
            steps = [decode(line, 32) for line in path]
            if head != f"{before} {size}" or not consistent(before, size, self.signed[before], root, steps):
                raise RefusedError(f"the checkpoint of size {size} does not extend that of size {before}")
        self.size, self.newest_key = size, key

    def read_manifest(self) -> None:
        """What the pack holds, signed by the log's key: nothing can be taken out of it, nor put in."""
        text, _, tail = self.read("manifest").decode().rpartition("\n\n")
        head, *lines = text.split("\n")
        self.period = "".join(lines[1:2]).removeprefix("period ")
        self.bills = {bill[3]: (int(bill[2]), bill[1]) for bill in map(BILL.fullmatch, lines[3:]) if bill}
        self.files = {file[2]: file[1] for file in map(FILE.fullmatch, lines[3:]) if file}
        key = signed_by(text + "\n", tail, self.keys) if tail.count("\n") == 1 else None
        if key is None:
            raise RefusedError("the manifest is not signed by a key of the key file")
        if head != PACK_HEAD or lines[0] != self.keys[key][0]:
            raise RefusedError(f"the manifest is of {head} {lines[0]}, not {PACK_HEAD} of the key's log")
        if len(self.bills) + len(self.files) != len(lines[3:]):
            raise RefusedError("the manifest names something twice, or what is neither a bill nor a file")
        size = number(member(lines[2], "size"))
        if size != self.size:
            why = f"the manifest ends at size {size}, the checkpoints at {self.size}"
            self.faults.append((min(size, self.size), why))

    def check_files(self) -> None:
        """Every file that the manifest names, as it names it, and no other."""
        below = [path for path in self.folder.rglob("*") if path.is_symlink() or not path.is_dir()]
        found = {path.relative_to(self.folder).as_posix() for path in below}
        for name in sorted(found - set(self.files) - {"manifest"}):
            self.faults.append((NO_ENTRY, f"{name}: not in the manifest"))
        for name, digest in self.files.items():
            index, _ = self.bills.get(Path(name).stem, (NO_ENTRY, ""))
            with self.finding(index):
                check_digest(digest, self.read(name), f"{name}: not what the manifest names")

    def check_bill(self, invoice: str, index: int, kind: str) -> None:
        leaf, proved, checkpoint = open_proof(self.read(f"proofs/{invoice}.tlog-proof"), self.keys)
        if proved != index:
            raise RefusedError(f"{invoice}: its proof is that of entry {proved}")
        if self.signed.get(checkpoint[0]) != checkpoint[1]:
            raise RefusedError(f"{invoice}: its proof's checkpoint of size {checkpoint[0]} is not among the pack's")
        sealed = parse_leaf(leaf)["body"]
        if kind == "erased":
            self.check_erased(invoice, index)
            return
        data = self.read(f"bodies/{invoice}.json")
        check_digest(sealed, data, f"{invoice}: sealed as {{}}, the body is {{}}")
        body = parse_object(data, f"{invoice}: the body")
        stated = (body.get("format"), body.get("invoice_number"), body.get("period"))
        if stated != (BODY, invoice, self.period):
            raise RefusedError(f"{invoice}: the body is {stated}, not {(BODY, invoice, self.period)}")
        csv = self.read(f"csvs/{invoice}.csv")
        check_digest(body.get("csv_sha256"), csv, f"{invoice}: the body seals the CSV {{}}, it is {{}}")

    def check_erased(self, invoice: str, index: int) -> None:
        """An erased bill has no body; an entry of the log says so."""
        leaf, _, checkpoint = open_proof(self.read(f"erasures/{invoice}.tlog-proof"), self.keys)
        document = self.read(f"erasures/{invoice}.json")
        check_digest(parse_leaf(leaf, ERASURE)["body"], document, f"{invoice}: its erasure is sealed as {{}}, not {{}}")
        said = parse_object(document, f"{invoice}: the erasure")
        same = (said.get("format"), said.get("entry")) == (ERASURE, index)
        if not same or self.signed.get(checkpoint[0]) != checkpoint[1]:
            raise RefusedError(f"{invoice}: the erasure is not one of entry {index} in this log")

    def check_known(self, text: str) -> None:
        """The log is the one that somebody saw earlier, not shorter and not another."""
        seen = 0
        for note in notes_of(text.rstrip("\n") + "\n\n"):
            size, root, _ = open_checkpoint(note, self.keys)
            with self.finding(self.size if size > self.size else seen):
                if size > self.size:
                    raise RefusedError(f"the pack's log ends at size {self.size}; you know it to have had size {size}")
                if size and self.signed.get(size) != root:
                    raise RefusedError(f"the log is not the one you knew at size {size}")
            seen = max(seen, size)


def notes_of(text: str) -> list[str]:
    """Signed notes, each followed by an empty line."""
    parts = text.split("\n\n")
    if len(parts) % 2 == 0 or parts[-1] or len(parts) < 3:  # noqa: PLR2004
        raise RefusedError("the checkpoints are cut short")
    return [f"{parts[at]}\n\n{parts[at + 1]}\n" for at in range(0, len(parts) - 1, 2)]


def open_checkpoint(note: str, keys: list[Key]) -> tuple[int, bytes, int]:
    """Size, root and the place of the newest key that signed; a known key's broken signature refuses it."""
    text, blank, tail = note.rpartition("\n\n")
    if not blank or not tail.endswith("\n"):
        raise RefusedError("the checkpoint is not a signed note")
    lines = text.split("\n")
    if len(lines) != 3:  # noqa: PLR2004
        raise RefusedError("the checkpoint does not have the three lines origin, size, root")
    key = signed_by(text + "\n", tail, keys)
    if key is None:
        raise RefusedError("no key of the key file signed the checkpoint")
    if lines[0] != keys[key][0]:
        raise RefusedError(f"the checkpoint's origin {lines[0]} is not the key's")
    return number(lines[1]), decode(lines[2], 32), key


def signed_by(text: str, tail: str, keys: list[Key]) -> int | None:
    """The place of the newest of `keys` that signed; None when none did."""
    held = [signature_holds(text.encode(), line, keys) for line in tail[:-1].split("\n")]
    return max((place for place in held if place is not None), default=None)


def signature_holds(message: bytes, line: str, keys: list[Key]) -> int | None:
    match = SIGNATURE.fullmatch(line)
    if not match:
        raise RefusedError(f"not a signature line: {line!r}")
    raw = decode(match[2])
    for place, (name, public) in enumerate(keys):
        if (name, key_id(name, public)) == (match[1], raw[:4]):
            try:
                Ed25519PublicKey.from_public_bytes(public).verify(raw[4:], message)
            except InvalidSignature:
                raise RefusedError(f"the signature of {match[1]} does not hold") from None
            return place
    return None


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
    if not 0 <= index < size or len(leaf) != 32:  # noqa: PLR2004
        return False
    place, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        left = place & 1 or place == last
        found = node(sibling, found) if left else node(found, sibling)
        place, last = climbed(place, last) if left else (place, last)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def consistent(old: int, new: int, old_root: bytes, new_root: bytes, path: list[bytes]) -> bool:
    """RFC 9162 §2.1.4.2; equal sizes have no proof, and one from size 0 would prove nothing."""
    steps = path if old & (old - 1) else [old_root, *path]
    if not 0 < old < new or not steps:
        return False
    place, last = old - 1, new - 1
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = steps[0]
    for step in steps[1:]:
        if last == 0:
            return False
        if place & 1 or place == last:
            before, after = node(step, before), node(step, after)
            place, last = climbed(place, last)
        else:
            after = node(after, step)
        place, last = place >> 1, last >> 1
    return last == 0 and (before, after) == (old_root, new_root)


def climbed(place: int, last: int) -> tuple[int, int]:
    while place and not place & 1:
        place, last = place >> 1, last >> 1
    return place, last


def node(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


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
    except ValueError:
        raise RefusedError(f"not base64: {text!r}") from None
    if base64.b64encode(data).decode() != text or length not in (None, len(data)):
        raise RefusedError(f"not base64 of {length or 'some'} bytes: {text!r}")
    return data


if __name__ == "__main__":
    sys.exit(main())
