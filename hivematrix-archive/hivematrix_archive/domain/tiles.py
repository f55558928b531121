"""The log as tiles (C2SP tlog-tiles), and what is stored for them: per level L the hashes of complete 256^L subtrees.

A tile of level L is a run of up to 256 hashes of that level. A hash is written once, when its subtree is complete, and
a partial tile is a shorter run, so nothing is stored twice.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from hivematrix_common.domain import merkle
from hivematrix_common.domain.errors import DomainError

WIDTH = 256
BITS = 8
TOP_LEVEL = 63
_NUMBER = r"(?:0|[1-9][0-9]*)"
_PATH = re.compile(rf"({_NUMBER}|entries)/((?:x[0-9]{{3}}/)*[0-9]{{3}})(?:\.p/([1-9][0-9]{{0,2}}))?")


@dataclass(frozen=True, slots=True)
class Tile:
    """Hashes [index * 256, index * 256 + width) of a level; `entries` tiles are level 0's leaf data."""

    level: int
    index: int
    width: int = WIDTH
    entries: bool = False

    @property
    def start(self) -> int:
        return self.index * WIDTH

    @property
    def end(self) -> int:
        return self.start + self.width

    def sizes(self) -> tuple[int, int | None]:
        """The tree sizes [from, before) that need this tile; a full tile is needed by every larger size."""
        span = WIDTH**self.level
        return self.end * span, None if self.width == WIDTH else (self.end + 1) * span


def tile_path(tile: Tile) -> str:
    """`0/x001/x234/067.p/112`, the part of the address after `tile/`."""
    groups = []
    rest = tile.index
    while True:
        rest, group = divmod(rest, 1000)
        groups.append(f"{group:03}")
        if not rest:
            break
    number = "/".join(f"x{group}" for group in groups[:0:-1]) + "/" * (len(groups) > 1) + groups[0]
    partial = "" if tile.width == WIDTH else f".p/{tile.width}"
    return f"{'entries' if tile.entries else tile.level}/{number}{partial}"


def parse_tile_path(text: str) -> Tile | None:
    """The tile that `text` spells, or None: there is exactly one spelling."""
    match = _PATH.fullmatch(text)
    if not match:
        return None
    entries = match[1] == "entries"
    tile = Tile(
        level=0 if entries else int(match[1]),
        index=int(match[2].replace("x", "").replace("/", "")),
        width=int(match[3] or WIDTH),
        entries=entries,
    )
    return tile if tile.level <= TOP_LEVEL and tile_path(tile) == text else None


def bundle(entries: Sequence[bytes]) -> bytes:
    """An entry bundle: each entry behind its length as two bytes, big end first."""
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


@dataclass(frozen=True, slots=True)
class Node:
    """The hash of a complete subtree of 256^level leaves; level 0 is a leaf."""

    level: int
    index: int
    hash: bytes


@dataclass(slots=True)
class Run:
    """Consecutive hashes of one level, beginning at `start`."""

    start: int
    hashes: list[bytes]


class Edge:
    """The right edge of the log: of each level the hashes that no stored hash of the next level covers.

    What was loaded stays when the edge grows, so consistency from the loaded size to the present one can be proved.
    """

    def __init__(self, size: int, levels: Sequence[Sequence[bytes]]) -> None:
        """`levels[L]` holds the hashes floor(size / 256^(L+1)) * 256 up to floor(size / 256^L)."""
        self.size = size
        self._runs: list[Run] = []
        for level, hashes in enumerate(levels):
            start, end = edge_span(level, size)
            if end - start != len(hashes):
                at = (start + len(hashes)) * WIDTH**level
                raise DomainError("log", f"level {level} holds {len(hashes)} hashes of {end - start} from index {at}")
            self._runs.append(Run(start, list(hashes)))
        if edge_span(len(levels), size)[1]:
            raise DomainError("log", f"the edge of size {size} has more than {len(levels)} levels")

    def append(self, leaves: Sequence[bytes]) -> list[Node]:
        """Add leaf hashes; the nodes of level 1 and above that this completed, each exactly once."""
        self.size += len(leaves)
        made: list[Node] = []
        fresh: Sequence[bytes] = leaves
        level = 0
        while fresh:
            run = self._run(level)
            before = len(run.hashes) // WIDTH
            run.hashes.extend(fresh)
            full = range(before, len(run.hashes) // WIDTH)
            fresh = [merkle.subtree_root(run.hashes[at * WIDTH : (at + 1) * WIDTH]) for at in full]
            level += 1
            first = run.start // WIDTH + before
            made += [Node(level, first + at, found) for at, found in enumerate(fresh)]
        return made

    def forget(self) -> None:
        """Drop what lies left of the present edge; consistency is proved from here on."""
        for level, run in enumerate(self._runs):
            start, _ = edge_span(level, self.size)
            del run.hashes[: start - run.start]
            run.start = start

    def nodes(self, height: int, index: int) -> bytes:
        """The complete subtrees at and right of the loaded edge, as merkle's proofs ask for them."""
        level, rest = divmod(height, BITS)
        run = self._runs[level]
        start = (index << rest) - run.start
        if start < 0:
            raise DomainError("log", f"the subtree at height {height}, index {index} is left of the edge")
        return merkle.subtree_root(run.hashes[start : start + (1 << rest)])

    def root(self) -> bytes:
        peaks = []
        for height, index in merkle.complete_subtrees(0, self.size):
            peaks.append(self.nodes(height, index))
        return merkle.fold_peaks(peaks) if peaks else merkle.EMPTY_ROOT

    def _run(self, level: int) -> Run:
        if level == len(self._runs):
            self._runs.append(Run(0, []))
        return self._runs[level]


def edge_span(level: int, size: int) -> tuple[int, int]:
    """Which hashes of `level` the edge of a log of `size` holds."""
    count = size // WIDTH**level
    return count - count % WIDTH, count


def edge_levels(size: int) -> int:
    """How many levels the edge of a log of `size` has."""
    levels = 0
    while size:
        levels, size = levels + 1, size // WIDTH
    return levels
