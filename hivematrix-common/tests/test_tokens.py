import json
import logging
import os
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hivematrix_common import clock, tokens
from hivematrix_common.domain.session import Claims
from hivematrix_common.logs import JsonFormatter
from hivematrix_common.session_tokens import issue
from hypothesis import given
from hypothesis import strategies as st


@given(st.from_regex(r"[a-z0-9][a-z0-9-]{0,20}", fullmatch=True))
def test_a_token_shows_its_caller_and_proves_its_spelling(caller: str) -> None:
    token = tokens.generate(caller)
    assert token.startswith(f"hm_{caller}_")
    assert tokens.well_formed(token)
    assert len(token) == len(caller) + 3 + 1 + 8 + 1 + 49


@given(st.integers(0, 40), st.characters(codec="ascii", categories=["L", "N"]))
def test_a_mistyped_token_is_not_well_formed(place: int, letter: str) -> None:
    token = tokens.generate("ledger")
    place = len(token) - 49 + place
    mistyped = token[:place] + letter + token[place + 1 :]
    assert tokens.well_formed(mistyped) is (mistyped == token)


def test_tokens_never_repeat() -> None:
    assert len({tokens.generate("x") for _ in range(1000)}) == 1000


def test_a_caller_has_a_plain_name() -> None:
    with pytest.raises(ValueError, match="small letters"):
        tokens.generate("Ledger_1")


def test_an_unknown_scope_is_refused_and_nothing_is_written(home: Any) -> None:
    conf = home / "instance" / "toy.conf"
    with pytest.raises(ValueError, match=r"unknown codex:all"):
        tokens.register(conf, tokens.generate("x"), "x", ["codex:all"])
    assert not conf.exists()


def test_a_registered_token_works_at_once_and_a_revoked_one_no_more(toy: Any) -> None:
    token = tokens.generate("late")
    headers = {"Authorization": f"Bearer {token}"}
    assert toy.get("/api/notes", None, headers=headers).status_code == 401
    tokens.register(toy.settings.conf, token, "late", ["codex:read"])
    assert toy.get("/api/notes", None, headers=headers).status_code == 200
    assert token not in toy.settings.conf.read_text()
    tokens.unregister(toy.settings.conf, tokens.token_id(token))
    assert toy.get("/api/notes", None, headers=headers).status_code == 401


def test_an_expired_token_is_refused(toy: Any) -> None:
    token = tokens.generate("late")
    tokens.register(toy.settings.conf, token, "late", ["codex:read"], clock.now() - timedelta(seconds=1))
    assert toy.get("/api/notes", None, headers={"Authorization": f"Bearer {token}"}).status_code == 401


def test_a_conf_that_became_unreadable_lets_nobody_in(toy: Any) -> None:
    assert toy.get("/api/notes").status_code == 200
    with toy.settings.conf.open("a") as conf:
        conf.write("[caller:broken]\n")
    os.utime(toy.settings.conf, (1, 1))
    assert toy.get("/api/notes").status_code == 401


def test_refusals_are_logged_without_the_token(
    toy: Any, people: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    toy.get("/api/notes", "stranger")
    assert "refused" in caplog.text
    assert people["stranger"] not in "".join(str(record.__dict__) for record in caplog.records)


def test_a_token_pasted_into_an_address_is_kept_without_its_secret_part(own_toy: Any) -> None:
    token = tokens.generate("ada")
    assert own_toy.get(f"/api/notes?{token}", None).status_code == 401
    assert own_toy.get(f"/api/companies/{token}", None).status_code == 401
    with closing(own_toy.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("SELECT target FROM audit.entries ORDER BY id")
        assert cursor.fetchall() == [("/api/notes",), (f"/api/companies/{token[:16]}...",)]


def test_a_log_line_holds_no_token_whoever_wrote_it(signing_key: Any) -> None:
    token, session = tokens.generate("ada"), issue(signing_key, Claims("1", "ada", "Ada", "admin", "s"))
    record = logging.makeLogRecord(
        {"msg": "asked with %s and %s", "args": (token, session), "header": f"Bearer {token}"}
    )
    line = JsonFormatter("toy").format(record)
    assert token not in line
    assert session.rpartition(".")[2] not in line
    assert json.loads(line)["header"] == f"Bearer {token[:16]}..."


def test_a_line_is_written_whatever_stands_in_it() -> None:
    record = logging.makeLogRecord({"msg": "half a letter \ud800", "number": 2**70, "path": Path("/srv")})
    line = json.loads(JsonFormatter("toy").format(record))
    assert (line["message"], line["number"], line["path"]) == ("half a letter \ud800", 2**70, "/srv")
