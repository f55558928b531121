"""Tokens: RFC 6750 to the letter, who used which last, and a word before one ends."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from hivematrix_common import clock, token_use, tokens
from hivematrix_common.conffile import set_section

REMOTE = {"REMOTE_ADDR": "203.0.113.7"}


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


@pytest.mark.parametrize(
    ("header", "status", "challenge"),
    [
        (None, 401, "Bearer"),
        ("", 401, "Bearer"),
        ("Basic YTpi", 401, "Bearer"),
        ("Bearer", 401, 'Bearer error="invalid_token"'),
        ("Bearer ", 401, 'Bearer error="invalid_token"'),
        ("Bearer not-a-token", 401, 'Bearer error="invalid_token"'),
        ("Bearer \xff\xfe", 401, 'Bearer error="invalid_token"'),
        ("Bearer one two", 401, 'Bearer error="invalid_token"'),
        ("bearer {good}x", 401, 'Bearer error="invalid_token"'),
        ("Bearer {good}, Bearer {good}", 400, 'Bearer error="invalid_request"'),
    ],
)
def test_who_sends_no_good_token_is_told_as_rfc_6750_says(
    toy: Any, people: dict[str, str], header: str | None, status: int, challenge: str
) -> None:
    headers = {} if header is None else {"Authorization": header.replace("{good}", people["admin"])}
    refused = toy.get("/api/notes", None, headers=headers)
    assert (refused.status_code, refused.headers["WWW-Authenticate"]) == (status, challenge)


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_the_scheme_may_be_spelled_as_one_likes(toy: Any, people: dict[str, str], scheme: str) -> None:
    headers = {"Authorization": f"{scheme} {people['admin']}"}
    assert toy.get("/api/notes", None, headers=headers).status_code == 200


@pytest.mark.parametrize("place", [{"query_string": {"access_token": "{good}"}}, {"data": {"access_token": "{good}"}}])
def test_a_token_in_an_address_or_a_body_is_none(toy: Any, people: dict[str, str], place: dict[str, Any]) -> None:
    sent = {name: {"access_token": people["admin"]} for name in place}
    assert toy.call("POST", "/api/notes", None, **sent).headers["WWW-Authenticate"] == "Bearer"


@pytest.fixture
def noted(toy: Any) -> list[tuple[str, str | None]]:
    """What was noted of tokens' use."""
    found: list[tuple[str, str | None]] = []
    toy.app.extensions["hivematrix_note_use"] = lambda *use: found.append(use)
    return found


def test_the_use_of_a_token_is_noted_once_a_minute(
    toy: Any, people: dict[str, str], noted: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        toy.get("/api/notes", "auditor", environ_overrides=REMOTE)
    toy.get("/api/notes", "technician")
    ids = {name: tokens.token_id(people[name]) for name in ("auditor", "technician")}
    assert noted == [(ids["auditor"], "203.0.113.7"), (ids["technician"], "127.0.0.1")]
    later = token_use.time.monotonic() + token_use.NOTE_EVERY
    monkeypatch.setattr(token_use.time, "monotonic", lambda: later)
    toy.get("/api/notes", "auditor", environ_overrides=REMOTE)
    assert len(noted) == 3


def test_a_token_that_is_refused_was_not_used(toy: Any, noted: list[Any]) -> None:
    toy.get("/api/notes", "stranger")
    toy.get("/api/notes", None)
    assert noted == []


@pytest.mark.parametrize(
    ("days", "replaced_by", "warned"), [(13, "", True), (15, "", False), (None, "", False), (1, "abcdefgh", False)]
)
def test_a_token_in_use_that_ends_soon_is_told_once_a_day(
    toy: Any, caplog: pytest.LogCaptureFixture, days: int | None, replaced_by: str, warned: bool
) -> None:
    token = tokens.generate("reporting")
    expires = clock.instant_text(clock.now() + timedelta(days=days)) if days else ""
    values = {"caller": "reporting", "digest": tokens.digest(token), "scopes": "codex:read", "expires": expires}
    set_section(toy.settings.conf, f"caller:{tokens.token_id(token)}", values | {"replaced_by": replaced_by})
    for _ in range(2):
        assert toy.get("/api/notes", None, headers=bearer(token)).status_code == 200
    told = [record for record in caplog.records if "ends soon" in record.message]
    assert [vars(record)["caller"] for record in told] == ["reporting"] * warned
    assert all(token not in str(vars(record)) for record in told)


# The proxy in front

FORWARDED = {
    "X-Forwarded-For": "198.51.100.1, 203.0.113.9",
    "X-Forwarded-Proto": "https",
    "X-Forwarded-Host": "billing.example.com",
    "X-Forwarded-Prefix": "/toy",
}


@pytest.fixture
def seen(service: Callable[..., Any], toy_parts: Any) -> Callable[[str], tuple[str | None, str]]:
    """`seen(address)`: who calls and where, as the toy sees a forwarded request that comes from `address`."""

    def ask(address: str) -> tuple[str | None, str]:
        from flask import request

        toy = service(*toy_parts, {"service": {"trusted_proxy": "192.0.2.10"}})
        found: list[tuple[str | None, str]] = []
        toy.app.before_request_funcs[None].insert(0, lambda: found.append((request.remote_addr, request.root_url)))
        toy.get("/livez", None, headers=FORWARDED, environ_overrides={"REMOTE_ADDR": address})
        return found[0]

    return ask


def test_the_proxy_is_believed_about_who_calls(seen: Callable[[str], tuple[str | None, str]]) -> None:
    assert seen("192.0.2.10") == ("203.0.113.9", "https://billing.example.com/toy/")


@pytest.mark.parametrize("address", ["192.0.2.11", "127.0.0.1"])
def test_nobody_else_is(seen: Callable[[str], tuple[str | None, str]], address: str) -> None:
    assert seen(address) == (address, "http://localhost/")


def test_a_forwarded_request_is_never_local(service: Callable[..., Any], toy_parts: Any) -> None:
    toy = service(*toy_parts, {"service": {"trusted_proxy": "127.0.0.1"}})
    assert toy.get("/metrics", None).status_code == 200
    assert toy.get("/metrics", None, headers={"X-Forwarded-For": "127.0.0.1"}).status_code == 401
