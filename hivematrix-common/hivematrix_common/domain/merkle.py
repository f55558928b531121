"""Merkle tree hashing and proofs: RFC 6962 §2.1 (hashing), RFC 9162 §2.1.3 and §2.1.4 (checking proofs).

Proofs are written over ranges of leaves and a `Nodes` function, so the same code serves a list in memory, the right
edge of a growing log and the stored log.
"""

import hashlib
from collections.abc import Callable, Iterable, Sequence

EMPTY_ROOT = hashlib.sha256().digest()
HASH_BYTES = len(EMPTY_ROOT)

Nodes = Callable[[int, int], bytes]
"""(height, index) -> the hash of the complete subtree over leaves [index * 2^height, (index + 1) * 2^height)."""

Range = tuple[int, int]


def leaf_hash(data: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + data).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    return hashlib.sha256(b"\x01" + left + right).digest()


def subtree_root(hashes: Sequence[bytes]) -> bytes:
    """The root over a power of two of sibling hashes."""
    level = list(hashes)
    while len(level) > 1:
        level = [node_hash(level[at], level[at + 1]) for at in range(0, len(level), 2)]
    return level[0]


def root(size: int, nodes: Nodes) -> bytes:
    return range_hash((0, size), nodes) if size else EMPTY_ROOT


def inclusion_proof(index: int, size: int, nodes: Nodes) -> list[bytes]:
    """The audit path of leaf `index` in the tree of `size`, from the leaf's sibling up."""
    return [range_hash(part, nodes) for part in _path(index, 0, size)]


def consistency_proof(old: int, new: int, nodes: Nodes) -> list[bytes]:
    """The proof that the tree of `old` leaves, at least one, is a prefix of the tree of `new`."""
    if old == new:
        return []
    return [range_hash(part, nodes) for part in _subproof(old, 0, new, whole=True)]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether the leaf hash stands at `index` in the tree of `size` with `root` (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < size or len(leaf) != HASH_BYTES:
        return False
    place, last, found = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if place & 1 or place == last:
            found = node_hash(sibling, found)
            place, last = _climb_left(place, last)
        else:
            found = node_hash(found, sibling)
        place, last = place >> 1, last >> 1
    return last == 0 and found == root


def verify_consistency(old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]) -> bool:
    """Whether the tree (`old`, `old_root`) is a prefix of (`new`, `new_root`) (RFC 9162 §2.1.4.2).

    Size 0 is refused: every tree extends the empty one, so a proof of it would prove nothing.
    """
    if not 0 < old <= new:
        return False
    if old == new:
        return not proof and old_root == new_root
    steps = [old_root, *proof] if old & (old - 1) == 0 else list(proof)
    return bool(steps) and _roots_over(old - 1, new - 1, steps) == (old_root, new_root)


def _roots_over(place: int, last: int, steps: list[bytes]) -> tuple[bytes, bytes] | None:
    while place & 1:
        place, last = place >> 1, last >> 1
    before = after = steps[0]
    for step in steps[1:]:
        if last == 0:
            return None
        if place & 1 or place == last:
            before, after = node_hash(step, before), node_hash(step, after)
            place, last = _climb_left(place, last)
        else:
            after = node_hash(after, step)
        place, last = place >> 1, last >> 1
    return (before, after) if last == 0 else None


def _climb_left(place: int, last: int) -> Range:
    """Past the levels where the right edge has no sibling, to the one whose sibling was just used."""
    while place and not place & 1:
        place, last = place >> 1, last >> 1
    return place, last


def range_hash(part: Range, nodes: Nodes) -> bytes:
    """MTH(D[start:end]) for a range as RFC 6962 splits them: only its right end may be ragged."""
    hashes = [nodes(height, index) for height, index in complete_subtrees(*part)]
    return fold_peaks(hashes)


def fold_peaks(peaks: Sequence[bytes]) -> bytes:
    """The hash over complete subtrees that stand side by side, largest first."""
    found = peaks[-1]
    for peak in reversed(peaks[:-1]):
        found = node_hash(peak, found)
    return found


def complete_subtrees(start: int, end: int) -> Iterable[tuple[int, int]]:
    """The complete subtrees (height, index) that make up [start, end), largest first."""
    while start < end:
        height = (end - start).bit_length() - 1
        yield height, start >> height
        start += 1 << height


def _path(index: int, start: int, end: int) -> list[Range]:
    if end - start == 1:
        return []
    middle = start + _split(end - start)
    if index < middle:
        return [*_path(index, start, middle), (middle, end)]
    return [*_path(index, middle, end), (start, middle)]


def _subproof(old: int, start: int, end: int, *, whole: bool) -> list[Range]:
    if old == end:
        return [] if whole else [(start, end)]
    middle = start + _split(end - start)
    if old <= middle:
        return [*_subproof(old, start, middle, whole=whole), (middle, end)]
    return [*_subproof(old, middle, end, whole=False), (start, middle)]


def _split(size: int) -> int:
    """The largest power of two below `size`."""
    return 1 << ((size - 1).bit_length() - 1)
