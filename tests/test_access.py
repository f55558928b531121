"""The table of access (docs/reference/access.md) held to be true: every route is asked by everybody there is.

The questions are made from each service's own routes, so none can be forgotten. Who is let in meets the real view, with
things that do not exist and forms that say nothing; all of it is rolled back.
"""

import base64
import importlib
import json
import logging
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hivematrix_common import auth, clock, session_tokens, sessions, tokens
from hivematrix_common.config import SERVICES, conf_path
from hivematrix_common.domain.roles import CLIENT, ROLES, SCOPES
from hivematrix_common.domain.session import Claims
from hivematrix_common.logs import JsonFormatter
from hivematrix_common.postgres import free_port
from hivematrix_common.testing import ROLE_OF, Service
from hivematrix_helm.domain.mesh import GRANTS
from werkzeug.test import TestResponse

sys.path.append(str(Path(__file__).resolve().parents[1] / "scripts"))

import access
import reference

ROOT = Path(__file__).resolve().parents[1]
ELSEWHERE = {"REMOTE_ADDR": "192.0.2.7"}
OWN, NEIGHBOUR = "620547", "183729"
PERSON_OF = {role: person for person, role in ROLE_OF.items()}
INVALID = 'Bearer error="invalid_token"'
PARAMETER = re.compile(r"<(?:([^:<>]+):)?([^<>]+)>")
REFUSED = """SELECT trace_id, outcome, address, concat_ws(' ', actor, action, target, details::text)
    FROM audit.entries WHERE status IN (401, 403) ORDER BY id"""


@dataclass(frozen=True)
class Row:
    """A line of the table."""

    method: str
    path: str
    page: bool
    scope: str
    clients_by: str
    answers: dict[str, str]

    @property
    def public(self) -> bool:
        return self.scope == auth.PUBLIC

    @property
    def safe(self) -> bool:
        return self.method in auth.SAFE_METHODS

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


@cache
def table() -> dict[str, list[Row]]:
    """What the committed page says, by service."""
    page = (ROOT / "docs" / "reference" / "access.md").read_text(encoding="utf-8")
    found: dict[str, list[Row]] = {}
    for name, lines in re.findall(r"^## (\w+) \(port \d+\)\n\n((?:\|.*\n)+)", page, re.MULTILINE):
        head, _, *rows = [[cell.strip(" `") for cell in line.strip("|\n").split("|")] for line in lines.splitlines()]
        found[name] = [
            Row(row[0], row[1], row[2] == "page", row[3], row[4], dict(zip(head[5:], row[5:], strict=True)))
            for row in rows
        ]
    return found


@dataclass
class Door:
    """A service that is asked, and what came of it."""

    name: str
    service: Service
    secrets: set[str] = field(default_factory=set)
    answers: list[TestResponse] = field(default_factory=list)
    signed_in: dict[str, str] = field(default_factory=dict)

    def token(self, name: str, *scopes: str, expires: Any = None) -> str:
        """A token that this service knows."""
        token = tokens.generate(name)
        tokens.register(conf_path(self.service.settings.home, self.name), token, name, scopes, expires)
        return token

    def session(self, role: str, **claims: Any) -> str:
        """A session token that says what is claimed, or else a good one; Helm has it in its books."""
        if self.name != "helm" or claims:
            return self.service.session_token(PERSON_OF[role], **claims)
        from hivematrix_helm.services import sessions as books

        if not (role in self.signed_in and books.lives(self.sid(self.signed_in[role]))):
            self.signed_in[role] = self._begin(role)
        return self.signed_in[role]

    def sid(self, token: str) -> str:
        return session_tokens.Verifier(self.service.settings).read(token).sid

    def csrf(self, token: str | None) -> dict[str, str]:
        """What the forms of that session send; without one, those of somebody who is not signed in."""
        name = sessions.cookie_name(self.service.settings)
        self.service.client.delete_cookie(name)
        if token:
            self.service.client.set_cookie(name, token)
        return self.service.csrf()

    def ask(
        self,
        row: Row,
        *,
        bearer: str | None = None,
        cookie: str | None = None,
        bad_cookie: str | None = None,
        account: str = OWN,
        headers: dict[str, str] | None = None,
    ) -> TestResponse:
        """Ask for something that is not there; what changes something says nothing, in a form that is whole."""
        sent = {"Accept": "text/html" if row.page else "application/json"} | self.csrf(cookie) | (headers or {})
        if bad_cookie:
            self.service.client.set_cookie(sessions.cookie_name(self.service.settings), bad_cookie)
        if bearer is not None:
            sent["Authorization"] = bearer
        named = PARAMETER.sub(lambda match: filled(account, *match.groups()), row.path)
        answer = self.service.client.open(
            named,
            method=row.method,
            query_string={"account_number": account} if row.clients_by == "account_number" else {},
            headers=sent,
            environ_base=ELSEWHERE,
            **({} if row.safe else {"data": {}} if row.page else {"json": {}}),
        )
        given = {word for word in [*(bearer or "").split(), cookie or "", bad_cookie or ""] if len(word) > 20}
        assert [secret for secret in given if secret in answer.text] == []
        self.secrets |= given
        self.answers.append(answer)
        return answer

    def _begin(self, role: str) -> str:
        from hivematrix_helm.services import accounts
        from hivematrix_helm.services import sessions as books
        from hivematrix_helm.store import people, session

        name = f"the-{role}"
        if people.named(name) is None:
            accounts.add(name, name, role, OWN if role == CLIENT else None)
        token = books.begin(self.service.settings, people.named(name), ELSEWHERE["REMOTE_ADDR"], "tests")
        session().commit()
        return token

    def verdict(self, row: Row, answer: TestResponse) -> str:
        """In the table's words."""
        if answer.status_code in {401, 403}:
            return str(answer.status_code)
        to = urlsplit(answer.headers.get("Location", ""))
        asked = self.service.settings.public_url(self.name) + (
            answer.request.path if row.method in {"GET", "HEAD"} else "/"
        )
        back = parse_qs(to.query).get("next", [""])[0].partition("?")[0]
        if (answer.status_code, to.path.endswith("/login"), back) == (303, True, asked):
            return access.SIGN_IN
        assert answer.status_code != 500, f"{row}: {answer.text[:500]}"
        return access.YES

    def check_refused(self, row: Row, answer: TestResponse, challenge: str) -> None:
        """As RFC 6750 has it, and in the shape that its reader understands."""
        assert answer.headers["WWW-Authenticate"] == challenge, row
        assert answer.mimetype == ("text/html" if row.page else "application/problem+json"), row
        code = {"401": "unauthorized", "403": "insufficient_scope"}[str(answer.status_code)]
        code = "invalid_token" if "invalid_token" in challenge else code
        assert code in answer.text, row


@pytest.fixture
def open_door(
    service: Callable[..., Service], home: Path, caplog: pytest.LogCaptureFixture
) -> Iterator[Callable[[str], Door]]:
    """`open_door("ledger")`: the service on a clean database, with no peer that answers.

    Afterwards every refusal has to stand in the log and, once, in the audit; neither holds what was sent.
    """
    caplog.set_level(logging.INFO)
    doors: list[Door] = []

    def make(name: str) -> Door:
        for folder in ("logs", "run"):
            (home / folder).mkdir(exist_ok=True)
        nobody = {f"{peer}_url": f"http://127.0.0.1:{free_port()}" for peer in SERVICES}
        create_app = importlib.import_module(f"hivematrix_{name}.app").create_app
        doors.append(Door(name, service(reference.settings_class(name), create_app, {"services": nobody}, "copy")))
        return doors[-1]

    yield make
    for door in doors:
        check_traces_left(door, caplog)


def check_traces_left(door: Door, caplog: pytest.LogCaptureFixture) -> None:
    refused = [answer for answer in door.answers if answer.status_code in {401, 403}]
    with closing(door.service.owner()) as owner, owner.cursor() as cursor:
        cursor.execute(REFUSED)
        rows = cursor.fetchall()
    assert [trace for trace, *_ in rows] == [answer.headers["X-Trace-Id"] for answer in refused]
    assert {(outcome, address) for _, outcome, address, _ in rows} <= {("refused", ELSEWHERE["REMOTE_ADDR"])}
    lines = [JsonFormatter(door.name).format(record) for record in caplog.get_records("call")]
    told = [line for line in map(json.loads, lines) if line.get("status") in {401, 403}]
    assert len(told) == len(refused)
    everything = "\n".join([*lines, *(said for *_, said in rows)])
    assert [secret for secret in door.secrets if secret in everything] == []


def test_every_route_stands_in_the_table_and_says_who_may_use_it() -> None:
    for name in SERVICES:
        app = reference.app_of(name)
        assert access.faults(name, app) == []
        assert [(route.method, route.path) for route in access.routes(name, app)] == [
            (row.method, row.path) for row in table()[name]
        ]


@pytest.mark.parametrize(
    ("said", "told"),
    [
        ({}, "codex: GET /more: scope none, client False"),
        ({"hm_scope": "codex:raed"}, "codex: GET /more: scope codex:raed, client False"),
        ({"hm_scope": "codex:read", "hm_client": "acount"}, "codex: GET /more: scope codex:read, client acount"),
    ],
)
def test_a_route_that_does_not_say_who_may_use_it_is_told(said: dict[str, str], told: str) -> None:
    app = reference.app_of("codex")

    def more() -> str:
        return "open to all?"

    more.__dict__.update(said)
    app.add_url_rule("/more", view_func=more)
    assert access.faults("codex", app) == [told]
    assert len(access.routes("codex", app)) == len(table()["codex"]) + 1


NO_CREDENTIALS = {
    "nothing": None,
    "another scheme": "Basic bWF5YTpzZWNyZXQ=",
    "a token without its scheme": tokens.generate("admin"),
}


@pytest.mark.parametrize("name", SERVICES)
def test_without_a_token_the_challenge_is_bare_and_pages_lead_to_the_sign_in(open_door: Any, name: str) -> None:
    door = open_door(name)
    for sent in NO_CREDENTIALS.values():
        for row in table()[name]:
            answer = door.ask(row, bearer=sent)
            assert door.verdict(row, answer) == row.answers["nobody"], f"{row} with {sent}"
            if answer.status_code == 401:
                door.check_refused(row, answer, "Bearer")


@pytest.mark.parametrize("name", SERVICES)
def test_head_and_options_open_no_door_that_get_does_not(open_door: Any, name: str) -> None:
    door = open_door(name)
    for row in [row for row in table()[name] if row.method == "GET"]:
        for asked in (replace(row, method="HEAD"), replace(row, method="OPTIONS")):
            assert door.verdict(asked, door.ask(asked)) == row.answers["nobody"], asked


def bad_tokens(door: Door) -> dict[str, str]:
    revoked = door.token("revoked", *SCOPES)
    assert tokens.unregister(conf_path(door.service.settings.home, door.name), tokens.token_id(revoked))
    return {
        "nothing": "",
        "no token at all": "token of mine",
        "one letter short": door.token("short", *SCOPES)[:-1],
        "unknown": tokens.generate("stranger"),
        "expired": door.token("expired", *SCOPES, expires=clock.now()),
        "revoked": revoked,
        "a session": door.session("admin"),
    }


@pytest.mark.parametrize("name", SERVICES)
def test_a_bad_token_is_invalid_everywhere_and_tells_nothing_else(open_door: Any, name: str) -> None:
    door = open_door(name)
    for what, token in bad_tokens(door).items():
        for row in table()[name]:
            answer = door.ask(row, bearer=f"Bearer {token}")
            assert door.verdict(row, answer) == (access.YES if row.public else "401"), f"{row}: {what}"
            if answer.status_code == 401:
                door.check_refused(row, answer, INVALID)


@pytest.mark.parametrize("name", SERVICES)
def test_a_bad_token_is_not_saved_by_a_good_session(open_door: Any, name: str) -> None:
    door = open_door(name)
    for row in table()[name]:
        answer = door.ask(row, bearer=f"Bearer {tokens.generate('stranger')}", cookie=door.session("admin"))
        assert door.verdict(row, answer) == (access.YES if row.public else "401"), row


@pytest.mark.parametrize("name", SERVICES)
def test_two_tokens_at_once_are_a_bad_request(open_door: Any, name: str) -> None:
    door = open_door(name)
    both = f"Bearer {door.token('one', *SCOPES)}, Bearer {door.token('two', *SCOPES)}"
    for row in [row for row in table()[name] if not row.public]:
        answer = door.ask(row, bearer=both)
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (400, 'Bearer error="invalid_request"'), row


def filled(account: str, kind: str | None, name: str) -> str:
    """A parameter of a path: the account that is asked for, or what is nowhere to be found."""
    return account if name == "account_number" else "7" if kind == "int" else "unknown"


def insufficient(row: Row) -> str:
    return 'Bearer error="insufficient_scope"' + (f', scope="{row.scope}"' if row.scope in SCOPES else "")


@pytest.mark.parametrize("name", SERVICES)
def test_every_scope_but_the_one_is_insufficient(open_door: Any, name: str) -> None:
    door = open_door(name)
    for row in [row for row in table()[name] if row.scope in {*SCOPES, auth.PERSON}]:
        others = door.token("others", *(scope for scope in SCOPES if scope != row.scope))
        answer = door.ask(row, bearer=f"Bearer {others}")
        assert door.verdict(row, answer) == "403", row
        door.check_refused(row, answer, insufficient(row))


def tampered(door: Door) -> str:
    head, body, signature = door.session("auditor").split(".")
    said = json.loads(base64.urlsafe_b64decode(body + "==")) | {"role": "admin"}
    body = base64.urlsafe_b64encode(json.dumps(said).encode()).decode().rstrip("=")
    return f"{head}.{body}.{signature}"


def bad_sessions(door: Door, set_clock: Callable[[str], None]) -> dict[str, str]:
    ended = door.session("admin")
    end(door, session_tokens.Verifier(door.service.settings).read(ended))
    others = [service for service in SERVICES if service != door.name]
    claims = Claims("1", "ada", "Ada", "admin", "session-of-ada")
    set_clock("2020-01-01T00:00:00Z")
    expired = door.session("admin", sid="long-gone")
    set_clock("")
    return {
        "for other services": session_tokens.issue(door.service.signing_key, claims, others),
        "signed by another": session_tokens.issue(Ed25519PrivateKey.generate(), claims),
        "tampered": tampered(door),
        "ended": ended,
        "expired": expired,
        "a service's token": door.token("ledger", *SCOPES),
    }


def end(door: Door, claims: Claims) -> None:
    if door.name == "helm":
        from hivematrix_helm.services import sessions as books

        assert books.end(int(claims.id), "by the test", sid=claims.sid) == 1
    door.service.helm.ended.add(claims.sid)
    known = sessions.of(door.service.app)
    assert known
    known.refresh()


@pytest.mark.parametrize("name", SERVICES)
def test_a_bad_session_is_none(open_door: Any, set_clock: Any, name: str) -> None:
    door = open_door(name)
    for what, cookie in bad_sessions(door, set_clock).items():
        for row in table()[name]:
            answer = door.ask(row, bad_cookie=cookie)
            assert door.verdict(row, answer) == row.answers["nobody"], f"{row}: {what}"
            if answer.status_code == 401:
                door.check_refused(row, answer, "Bearer")


@pytest.mark.parametrize("name", SERVICES)
def test_each_role_gets_what_the_table_says(open_door: Any, name: str) -> None:
    door = open_door(name)
    for role in ROLES:
        for row in table()[name]:
            answer, wanted = door.ask(row, cookie=door.session(role)), row.answers[role]
            assert door.verdict(row, answer) == (access.YES if wanted == access.OWN else wanted), f"{row}: {role}"
            if answer.status_code == 403:
                door.check_refused(row, answer, insufficient(row))


@pytest.mark.parametrize("name", SERVICES)
def test_a_client_is_told_of_a_neighbour_what_it_is_told_of_nobody(open_door: Any, name: str) -> None:
    door = open_door(name)
    for row in [row for row in table()[name] if row.clients_by == "account_number"]:
        assert row.answers[CLIENT] == access.OWN
        answer = door.ask(row, cookie=door.session(CLIENT), account=NEIGHBOUR)
        assert answer.status_code == 404, row
        assert f"There is no company {NEIGHBOUR}." in answer.text, row
        assert answer.json is None if row.page else answer.json["code"] == "not_found", row


@pytest.mark.parametrize("name", SERVICES)
def test_each_service_gets_what_it_was_granted(open_door: Any, name: str) -> None:
    door = open_door(name)
    for caller in SERVICES:
        granted = GRANTS.get((caller, name))
        token = door.token(caller, *granted) if granted else tokens.generate(caller)
        for row in table()[name]:
            answer = door.ask(row, bearer=f"Bearer {token}")
            assert door.verdict(row, answer) == row.answers[caller], f"{row}: {caller}"
            if answer.status_code == 403:
                door.check_refused(row, answer, insufficient(row))


@pytest.mark.parametrize("name", SERVICES)
def test_what_changes_something_by_session_needs_the_form_s_token(open_door: Any, name: str) -> None:
    """A webhook knows no session: its sender proves itself otherwise."""
    door = open_door(name)
    foreign = door.csrf(door.session("admin", sid="another"))["X-CSRF-Token"]
    for row in [row for row in table()[name] if not row.safe and (row.page or not row.public)]:
        for sent in ("", "forged", foreign):
            answer = door.ask(row, cookie=door.session("admin"), headers={"X-CSRF-Token": sent})
            assert answer.status_code == 403, row
            assert "csrf_failed" in answer.text, row
