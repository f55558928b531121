"""Signed notes, checkpoints and their file, against the examples of the standards."""

import base64

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hivematrix_common.domain import checkpoint as checkpoints
from hivematrix_common.domain.checkpoint import Checkpoint, nameless_origin, open_checkpoint, parse_kept, parse_origin
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.note import Note, VerifierKey, decode, open_note, sign_note
from hypothesis import given, settings
from hypothesis import strategies as st

# The example of C2SP signed-note.md, section "Verifier keys".
VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
NOTE = (
    "This is an example message.\n\n"
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
# The example of C2SP tlog-checkpoint.md; its key is not published, so it is parsed only.
CHECKPOINT = (
    "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n\n"
    "— example.com/behind-the-sofa "
    "Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=\n"
)


def check(public: bytes, message: bytes, signature: bytes) -> bool:
    try:
        Ed25519PublicKey.from_public_bytes(public).verify(signature, message)
    except InvalidSignature:
        return False
    return True


def signer(name: str, seed: int = 1):
    private = Ed25519PrivateKey.from_private_bytes(bytes([seed]) * 32)
    return VerifierKey(name, private.public_key().public_bytes_raw()), private.sign


def test_the_standards_example_opens_with_its_key():
    key = VerifierKey.parse(VKEY)
    assert key.name == "example.com/foo"
    assert str(key) == VKEY
    note = open_note(NOTE, [key], check)
    assert note.text == "This is an example message.\n"
    assert str(note) == NOTE


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_any_flipped_byte_of_a_note_is_found(data):
    raw = NOTE.encode()
    at = data.draw(st.integers(0, len(raw) - 1))
    flipped = raw[:at] + bytes([raw[at] ^ (1 << data.draw(st.integers(0, 7)))]) + raw[at + 1 :]
    with pytest.raises((DomainError, UnicodeDecodeError)):
        open_note(flipped.decode(), [VerifierKey.parse(VKEY)], check)


@pytest.mark.parametrize(
    ("vkey", "fault"),
    [
        (VKEY.replace("530d903a", "530d903b"), "key id"),
        (VKEY.replace("530d903a", "530D903A"), "key id"),
        (VKEY.replace("/foo", "/bar"), "key id"),
        ("example.com/foo+530d903a+AukyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "only Ed25519"),
        ("example.com/foo+530d903a+AekyeRrm", "32 bytes"),
        ("example.com/foo+530d903a+Aek%", "base64"),
        ("+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k", "name"),
        ("", "only Ed25519"),
    ],
)
def test_a_vkey_that_does_not_fit_itself_is_refused(vkey, fault):
    with pytest.raises(DomainError, match=fault):
        VerifierKey.parse(vkey)


@pytest.mark.parametrize(
    ("data", "fault"),
    [
        ("no signature\n", "empty line"),
        (NOTE[:-1], "empty line"),
        (NOTE.replace("— ", "- "), "signature line"),
        (NOTE.replace("example message", "example\tmessage"), "control"),
        (NOTE + NOTE.split("\n\n")[1] * 16, "more than 16"),
        (NOTE.replace("example.com/foo Uw", "example.com/fo+o Uw"), "signature line"),
        ("x\n\n— a AAAA\n", "empty"),
    ],
)
def test_what_is_not_a_note_is_refused(data, fault):
    with pytest.raises(DomainError, match=fault):
        Note.parse(data)


def test_a_note_needs_one_known_signature_and_no_broken_one():
    old, new, stranger = signer("log", 1), signer("log", 2), signer("witness", 3)
    note = str(sign_note("hello\n", [old, new, stranger]))
    assert open_note(note, [old[0]], check).text == "hello\n"
    assert open_note(note, [new[0]], check).text == "hello\n"
    with pytest.raises(DomainError, match="not signed by a known key"):
        open_note(note, [signer("log", 4)[0]], check)
    broken = sign_note("hello\n", [old, (new[0], old[1])])
    with pytest.raises(DomainError, match="does not hold"):
        open_note(str(broken), [old[0], new[0]], check)


def test_a_note_may_hold_empty_lines():
    key = signer("log")
    note = sign_note("a\n\nb\n", [key])
    assert open_note(str(note), [key[0]], check).text == "a\n\nb\n"


def test_base64_has_one_spelling():
    assert decode("AQ==", "x", 1) == b"\x01"
    for text in ("AQ", "AR==", "AQ==\n", "A Q=="):
        with pytest.raises(DomainError):
            decode(text, "x")
    with pytest.raises(DomainError, match="of 2 bytes"):
        decode("AQ==", "x", 2)


def test_the_standards_checkpoint_parses_and_writes_itself_again():
    found = Checkpoint.parse(Note.parse(CHECKPOINT).text)
    assert found.origin == "example.com/behind-the-sofa"
    assert found.size == 20_852_163
    assert found.root == base64.b64decode("CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=")
    assert CHECKPOINT.startswith(found.text + "\n")


ROOT = "CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I="


@pytest.mark.parametrize(
    "text",
    [
        f"\n1\n{ROOT}\n",
        f"log\n01\n{ROOT}\n",
        f"log\n-1\n{ROOT}\n",
        f"log\n1 \n{ROOT}\n",
        f"log\n\n{ROOT}\n",
        f"log\n1\n{ROOT}",
        f"log\n1\n{ROOT[:-4]}\n",
        f"log\n1\n{ROOT}\nextension\n",
        "log\n1\n\n",
    ],
)
def test_what_is_not_a_checkpoint_is_refused(text):
    with pytest.raises(DomainError):
        Checkpoint.parse(text)


def test_a_checkpoint_of_another_origin_is_refused_though_a_known_key_signed_it():
    key = signer("log.example/a")
    note = str(sign_note(Checkpoint("log.example/b", 1, bytes(32)).text, [key]))
    with pytest.raises(DomainError, match=r"log\.example/b is not this log's"):
        open_checkpoint(note, [key[0]], check)


@pytest.mark.parametrize("origin", ["archive.example.com/log", "billing.example.com/archive/log", "localhost:5012/log"])
def test_an_origin_is_an_address_without_its_scheme(origin):
    assert parse_origin(origin) == origin


@pytest.mark.parametrize("origin", ["", "https://a.example/log", "a b", "a+b", "a/", "a//b", "ä.example/log"])
def test_what_is_not_an_origin_is_refused(origin):
    with pytest.raises(DomainError, match="without a scheme"):
        parse_origin(origin)


def test_a_log_without_a_name_is_named_after_its_key():
    assert nameless_origin(bytes.fromhex("0123456789")) == "hivematrix.invalid/01234567"


def kept(count: int) -> list[str]:
    key = signer("log.example")
    return [str(sign_note(Checkpoint("log.example", size, bytes([size] * 32)).text, [key])) for size in range(count)]


@given(st.integers(0, 4), st.data())
@settings(max_examples=50, deadline=None)
def test_a_file_cut_anywhere_keeps_its_whole_checkpoints(count, data):
    notes = kept(count)
    text = "".join(note + "\n" for note in notes)
    cut = text[: data.draw(st.integers(0, len(text)))]
    found, rest = parse_kept(cut)
    assert found == notes[: len(found)]
    assert "".join(note + "\n" for note in found) + rest == cut
    assert len(found) == count or (notes[len(found)] + "\n").startswith(rest)


def test_a_file_with_a_checkpoint_that_is_none_names_it():
    text = "".join(note + "\n" for note in kept(3)).replace("\n1\n", "\none\n")
    with pytest.raises(DomainError, match="checkpoint 2 of the file"):
        checkpoints.parse_kept(text)
