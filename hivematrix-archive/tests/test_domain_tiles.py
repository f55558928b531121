"""Tiles: their spelling, the widths a size needs, and what a growing log stores."""

import pytest
from hivematrix_archive.domain.tiles import (
    WIDTH,
    Edge,
    Node,
    Tile,
    bundle,
    edge_levels,
    edge_span,
    parse_tile_path,
    tile_path,
)
from hivematrix_common.domain import merkle
from hivematrix_common.domain.errors import DomainError
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("text", "tile"),
    [
        ("0/000", Tile(0, 0)),
        ("0/x001/x234/067", Tile(0, 1234067)),
        ("1/000.p/17", Tile(1, 0, 17)),
        ("63/999", Tile(63, 999)),
        ("entries/x001/000.p/255", Tile(0, 1000, 255, entries=True)),
    ],
)
def test_a_tile_is_spelled_as_tlog_tiles_says(text, tile):
    assert parse_tile_path(text) == tile
    assert tile_path(tile) == text


@pytest.mark.parametrize(
    "text",
    [
        "00/000",
        "64/000",
        "-1/000",
        "0/0",
        "0/0000",
        "0/x000/000",
        "0/001/000",
        "0/x001/x000",
        "0/000.p/0",
        "0/000.p/256",
        "0/000.p/01",
        "0/000.p",
        "0/000/",
        "0/000.p/1/",
        "entries",
        "leaves/000",
        "0/\u0660\u0660\u0660",
        " 0/000",
        "0/000\n",
        "",
    ],
)
def test_any_other_spelling_is_no_tile(text):
    assert parse_tile_path(text) is None


@given(st.integers(0, 63), st.integers(0, 10**12), st.integers(1, 256), st.booleans())
@settings(max_examples=50)
def test_every_tile_has_one_spelling(level, index, width, entries):
    tile = Tile(0 if entries else level, index, width, entries)
    assert parse_tile_path(tile_path(tile)) == tile


def needs(tile: Tile, size: int) -> bool:
    first, before = tile.sizes()
    return first <= size and (before is None or size < before)


def test_a_tree_of_70000_needs_the_tiles_of_the_standards_example():
    assert needs(Tile(0, 272), 70_000)
    assert not needs(Tile(0, 273), 70_000)
    assert [width for width in range(1, 256) if needs(Tile(0, 273, width), 70_000)] == [112]
    assert needs(Tile(1, 0), 70_000)
    assert [width for width in range(1, 256) if needs(Tile(1, 1, width), 70_000)] == [17]
    assert [width for width in range(1, 256) if needs(Tile(2, 0, width), 70_000)] == [1]
    assert needs(Tile(1, 0, 1), 256)
    assert not needs(Tile(1, 0, 1), 255)


def leaves(count: int, first: int = 0) -> list[bytes]:
    return [merkle.leaf_hash(b"%d" % number) for number in range(first, first + count)]


class Stored:
    """What the store does: each node inserted once, the edge read back from what was inserted."""

    def __init__(self) -> None:
        self.size = 0
        self.kept: dict[tuple[int, int], bytes] = {}

    def insert(self, node: Node) -> None:
        assert (node.level, node.index) not in self.kept
        self.kept[node.level, node.index] = node.hash

    def edge(self) -> Edge:
        spans = [edge_span(level, self.size) for level in range(edge_levels(self.size))]
        return Edge(self.size, [[self.kept[level, at] for at in range(*span)] for level, span in enumerate(spans)])

    def append(self, hashes: list[bytes]) -> Edge:
        edge = self.edge()
        for at, found in enumerate(hashes):
            self.insert(Node(0, self.size + at, found))
        for node in edge.append(hashes):
            self.insert(node)
        self.size += len(hashes)
        return edge


@given(st.lists(st.integers(1, 700), min_size=1, max_size=6))
@settings(max_examples=40, deadline=None)
def test_a_log_grown_in_batches_is_the_log_built_at_once_and_inserts_nothing_twice(batches):
    stored = Stored()
    signed = (0, merkle.EMPTY_ROOT)
    for count in batches:
        edge = stored.append(leaves(count, stored.size))
        if signed[0]:
            proof = merkle.consistency_proof(signed[0], edge.size, edge.nodes)
            assert merkle.verify_consistency(*(signed[0], edge.size, signed[1], edge.root()), proof)
        signed = (edge.size, edge.root())
    whole = Edge(0, [])
    nodes = whole.append(leaves(sum(batches)))
    assert whole.root() == signed[1]
    assert {(node.level, node.index): node.hash for node in nodes} == {
        at: found for at, found in stored.kept.items() if at[0]
    }


@pytest.mark.slow
def test_a_third_level_appears_after_65536_entries():
    stored = Stored()
    stored.append(leaves(WIDTH**2 - 1))
    edge = stored.append(leaves(2, WIDTH**2 - 1))
    assert (2, 0) in stored.kept
    assert edge.root() == merkle.node_hash(stored.kept[2, 0], stored.kept[0, WIDTH**2])
    assert stored.edge().root() == edge.root()


def test_pages_of_100_complete_each_tile_once():
    stored = Stored()
    for _ in range(8):
        stored.append(leaves(100, stored.size))
    assert sorted(at for at in stored.kept if at[0]) == [(1, 0), (1, 1), (1, 2)]


def test_an_edge_with_a_hash_missing_is_refused_with_the_index():
    with pytest.raises(DomainError, match="level 0 holds 43 hashes of 44 from index 299"):
        Edge(300, [leaves(43), leaves(1)])
    with pytest.raises(DomainError, match="more than 1 levels"):
        Edge(300, [leaves(44)])


def test_a_bundle_puts_each_entry_behind_its_length():
    assert bundle([b"a" * 300, b"", b"z"]) == b"\x01\x2c" + b"a" * 300 + b"\x00\x00" + b"\x00\x01z"
