"""Leaves, meta documents and proof files: what a person with a file and a key can check."""

from datetime import UTC, datetime

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hivematrix_archive.domain.proof import Proof, check_proof
from hivematrix_archive.domain.seal import KNOWN, Leaf, meta_document
from hivematrix_archive.domain.tiles import Edge
from hivematrix_common.domain import merkle
from hivematrix_common.domain.canonical import digest
from hivematrix_common.domain.checkpoint import Checkpoint
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.note import VerifierKey, sign_note
from hypothesis import given, settings
from hypothesis import strategies as st

SEALED_AT = datetime(2025, 11, 1, 2, 0, 7, tzinfo=UTC)
PRIVATE = Ed25519PrivateKey.from_private_bytes(b"\x07" * 32)
KEY = VerifierKey("archive.example.com/log", PRIVATE.public_key().public_bytes_raw())
BODIES = [b'{"total":"%d.00"}' % number for number in range(11)]


def check(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def leaf_of(body: bytes) -> bytes:
    return Leaf(digest(body), digest(b"meta"), SEALED_AT).data


def proof_of(index: int) -> Proof:
    leaves = [leaf_of(body) for body in BODIES]
    edge = Edge(0, [])
    edge.append([merkle.leaf_hash(leaf) for leaf in leaves])
    note = sign_note(Checkpoint(KEY.name, edge.size, edge.root()).text, [(KEY, PRIVATE.sign)])
    return Proof(leaves[index], index, tuple(merkle.inclusion_proof(index, edge.size, edge.nodes)), str(note))


def test_leaf_data_is_the_bytes_the_format_shows():
    leaf = Leaf("sha256:" + "0" * 64, "sha256:" + "f" * 64, SEALED_AT)
    expected = (
        b'{"body":"sha256:%s","format":"hivematrix.seal/1","meta":"sha256:%s","sealed_at":"2025-11-01T02:00:07Z"}'
    )
    assert leaf.data == expected % (b"0" * 64, b"f" * 64)
    assert Leaf.parse(leaf.data) == leaf


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        (b"seal/1", b"seal/2", "unknown format 'hivematrix.seal/2'"),
        (b"seal/1", b"erasure/1", "unknown format 'hivematrix.erasure/1'"),
        (b'"sha256:0', b'"sha256:G', "leaf.body"),
        (b'"sha256:0', b'"SHA256:0', "leaf.body"),
        (b"02:00:07Z", b"02:00:7Z", "leaf.sealed_at"),
        (b"02:00:07Z", b"02:00:07+", "leaf.sealed_at"),
        (b'{"body"', b'{ "body"', "canonical"),
        (b"}", b',"x":1}', "members"),
        (b"}", b',"body":"x"}', "twice"),
        (b"{", b"[", "JSON"),
    ],
)
def test_a_leaf_is_parsed_strictly(old, new, fault):
    data = Leaf("sha256:" + "0" * 64, "sha256:" + "f" * 64, SEALED_AT).data.replace(old, new, 1)
    with pytest.raises(DomainError, match=fault):
        Leaf.parse(data)


def test_a_reader_of_the_log_knows_the_other_two_formats():
    leaf = Leaf("sha256:" + "0" * 64, "sha256:" + "f" * 64, SEALED_AT, "hivematrix.adoption/1")
    assert Leaf.parse(leaf.data, known=KNOWN) == leaf


def test_two_meta_documents_of_the_same_words_differ():
    one, two = (meta_document("ledger", bytes([at]) * 16, notes="by hand") for at in (1, 2))
    assert b'"notes":"by hand"' in one
    assert digest(one) != digest(two)
    with pytest.raises(DomainError, match="16 bytes"):
        meta_document("ledger", b"short")


@pytest.mark.parametrize("index", range(11))
def test_every_proof_reads_back_and_holds(index):
    proof = proof_of(index)
    assert Proof.parse(str(proof)) == proof
    assert check_proof(proof, BODIES[index], [KEY], check).size == len(BODIES)


def test_a_proof_file_looks_as_the_standard_says():
    lines = str(proof_of(4)).split("\n")
    assert lines[0] == "c2sp.org/tlog-proof@v1"
    assert lines[1].startswith("extra ")
    assert lines[2] == "index 4"
    assert [len(line) for line in lines[3:7]] == [44, 44, 44, 44]
    assert lines[7:10] == ["", "archive.example.com/log", "11"]
    assert lines[12].startswith("— archive.example.com/log ")


@given(st.data())
@settings(max_examples=80, deadline=None)
def test_any_flipped_bit_of_a_proof_is_found(data):
    raw = str(proof_of(5)).encode()
    at = data.draw(st.integers(0, len(raw) - 1))
    flipped = raw[:at] + bytes([raw[at] ^ (1 << data.draw(st.integers(0, 7)))]) + raw[at + 1 :]
    with pytest.raises((DomainError, UnicodeDecodeError)):
        check_proof(Proof.parse(flipped.decode()), BODIES[5], [KEY], check)


def test_another_body_another_index_and_another_key_are_found():
    with pytest.raises(DomainError, match="entry 3 seals"):
        check_proof(proof_of(3), BODIES[4], [KEY], check)
    moved = Proof(proof_of(3).leaf, 2, proof_of(3).path, proof_of(3).checkpoint)
    with pytest.raises(DomainError, match="does not lead from entry 2"):
        check_proof(moved, BODIES[3], [KEY], check)
    stranger = VerifierKey(KEY.name, Ed25519PrivateKey.from_private_bytes(b"\x08" * 32).public_key().public_bytes_raw())
    with pytest.raises(DomainError, match="not signed by a known key"):
        check_proof(proof_of(3), BODIES[3], [stranger], check)


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("c2sp.org/tlog-proof@v1", "c2sp.org/tlog-proof@v2", "begins with"),
        ("index 5", "index 05", "an index"),
        ("index 5", "place 5", "line 'index'"),
        ("extra ", "other ", "line 'extra'"),
    ],
)
def test_what_is_not_a_proof_file_is_refused(old, new, fault):
    with pytest.raises(DomainError, match=fault):
        Proof.parse(str(proof_of(5)).replace(old, new, 1))
