"""The verifier that stands alone: it agrees with the archive's own checks, and imports nothing of it."""

import ast
import importlib.util
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hivematrix_archive.domain.proof import Proof
from hivematrix_archive.domain.seal import Leaf
from hivematrix_archive.domain.tiles import Edge
from hivematrix_common.domain import merkle
from hivematrix_common.domain.canonical import digest
from hivematrix_common.domain.checkpoint import Checkpoint
from hivematrix_common.domain.note import VerifierKey, encode, sign_note
from hypothesis import given, settings
from hypothesis import strategies as st

SCRIPT = Path(__file__).parents[1] / "verify_offline.py"
SEALED_AT = datetime(2025, 11, 1, 2, 0, 7, tzinfo=UTC)
ORIGIN = "archive.example.com/log"
BODIES = [b'{"total":"%d.00"}' % number for number in range(300)]


def load():
    spec = importlib.util.spec_from_file_location("verify_offline", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


VERIFIER = load()


def key(seed=7, name=ORIGIN):
    private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    return VerifierKey(name, private.public_key().public_bytes_raw()), private.sign


def proof(index, size=300, leaf=None, signers=None):
    leaves = [Leaf(digest(body), digest(b"meta"), SEALED_AT).data for body in BODIES[:size]]
    leaves[index] = leaf or leaves[index]
    edge = Edge(0, [])
    edge.append([merkle.leaf_hash(data) for data in leaves])
    note = sign_note(Checkpoint(ORIGIN, edge.size, edge.root()).text, signers or [key()])
    return str(Proof(leaves[index], index, tuple(merkle.inclusion_proof(index, edge.size, edge.nodes)), str(note)))


PROOF_5 = proof(5).encode()


@pytest.fixture
def files(tmp_path):
    """files(body, proof, keys) -> the arguments of a call."""

    def write(body, text, keys):
        paths = [tmp_path / name for name in ("body", "proof", "vkey")]
        for path, data in zip(paths, (body, text, keys), strict=True):
            path.write_bytes(data if isinstance(data, bytes) else data.encode())
        return [str(paths[0]), str(paths[1]), "--key", str(paths[2])]

    return write


def test_a_stranger_with_python_alone_gets_the_answer(files):
    arguments = files(BODIES[5], PROOF_5, f"{key()[0]}\n")
    ran = subprocess.run([sys.executable, SCRIPT, *arguments], capture_output=True, text=True, check=False, cwd="/")
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "good: entry 5\n", "")


def test_it_imports_nothing_of_the_project():
    tree = ast.parse(SCRIPT.read_text())
    names = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    names |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    outside = {name.split(".")[0] for name in names} - sys.stdlib_module_names
    assert outside == {"cryptography"}


@pytest.mark.parametrize(("index", "size"), [(0, 1), (0, 2), (1, 2), (4, 5), (255, 256), (256, 257), (299, 300)])
def test_it_accepts_what_the_archive_proves(files, capsys, index, size):
    assert VERIFIER.main(files(BODIES[index], proof(index, size), str(key()[0]))) == 0
    assert capsys.readouterr().out == f"good: entry {index}\n"


def bad(files, capsys, body, text, keys):
    assert VERIFIER.main(files(body, text, keys)) == 1
    captured = capsys.readouterr()
    assert captured.out == ""
    return captured.err


@given(st.integers(0, len(PROOF_5) - 1), st.integers(0, 7))
@settings(max_examples=100, deadline=None)
def test_any_flipped_bit_of_the_proof_is_found(at, bit):
    flipped = PROOF_5[:at] + bytes([PROOF_5[at] ^ 1 << bit]) + PROOF_5[at + 1 :]
    with pytest.raises((VERIFIER.RefusedError, UnicodeDecodeError)):
        VERIFIER.check(BODIES[5], flipped, VERIFIER.read_keys(str(key()[0])))


@given(st.integers(0, len(BODIES[5]) - 1), st.integers(0, 7))
@settings(max_examples=50, deadline=None)
def test_any_flipped_bit_of_the_body_is_found(at, bit):
    flipped = BODIES[5][:at] + bytes([BODIES[5][at] ^ 1 << bit]) + BODIES[5][at + 1 :]
    with pytest.raises(VERIFIER.RefusedError, match="entry 5 seals"):
        VERIFIER.check(flipped, PROOF_5, VERIFIER.read_keys(str(key()[0])))


@pytest.mark.parametrize(
    "body", [b'{"total":5.00}', b'{"total":"5.00","total":"5.00"}', '{"total":"\uff15.00"}'.encode(), b"", BODIES[6]]
)
def test_a_body_that_reads_alike_is_another_body(files, capsys, body):
    assert "entry 5 seals" in bad(files, capsys, body, PROOF_5, str(key()[0]))


def test_a_forged_index_is_found(files, capsys):
    forged = PROOF_5.replace(b"index 5\n", b"index 4\n")
    assert "does not lead from entry 4" in bad(files, capsys, BODIES[5], forged, str(key()[0]))
    assert "not a number" in bad(files, capsys, BODIES[5], PROOF_5.replace(b"index 5", b"index 05"), str(key()[0]))


def test_a_log_chained_anew_with_another_key_is_found(files, capsys):
    assert "no key of the key file" in bad(files, capsys, BODIES[5], proof(5, signers=[key(8)]), str(key()[0]))


def test_a_key_that_signs_for_another_log_is_found(files, capsys):
    other = key(9, "other.example/log")
    assert "not the key's" in bad(files, capsys, BODIES[5], proof(5, signers=[other]), str(other[0]))


def test_a_rotated_key_file_opens_old_and_new_checkpoints(files):
    keys = f"{key(7)[0]}\n{key(8)[0]}\n"
    for signers in ([key(7)], [key(8)], [key(7), key(8)]):
        assert VERIFIER.main(files(BODIES[5], proof(5, signers=signers), keys)) == 0


def test_a_signature_of_a_known_key_that_fails_refuses_the_note(files, capsys):
    text = proof(5, signers=[key(7), (key(8)[0], key(9)[1])])
    assert "does not hold" in bad(files, capsys, BODIES[5], text, f"{key(7)[0]}\n{key(8)[0]}\n")


def canonical_leaf(**changes):
    return Leaf(digest(BODIES[5]), digest(b"meta"), SEALED_AT, **changes).data


@pytest.mark.parametrize(
    ("leaf", "fault"),
    [
        (canonical_leaf(format="hivematrix.seal/2"), "format is hivematrix.seal/2"),
        (canonical_leaf(format="hivematrix.erasure/1"), "format is hivematrix.erasure/1"),
        (canonical_leaf().replace(b'{"body"', b'{ "body"'), "canonical"),
        (canonical_leaf().replace(b"}", b',"body":"x"}'), "twice"),
        (canonical_leaf().replace(b"}", b',"x":"1"}'), "does not have the members"),
        (canonical_leaf().replace(b'"hivematrix.seal/1"', b"1"), "does not have the members"),
        (b"not json", "not JSON"),
        (b"\xff", "not JSON"),
    ],
)
def test_a_signed_leaf_that_is_no_seal_is_refused(files, capsys, leaf, fault):
    assert fault in bad(files, capsys, BODIES[5], proof(5, leaf=leaf), str(key()[0]))


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"", "does not begin"),
        (b"\xff", "not text"),
        (PROOF_5.replace(b"proof@v1", b"proof@v2"), "does not begin"),
        (PROOF_5.replace(b"extra ", b"extras "), "expected the line 'extra'"),
        (PROOF_5[:-1], "not a signed note"),
        (PROOF_5.replace(b"\n300\n", b"\n300\nmore\n"), "three lines"),
    ],
)
def test_what_is_no_proof_is_refused(files, capsys, text, fault):
    assert fault in bad(files, capsys, BODIES[5], text, str(key()[0]))


@pytest.mark.parametrize(
    ("keys", "fault"),
    [
        ("", "empty"),
        ("rubbish", "not base64|verifier key"),
        (str(key()[0]).replace("+", "+0", 1), "not an Ed25519 verifier key"),
        (f"{ORIGIN}+00000000+{encode(bytes([2]) + key()[0].public)}", "not an Ed25519 verifier key"),
    ],
)
def test_a_broken_key_file_is_refused(files, capsys, keys, fault):
    told = bad(files, capsys, BODIES[5], PROOF_5, keys)
    assert any(part in told for part in fault.split("|"))


def test_a_missing_file_is_no_traceback(files, capsys, tmp_path):
    arguments = files(BODIES[5], PROOF_5, str(key()[0]))
    (tmp_path / "body").unlink()
    with pytest.raises(SystemExit, match="2"):
        VERIFIER.main(arguments)
    assert "body: No such file" in capsys.readouterr().err


def test_a_call_without_a_key_is_a_usage_error(files, capsys):
    with pytest.raises(SystemExit, match="2"):
        VERIFIER.main(files(BODIES[5], PROOF_5, "")[:2])
    assert "--key" in capsys.readouterr().err
