"""Only Helm's own tokens, for this service, saying what can be, are anybody's."""

import base64
import json
from collections.abc import Callable
from typing import Any

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hivematrix_common.conffile import set_section
from hivematrix_common.domain.session import Claims, key_id, parse_keys
from hivematrix_common.session_tokens import TYPE, InvalidSessionError, Verifier, age, expired, issue, needs_renewal

NOW = 1_762_077_600  # 2025-11-02T10:00:00Z
CLERK = Claims("7", "maya", "Maya Lind", "billing", "sid-1")
CLIENT = Claims("8", "joe", "Joe Park", "client", "sid-2", account="620547")
GOOD = CLERK.as_json() | {"aud": ["toy"], "iat": NOW, "exp": NOW + 900}


def public(key: Ed25519PrivateKey) -> bytes:
    return key.public_key().public_bytes_raw()


def text_of(*keys: Ed25519PrivateKey) -> str:
    return " ".join(base64.b64encode(public(key)).decode() for key in keys)


@pytest.fixture
def verifier(set_clock: Callable[[str], None], toy_settings: Callable[..., Any]) -> Verifier:
    set_clock("2025-11-02T10:00:00Z")
    return Verifier(toy_settings())


@pytest.fixture
def sign(signing_key: Ed25519PrivateKey) -> Callable[..., str]:
    """`sign(changes, header=...)`: a token that is good but for the changes; None takes a claim away."""

    def made(changes: dict[str, Any] | None = None, header: dict[str, Any] | None = None, **options: Any) -> str:
        claims = {name: value for name, value in (GOOD | (changes or {})).items() if value is not None}
        headers = {"kid": key_id(public(signing_key)), "typ": TYPE} | (header or {})
        key, algorithm = options.get("key", signing_key), options.get("algorithm", "EdDSA")
        return jwt.encode(claims, key, algorithm, headers=headers)

    return made


@pytest.mark.parametrize("person", [CLERK, CLIENT])
def test_what_helm_issues_is_read_as_it_was_meant(
    verifier: Verifier, signing_key: Ed25519PrivateKey, person: Claims
) -> None:
    read = verifier.read(issue(signing_key, person, ["toy"]))
    assert (read.issued, read.expires) == (NOW, NOW + 15 * 60)
    assert read.as_json() | {"iat": 0, "exp": 0} == person.as_json()


def test_a_token_is_for_the_four_services_of_the_mesh(signing_key: Ed25519PrivateKey) -> None:
    token = issue(signing_key, CLERK)
    assert jwt.decode(token, options={"verify_signature": False})["aud"] == ["codex", "ledger", "archive", "helm"]


@pytest.mark.parametrize(
    "changes",
    [
        {"aud": ["codex"]},
        {"aud": None},
        {"iss": "hivematrix-codex"},
        {"iss": None},
        {"iat": NOW + 60},
        {"iat": None},
        {"iat": "now"},
        {"iat": True},
        {"exp": None},
        {"exp": "never"},
        {"exp": 1e30},
        {"sub": None},
        {"sub": 7},
        {"sid": None},
        {"sid": ""},
        {"name": ["maya"]},
        {"role": None},
        {"role": "owner"},
        {"role": "client"},
        {"role": "client", "account": ""},
        {"role": "client", "account": 620547},
        {"account": "620547"},
    ],
)
def test_a_claim_that_cannot_be_is_refused(verifier: Verifier, sign: Callable[..., str], changes: Any) -> None:
    assert verifier.read(sign()).sid == "sid-1"
    with pytest.raises(InvalidSessionError):
        verifier.read(sign(changes))


@pytest.mark.parametrize("header", [{"kid": "another"}, {"kid": ""}, {"typ": "JWT"}, {"typ": None}])
def test_an_unknown_key_or_another_kind_of_token_is_refused(
    verifier: Verifier, sign: Callable[..., str], header: Any
) -> None:
    with pytest.raises(InvalidSessionError):
        verifier.read(sign(header=header))


def test_a_stranger_cannot_sign_in_helms_name(verifier: Verifier, sign: Callable[..., str]) -> None:
    with pytest.raises(InvalidSessionError):
        verifier.read(sign(key=Ed25519PrivateKey.generate()))


def test_the_public_key_is_no_shared_secret(
    verifier: Verifier, sign: Callable[..., str], signing_key: Ed25519PrivateKey
) -> None:
    with pytest.raises(InvalidSessionError):
        verifier.read(sign(key=public(signing_key), algorithm="HS256"))


def test_an_unsigned_token_is_refused(verifier: Verifier, sign: Callable[..., str]) -> None:
    unsigned = sign(key=None, algorithm="none")
    for token in (unsigned, sign().rpartition(".")[0] + ".", sign().rpartition(".")[0]):
        with pytest.raises(InvalidSessionError):
            verifier.read(token)


def test_the_key_a_token_brings_along_is_not_used(verifier: Verifier, sign: Callable[..., str]) -> None:
    own = Ed25519PrivateKey.generate()
    jwk = {"kty": "OKP", "crv": "Ed25519", "x": base64.urlsafe_b64encode(public(own)).rstrip(b"=").decode()}
    with pytest.raises(InvalidSessionError):
        verifier.read(sign(key=own, header={"jwk": jwk}))


def test_a_changed_claim_breaks_the_signature(verifier: Verifier, sign: Callable[..., str]) -> None:
    head, _, tail = sign().split(".")
    body = base64.urlsafe_b64encode(json.dumps(GOOD | {"role": "admin"}).encode()).rstrip(b"=").decode()
    with pytest.raises(InvalidSessionError):
        verifier.read(f"{head}.{body}.{tail}")


@pytest.mark.parametrize("token", ["", ".", "..", "a.b.c", "hm_x", "é.é.é", "eyJhbGciOiJFZERTQSJ9.e30.AA", "x" * 9000])
def test_garbage_is_refused_and_no_fault(verifier: Verifier, token: str) -> None:
    with pytest.raises(InvalidSessionError):
        verifier.read(token)


def test_a_token_is_renewed_after_ten_minutes_and_expires_after_fifteen(
    verifier: Verifier, sign: Callable[..., str], set_clock: Callable[[str], None]
) -> None:
    claims, seen = verifier.read(sign()), []
    for instant in ("10:09:59", "10:10:00", "10:15:04", "10:15:05"):
        set_clock(f"2025-11-02T{instant}Z")
        seen.append((needs_renewal(claims), expired(claims)))
    assert seen == [(False, False), (True, False), (True, False), (True, True)]
    assert age(claims) == 905
    assert verifier.read(sign()).sid == "sid-1", "an expired token may still be exchanged for a fresh one"


def test_two_keys_hold_while_one_takes_the_others_place(
    verifier: Verifier, sign: Callable[..., str], signing_key: Ed25519PrivateKey, home: Any
) -> None:
    new, conf = Ed25519PrivateKey.generate(), home / "instance" / "toy.conf"
    later = issue(new, CLERK, ["toy"])
    with pytest.raises(InvalidSessionError):
        verifier.read(later)
    set_section(conf, "sessions", {"verify_keys": text_of(new, signing_key)})
    assert verifier.read(later).sid == verifier.read(sign()).sid
    set_section(conf, "sessions", {"verify_keys": text_of(new)})
    assert verifier.read(later)
    with pytest.raises(InvalidSessionError):
        verifier.read(sign())


@pytest.mark.parametrize("text", ["AAAA", "not base64", "é", base64.b64encode(b"x" * 33).decode()])
def test_a_key_that_is_none_stops_the_start(text: str) -> None:
    with pytest.raises(ValueError, match="base64 of 32 bytes"):
        parse_keys(text)
