"""The standards' own vectors: RFC 8785, RFC 6962 and RFC 9162, C2SP signed-note.

Facts only, each with its source; the changed proofs are made here as the source's file names say. The verifier that
stands alone has code of its own, which is held to the same.
"""

import base64
import importlib.util
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hivematrix_common.domain import merkle
from hivematrix_common.domain.canonical import canonical, parse_strict
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.note import Note, VerifierKey, open_note, sign_note
from hivematrix_common.signatures import check_signature

SCRIPT = Path(__file__).parents[2] / "hivematrix-archive" / "verify_offline.py"

# RFC 8785, test data of its author: github.com/cyberphone/json-canonicalization, testdata/input and testdata/output.
# What has keys outside ASCII or numbers that are no integers is outside the profile of our documents, and refused.
CANONICAL = {
    "arrays": ('[56,{"d":true,"10":null,"1":[ ]}]', '[56,{"1":[],"10":null,"d":true}]'),
    "structures": (
        '{"1":{"f":{"f":"hi","F":5},"\\n":56},"10":{},"":"empty","a":{},"111":[{"e":"yes","E":"no"}],"A":{}}',
        '{"":"empty","1":{"\\n":56,"f":{"F":5,"f":"hi"}},"10":{},"111":[{"E":"no","e":"yes"}],"A":{},"a":{}}',
    ),
    "unicode": (r'{"Unnormalized Unicode":"A\u030a"}', '{"Unnormalized Unicode":"A\u030a"}'),
    "string of values": (
        r'"\u20ac$\u000F\u000aA\u0027\u0042\u0022\u005c\\\"\/"',
        '"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"',
    ),
    "literals of values": ("[null, true, false]", "[null,true,false]"),
}
OUTSIDE = {
    "numbers of values": b"[333333333.33333329, 1E30, 4.50, 2e-3, 0.000000000000000000000000001]",
    "keys of french": '{"pêche":"but canonicalization MUST"}'.encode(),
    "keys of weird": rb'{"\u20ac":"Euro Sign"}',
    "number of structures": b'{"\\n": 56.0}',
    "lone surrogate, RFC 8785 section 3.2.2.2": rb'"\ud800"',
    "above 2^53, RFC 8785 appendix B": b"9007199254740993",
}


@pytest.mark.parametrize("name", CANONICAL)
def test_documents_have_the_published_canonical_bytes(name):
    text, wanted = CANONICAL[name]
    assert canonical(parse_strict(text.encode())) == wanted.encode()


@pytest.mark.parametrize("name", OUTSIDE)
def test_what_our_documents_never_hold_is_refused(name):
    with pytest.raises(DomainError):
        parse_strict(OUTSIDE[name])


# github.com/transparency-dev/merkle at 417fb0c, testdata/inclusion and testdata/consistency: the tree of the eight
# reference leaves. Hashes by the leaves they cover, [from, to).
H = {
    name: base64.b64decode(text)
    for name, text in {
        "0": "bjQLnP+zepicpUTmu3gKLHiQHT+zNzh2hRGjBhevoB0=",
        "1": "lqKW0iTyhcZ77pPDD4owkVfw2qNdxbh+QQt4YwoJz8c=",
        "2": "ApjRIpBtz8EIkstTpzmS/FufST6kybrbJ7eRtBJ6f+c=",
        "4": "vBoGQ7EuTS18d5GPROD095qDi2z57FtcKD4fTYhZnms=",
        "5": "QnGia+DYqE8L1UyMMC58s6O10fpngKQLzOKHNHfatlg=",
        "6": "sIaT7C5yFZcTBkHoIR5+7cy0wmQTlj7ubB4u0W/7Gl8=",
        "0-2": "+sVCA+fMaWzw38tCySodnbr3CtnmIfS9jZhmLwDjwSU=",
        "2-4": "Xwg/ChozygdqlSeYMlgNs+DvRYS9/x9UyKNg9Q3jAx4=",
        "4-6": "DrxdNDf74tsVi58Sah0RjjCBgQMdCpSfje3t68VY72o=",
        "6-8": "yoVOoSjtBQtBs1/8G4e46yveRh6eO1WW7Oa51ZdaCuA=",
        "0-4": "037kGJdt2VdTwcc4Yrk5j6Kiz5tP8P3+izDNlSCWFLc=",
        "4-8": "a0eq8p7jwq+a+Im8H7klTavTEXfxYjLdaqsDXKOb9uQ=",
        "0-3": "rra8/idLcKFPsGel5VeCZNsPqbUa9eC6FZFY8yngbnc=",
        "0-5": "Tju7H3tHjc/nH7YxYxUZo7yhLJrvyhYSv85ME6hiZNQ=",
        "0-6": "duZ9rbzfHhDht03cYIq9L5jfsW+851J3tSMqEn8gh+8=",
        "0-7": "3bib5AOAnjJXUNPSY814kpwpQreUKjS3fhIslZSnTIw=",
        "0-8": "XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=",
    }.items()
}
EMPTY, RANDOM = merkle.EMPTY_ROOT, base64.b64decode("q6yroAAAAAAAAAAAAAAAAAAAAAAAAAAAAGAGHgASNFY=")
# inclusion/<n>/happy-path.json: index, size, root, leaf, path.
INCLUDED = [
    (0, 1, "0", "0", []),
    (0, 8, "0-8", "0", ["1", "2-4", "4-8"]),
    (5, 8, "0-8", "5", ["4", "6-8", "0-4"]),
    (2, 3, "0-3", "2", ["0-2"]),
    (1, 5, "0-5", "1", ["0", "2-4", "4"]),
]
# consistency/<n>/happy-path.json: sizes, roots, path.
CONSISTENT = [
    (1, 1, "0", "0", []),
    (1, 8, "0", "0-8", ["1", "2-4", "4-8"]),
    (6, 8, "0-6", "0-8", ["4-6", "6-8", "0-4"]),
    (2, 5, "0-2", "0-5", ["2-4", "4"]),
    (6, 7, "0-6", "0-7", ["4-6", "6", "0-4"]),
]


@pytest.fixture(scope="module")
def alone():
    """verify_offline.py, as a module."""
    spec = importlib.util.spec_from_file_location("verify_offline_alone", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["ours", "alone"])
def included(request, alone):
    """included(leaf hash, index, size, path, root): both checks there are."""
    return merkle.verify_inclusion if request.param == "ours" else alone.included


@pytest.fixture(params=["ours", "alone"])
def consistent(request, alone):
    """consistent(old size, new size, old root, new root, path); the verifier asks for longer logs only."""
    if request.param == "ours":
        return merkle.verify_consistency
    return lambda *proof: alone.consistent(*proof) or proof == ONE_IS_ONE


ONE_IS_ONE = (1, 1, H["0"], H["0"], [])


def flipped(path, at, bit):
    return [*path[:at], bytes([path[at][0] ^ 1 << bit]) + path[at][1:], *path[at + 1 :]]


def lengthened(path, *more):
    return {f"preceding {name}": [step, *path] for name, step in more} | {
        f"trailing {name}": [*path, step] for name, step in more
    }


@pytest.mark.parametrize("vector", INCLUDED)
def test_published_inclusion_proofs_hold_and_their_changed_ones_do_not(included, vector):
    index, size, root, leaf = *vector[:2], H[vector[2]], H[vector[3]]
    path = [H[name] for name in vector[4]]
    assert included(leaf, index, size, path, root)
    paths = lengthened(path, ("garbage", b""), ("root", root)) | {
        f"modified proof[{at}] bit 3": flipped(path, at, 3) for at in range(len(path))
    }
    if path:
        paths |= {"removed component": path[:-1], "inserted component": [path[0], RANDOM, *path[1:]]}
    for name, changed in paths.items():
        assert not included(leaf, index, size, changed, root), name
    for place, whole in (
        (index - 1, size),
        (index + 1, size),
        (index ^ 2, size),
        (index, size * 2),
        (index, size // 2),
    ):
        assert not included(leaf, place, whole, path, root), (place, whole)
    for other in (b"", EMPTY, RANDOM):
        assert not included(leaf, index, size, path, other)
    assert not included(b"WrongLeaf", index, size, path, root)


@pytest.mark.parametrize("size", [0, 1])
@pytest.mark.parametrize("index", [0, 1, 2])
def test_published_proofs_in_trees_of_nothing_do_not_hold(included, index, size):
    """inclusion/additional, inclusion/single-entry"""
    for root, leaf in ((b"", RANDOM), (EMPTY, b""), (EMPTY, RANDOM), (RANDOM, b""), (b"", b"")):
        assert not included(leaf, index, size, [], root)
    assert included(RANDOM, index, size, [], RANDOM) == ((index, size) == (0, 1))


@pytest.mark.parametrize("vector", CONSISTENT)
def test_published_consistency_proofs_hold_and_their_changed_ones_do_not(consistent, vector):
    old, new, before, after = *vector[:2], H[vector[2]], H[vector[3]]
    path = [H[name] for name in vector[4]]
    assert consistent(old, new, before, after, path)
    if not path:
        return
    paths = lengthened(path, ("garbage", b""), ("root1", before), ("root2", after), ("proof", path[0])) | {
        f"modified proof[{at}] bit 4": flipped(path, at, 4) for at in range(len(path))
    }
    for name, changed in (paths | {"empty proof": [], "truncated proof": path[:-1]}).items():
        assert not consistent(old, new, before, after, changed), name
    for one, two in ((old - 1, new), (old + 1, new), (old ^ 2, new), (old, new * 2), (old, new // 2)):
        assert not consistent(one, two, before, after, path), (one, two)
    for one, two in ((after, before), (b"WrongRoot", after), (before, b"WrongRoot")):
        assert not consistent(old, new, one, two, path)


ONE, TWO = b"don't care 1", b"don't care 2"
# consistency/additional: sizes, roots, path.
USELESS = [
    (0, 0, ONE, ONE, []),
    (0, 0, ONE, TWO, []),
    (0, 0, EMPTY, TWO, []),
    (0, 0, EMPTY, EMPTY, [EMPTY]),
    (0, 1, ONE, TWO, []),
    (0, 1, EMPTY, TWO, []),
    (0, 1, EMPTY, EMPTY, [EMPTY]),
    (1, 0, ONE, TWO, []),
    (2, 1, ONE, TWO, []),
    (1, 1, ONE, TWO, []),
    (1, 1, EMPTY, TWO, []),
    (1, 1, EMPTY, EMPTY, [EMPTY]),
    (1, 2, ONE, TWO, []),
]


@pytest.mark.parametrize("vector", USELESS)
def test_published_proofs_of_nothing_are_refused_and_size_0_with_them(consistent, vector):
    assert not consistent(*vector)


def test_equal_sizes_need_equal_roots_and_no_proof():
    assert merkle.verify_consistency(1, 1, TWO, TWO, [])


# C2SP signed-note.md: the note at its head, whose key is not published, and the example of its section Verifier keys.
POEM = (
    "Ognuno sta solo sul cuor della terra\ntrafitto da un raggio di sole:\n\ned è subito sera.\n\n"
    "— quasimodo.example/salvatore "
    "NnugSzTjtVAewIS+Z/iJhUPeFDkO/5QQ2i5ddnGITLlC+EhfLW9oJKONrMouFSQU0xMcXxj99ihAQwaqP3ZekRwNtIc=\n"
)
VKEY = "example.com/foo+530d903a+AekyeRrm56hApGFkyQR4ZCbV54Id2LKaANYcrnKv3U2k"
SIGNATURE = (
    "— example.com/foo Uw2QOkn8srV1yJGh2VYRlL1Tnagv1YEq6TfXppzi2ONncAlTgK7Ztg1ERYNZXsYjOBH3mFXmRKuwHjG1Yu72IneyaQM=\n"
)
MESSAGE = "This is an example message.\n"
# golang.org/x/mod at 02c9913, sumdb/note/note_test.go: two keys, and a text that both signed.
PETER = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"
ENOCH = "EnochRoot+af0cfe78+ATtqJ7zOtqQtYqOo0CpvDXNlMhV3HeJDpjrASKGLWdop"
PETER_KEY = "AYEKFALVFGyNhPJEMzD1QIDr+Y7hfZx09iUvxdXHKDFz"
QUIP = "If you think cryptography is the answer to your problem,\nthen you don't know what your problem is.\n"
BY_PETER = (
    "— PeterNeumann x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM=\n"
)
BY_ENOCH = "— EnochRoot rwz+eBzmZa0SO3NbfRGzPCpDckykFXSdeX+MNtCOXm2/5n2tiOHp+vAF1aGrQ5ovTG01oOTGwnWLox33WWd1RvMc+QQ=\n"
MANGLED = {
    "no signature": QUIP,
    "no signature line": f"{QUIP}\n",
    "no end of line": f"{QUIP}\n{BY_PETER[:-1]}",
    "control character": f"\x01{QUIP}\n{BY_PETER}",
    "name with a space": f"{QUIP}\n{BY_PETER.replace('PeterNeumann', 'Bad Name')}",
    "unexpected line": f"{QUIP}\n{BY_PETER}Unexpected line.\n",
    "longer signature": f"{QUIP}\n{BY_PETER[:60]}ABCD{BY_PETER[60:]}",
    "too many": f"{QUIP}\n{BY_PETER * 101}",
    "another name": f"{QUIP}\n{BY_PETER.replace('PeterNeumann', 'CarmenSandiego')}",
    "another key id": f"{QUIP}\n{BY_PETER.replace('x08g', 'xxxx')}",
    "another text": f"{QUIP.replace('your', 'our')}\n{BY_PETER}",
}


def test_the_text_of_a_note_ends_at_its_last_empty_line():
    note = Note.parse(POEM)
    assert note.text.endswith("\n\ned è subito sera.\n")
    assert [(mark.name, mark.key_id.hex()) for mark in note.signatures] == [("quasimodo.example/salvatore", "367ba04b")]


def test_the_published_note_opens_with_its_key_and_signatures_of_strangers_beside_it():
    key = VerifierKey.parse(VKEY)
    stranger = POEM.rsplit("\n\n", maxsplit=1)[-1]
    for marks in (SIGNATURE, stranger + SIGNATURE, SIGNATURE + stranger, stranger * 15 + SIGNATURE):
        assert open_note(f"{MESSAGE}\n{marks}", [key], check_signature).text == MESSAGE


def test_a_known_key_s_broken_signature_refuses_the_note_and_so_does_its_absence():
    key = VerifierKey.parse(VKEY)
    for text in (f"{MESSAGE} \n\n{SIGNATURE}", POEM):
        with pytest.raises(DomainError, match=r"does not hold|not signed by a known key"):
            open_note(text, [key], check_signature)


def test_a_published_key_signs_the_published_note():
    private = Ed25519PrivateKey.from_private_bytes(base64.b64decode(PETER_KEY)[1:])
    key = VerifierKey("PeterNeumann", private.public_key().public_bytes_raw())
    assert str(key) == PETER
    assert str(sign_note(QUIP, [(key, private.sign)])) == f"{QUIP}\n{BY_PETER}"


@pytest.mark.parametrize("known", [[PETER], [ENOCH], [PETER, ENOCH], [ENOCH, PETER]])
def test_a_published_note_of_two_signers_opens_with_either_key(alone, known):
    text = f"{QUIP}\n{BY_PETER}{BY_ENOCH}"
    assert open_note(text, [VerifierKey.parse(key) for key in known], check_signature).text == QUIP
    assert alone.signed_by(QUIP, BY_PETER + BY_ENOCH, alone.read_keys("\n".join(known))) == len(known) - 1


@pytest.mark.parametrize("name", MANGLED)
def test_published_manglings_of_a_note_are_refused(alone, name):
    with pytest.raises(DomainError):
        open_note(MANGLED[name], [VerifierKey.parse(PETER)], check_signature)
    with pytest.raises(alone.RefusedError):
        alone.open_checkpoint(MANGLED[name], alone.read_keys(PETER))


def test_no_part_of_a_published_key_is_one_nor_with_one_character_changed(alone):
    parts = [PETER[start:end] for start in range(len(PETER)) for end in range(start, len(PETER) + 1)]
    changed = [PETER[:at] + chr(ord(PETER[at]) + 1) + PETER[at + 1 :] for at in range(len(PETER))]
    odd = [  # of a wrong length, and of another algorithm, with their own key ids
        "PeterNeumann+cc469956+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TWBADKEY==",
        "PeterNeumann+173116ae+ZRpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW",
    ]
    for text in [part for part in parts if part != PETER] + changed + odd:
        with pytest.raises(DomainError):
            VerifierKey.parse(text)
        with pytest.raises(alone.RefusedError):
            alone.parse_key(text)
