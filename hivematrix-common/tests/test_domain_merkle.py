"""Merkle hashing and proofs against the published reference inputs, and as laws."""

import hashlib

import pytest
from hivematrix_archive.domain.tiles import Edge
from hivematrix_common.domain import merkle
from hypothesis import given, settings
from hypothesis import strategies as st

# The reference inputs and roots of the Certificate Transparency logs, as published in
# github.com/transparency-dev/merkle, testonly/constants.go (RFC 6962 §2.1 hashing).
INPUTS = [
    "",
    "00",
    "10",
    "2021",
    "3031",
    "40414243",
    "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
# Nodes of the same tree: height 0 leaves 1 to 3, height 1 nodes 1 and 2, height 2 nodes 0 and 1.
LEAF_1 = "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7"
LEAF_2 = "0298d122906dcfc10892cb53a73992fc5b9f493ea4c9badb27b791b4127a7fe7"
LEAF_3 = "07506a85fd9dd2f120eb694f86011e5bb4662e5c415a62917033d4a9624487e7"
PAIR_23 = "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e"
PAIR_45 = "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a"
LEFT_HALF = "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7"
RIGHT_HALF = "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4"


def mth(hashes: list[bytes]) -> bytes:
    """MTH as RFC 6962 §2.1 writes it, word by word: slow, recursive, the oracle."""
    if not hashes:
        return hashlib.sha256().digest()
    if len(hashes) == 1:
        return hashes[0]
    half = 1
    while half * 2 < len(hashes):
        half *= 2
    return hashlib.sha256(b"\x01" + mth(hashes[:half]) + mth(hashes[half:])).digest()


def leaves(count: int) -> list[bytes]:
    return [merkle.leaf_hash(str(number).encode()) for number in range(count)]


def edge(hashes: list[bytes]) -> Edge:
    grown = Edge(0, [])
    grown.append(hashes)
    return grown


@pytest.fixture
def reference() -> Edge:
    return edge([merkle.leaf_hash(bytes.fromhex(text)) for text in INPUTS])


@pytest.mark.parametrize("size", range(9))
def test_the_reference_inputs_have_the_published_roots(size):
    hashes = [merkle.leaf_hash(bytes.fromhex(text)) for text in INPUTS[:size]]
    assert edge(hashes).root().hex() == ROOTS[size]


@pytest.mark.parametrize(
    ("index", "size", "path"),
    [
        (0, 1, []),
        (0, 2, [LEAF_1]),
        (2, 3, [ROOTS[2]]),
        (0, 8, [LEAF_1, PAIR_23, RIGHT_HALF]),
        (4, 5, [LEFT_HALF]),
    ],
)
def test_the_reference_inputs_have_the_published_audit_paths(reference, index, size, path):
    assert [step.hex() for step in merkle.inclusion_proof(index, size, reference.nodes)] == path


@pytest.mark.parametrize(
    ("old", "new", "proof"),
    [
        (1, 1, []),
        (1, 4, [LEAF_1, PAIR_23]),
        (3, 4, [LEAF_2, LEAF_3, ROOTS[2]]),
        (4, 8, [RIGHT_HALF]),
        (6, 8, [PAIR_45, "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0", LEFT_HALF]),
    ],
)
def test_the_reference_inputs_have_the_published_consistency_proofs(reference, old, new, proof):
    assert [step.hex() for step in merkle.consistency_proof(old, new, reference.nodes)] == proof


@pytest.mark.parametrize("size", [0, 1, 2, 3, 7, 8, 255, 256, 257, 511, 512, 700])
def test_the_root_is_that_of_the_recursive_definition(size):
    hashes = leaves(size)
    assert edge(hashes).root() == mth(hashes)


def memory(hashes: list[bytes]) -> merkle.Nodes:
    return lambda height, index: mth(hashes[index << height : (index + 1) << height])


@given(st.integers(1, 70), st.data())
@settings(max_examples=60, deadline=None)
def test_every_inclusion_proof_verifies_and_no_changed_one_does(size, data):
    hashes = leaves(size)
    index = data.draw(st.integers(0, size - 1))
    path = merkle.inclusion_proof(index, size, memory(hashes))
    root = mth(hashes)
    assert merkle.verify_inclusion(hashes[index], index, size, path, root)
    assert not merkle.verify_inclusion(merkle.leaf_hash(b"other"), index, size, path, root)
    assert not merkle.verify_inclusion(hashes[index], index, size, [*path, root], root)
    assert not merkle.verify_inclusion(hashes[index], size, size, path, root)
    if path:
        at = data.draw(st.integers(0, len(path) - 1))
        assert not merkle.verify_inclusion(hashes[index], index, size, path[:at] + path[at + 1 :], root)
        flipped = flip(path[at], data.draw(st.integers(0, 255)))
        assert not merkle.verify_inclusion(hashes[index], index, size, [*path[:at], flipped, *path[at + 1 :]], root)


@given(st.integers(1, 70), st.data())
@settings(max_examples=60, deadline=None)
def test_every_consistency_proof_verifies_and_no_changed_one_does(new, data):
    old = data.draw(st.integers(1, new))
    hashes = leaves(new)
    before, after = mth(hashes[:old]), mth(hashes)
    proof = merkle.consistency_proof(old, new, memory(hashes))
    assert merkle.verify_consistency(old, new, before, after, proof)
    assert not merkle.verify_consistency(old, new, before, after, [*proof, after])
    assert not merkle.verify_consistency(old, new, flip(before, 3), after, proof)
    if old < new:
        assert not merkle.verify_consistency(old, new, before, flip(after, 9), proof)
        at = data.draw(st.integers(0, len(proof) - 1))
        flipped = flip(proof[at], data.draw(st.integers(0, 255)))
        assert not merkle.verify_consistency(old, new, before, after, [*proof[:at], flipped, *proof[at + 1 :]])
        assert not merkle.verify_consistency(old, new, before, after, proof[:at] + proof[at + 1 :])


def test_a_log_does_not_shrink():
    hashes = leaves(3)
    assert not merkle.verify_consistency(3, 2, mth(hashes), mth(hashes[:2]), [])


def flip(value: bytes, bit: int) -> bytes:
    return bytes(byte ^ (1 << bit % 8 if at == bit // 8 else 0) for at, byte in enumerate(value))
