"""What the other services ask Helm about people's sessions."""

import threading

import jwt
import pytest
from hivematrix_common import tokens
from hivematrix_common.session_tokens import Verifier
from hivematrix_helm.app import create_app
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.services import accounts, sessions, sign_in
from hivematrix_helm.store import people

HERE = "192.0.2.7"


@pytest.fixture(autouse=True)
def at(set_clock):
    set_clock("2025-11-03T09:00:00Z")
    return lambda time: set_clock(f"2025-11-03T{time}Z")


def registered(helm, name):
    token = tokens.generate(name)
    tokens.register(helm.settings.conf, token, name, ["helm:sessions"])
    helm.people[name] = token


@pytest.fixture
def codex(helm):
    registered(helm, "codex")
    return helm


@pytest.fixture
def maya(helm, add_user):
    return add_user("maya", theme="dark")


@pytest.fixture
def token(helm, maya):
    return sign_in.admit(helm.settings, maya, HERE, "Firefox")


def renew(codex, token):
    return codex.post("/api/sessions/renew", "codex", json={"token": token})


def test_a_token_says_who_and_as_what_for_fifteen_minutes_at_every_service(codex, token):
    claims = jwt.decode(token, options={"verify_signature": False})
    assert (claims["name"], claims["role"], claims["theme"]) == ("maya", "billing", "dark")
    assert claims["aud"] == ["codex", "ledger", "archive", "helm"]
    assert claims["exp"] - claims["iat"] == 900
    assert Verifier(codex.settings).read(token).name == "maya"


def test_a_renewed_token_says_what_the_account_is_now(codex, maya, token, at):
    people.change(maya.id, display_name="Maya Ortiz-Lund")
    at("09:11:00")
    fresh = Verifier(codex.settings).read(renew(codex, token).json["token"])
    assert (fresh.display, fresh.sid) == ("Maya Ortiz-Lund", Verifier(codex.settings).read(token).sid)
    assert fresh.expires - fresh.issued == 900


def test_an_expired_token_is_renewed_while_its_session_lives(codex, token, at):
    at("10:30:00")
    assert renew(codex, token).status_code == 200


def test_a_session_left_alone_for_two_hours_has_ended(codex, token, at):
    at("11:00:01")
    answer = renew(codex, token)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_after_twelve_hours_one_signs_in_again(codex, token, at):
    for hour in range(10, 21):
        at(f"{hour}:00:00")
        token = renew(codex, token).json["token"]
    at("20:59:59")
    assert renew(codex, token).status_code == 200
    at("21:00:00")
    assert renew(codex, token).status_code == 404


def test_an_old_token_of_a_living_session_is_worth_nothing(codex, token, at):
    at("10:00:00")
    fresh = renew(codex, token).json["token"]
    at("11:30:00")
    assert renew(codex, fresh).status_code == 200
    assert renew(codex, token).status_code == 404


def test_what_helm_did_not_sign_is_not_renewed(codex, token):
    header, _, signature = token.split(".")
    forged = jwt.encode({"sub": "1"}, "x" * 32, "HS256")
    for rubbish in ("", "x", forged, f"{header}.e30.{signature}", token[:-2]):
        assert renew(codex, rubbish).status_code == 404


def test_what_ended_is_told_as_long_as_a_token_of_it_may_live(codex, token, at):
    assert codex.get("/api/sessions/revoked", "codex").json == {"revoked": []}
    accounts.sign_out("maya")
    sid = Verifier(codex.settings).read(token).sid
    assert codex.get("/api/sessions/revoked", "codex").json == {"revoked": [sid]}
    at("09:15:59")
    assert codex.get("/api/sessions/revoked", "codex").json == {"revoked": [sid]}
    at("09:16:00")
    assert codex.get("/api/sessions/revoked", "codex").json == {"revoked": []}


def exchange(helm, code, service="codex"):
    return helm.post("/api/sessions/exchange", service, json={"code": code})


def test_a_code_is_exchanged_once_by_the_service_it_was_made_for(codex, token):
    registered(codex, "ledger")
    sid = Verifier(codex.settings).read(token).sid
    code = sessions.hand_over_code(sid, "codex")
    assert exchange(codex, code, "ledger").status_code == 404
    assert Verifier(codex.settings).read(exchange(codex, code).json["token"]).sid == sid
    assert exchange(codex, code).status_code == 404


def test_a_code_is_worth_nothing_after_a_minute(codex, token, at):
    code = sessions.hand_over_code(Verifier(codex.settings).read(token).sid, "codex")
    at("09:01:00")
    assert exchange(codex, code).status_code == 404


def test_a_code_of_an_ended_session_is_worth_nothing(codex, token):
    code = sessions.hand_over_code(Verifier(codex.settings).read(token).sid, "codex")
    accounts.sign_out("maya")
    assert exchange(codex, code).status_code == 404


def test_two_who_bring_the_same_code_at_once_get_one_token(service, home, password):
    helm = service(HelmSettings, create_app, isolation="copy")
    registered(helm, "codex")
    accounts.add("maya", "Maya", "billing", password=password, must_change=False)
    token = sign_in.admit(helm.settings, sign_in.by_password("maya", password, HERE), HERE, "Firefox")
    code = sessions.hand_over_code(Verifier(helm.settings).read(token).sid, "codex")
    start, answers = threading.Barrier(3), []

    def bring():
        start.wait()
        client = helm.app.test_client()
        answers.append(client.post("/api/sessions/exchange", json={"code": code}, headers=helm.headers("codex")))

    threads = [threading.Thread(target=bring) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in answers) == [200, 404, 404]


@pytest.mark.parametrize("person", ["admin", "auditor"])
def test_no_person_asks_for_sessions(helm, person):
    helm.sign_in(person)
    assert helm.get("/api/sessions/revoked", None).status_code == 403
    assert helm.post("/api/sessions/renew", None, json={"token": "x"}, headers=helm.csrf()).status_code == 403
