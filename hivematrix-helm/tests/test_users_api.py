import contextlib
import threading

import pytest
from hivematrix_helm.app import create_app
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.services import accounts, passwords, sessions, sign_in
from hivematrix_helm.store import people
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

MAYA = {"name": "Maya@Lakeshore.example", "display_name": "Maya Ortiz", "role": "billing"}


def test_the_admin_adds_somebody_and_hands_on_a_generated_password(helm):
    answer = helm.post("/api/users", json=MAYA)
    assert answer.status_code == 201, answer.json
    user = answer.json["user"]
    assert (user["name"], user["role"], user["must_change"]) == ("maya@lakeshore.example", "billing", True)
    assert sign_in.by_password("MAYA@lakeshore.example", answer.json["password"], "192.0.2.7")
    assert [row["name"] for row in helm.get("/api/users").json["users"]] == ["maya@lakeshore.example"]


def test_a_password_that_was_given_is_not_shown_again(helm, password):
    assert helm.post("/api/users", json=MAYA | {"password": password}).json["password"] is None


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"name": "may\u0430"}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"display_name": "Maya\u202e"}, "display_name"),
        ({"role": "root"}, "role"),
        ({"role": "client"}, "account_number"),
        ({"account_number": "620547"}, "account_number"),
        ({"password": "maya ortiz 2026"}, "password"),
        ({"password": "x" * 1001}, "password"),
        ({"must_change": False}, "must_change"),
    ],
)
def test_what_is_not_acceptable_is_named_and_nobody_is_added(helm, change, field):
    answer = helm.post("/api/users", json=MAYA | change)
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, field)
    assert helm.get("/api/users").json["users"] == []


def test_no_answer_repeats_a_password(helm):
    answer = helm.post("/api/users", json=MAYA | {"password": "maya ortiz 2026"})
    assert "maya ortiz 2026" not in answer.text


def test_a_name_is_given_once(helm):
    helm.post("/api/users", json=MAYA)
    answer = helm.post("/api/users", json=MAYA | {"name": "maya@LAKESHORE.example"})
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")


@pytest.mark.parametrize("person", ["billing_clerk", "technician", "auditor", "client_user", "peer_service"])
def test_nobody_else_keeps_accounts(helm, person):
    assert helm.get("/api/users", person).status_code == 403
    assert helm.post("/api/users", person, json=MAYA).status_code == 403


@pytest.mark.parametrize("act", ["role", "password", "disable", "enable", "sign-out", "second-factor-off"])
def test_somebody_unknown_is_not_found(helm, act):
    body = {"json": {"role": "admin"}} if act == "role" else {"json": {}} if act == "password" else {}
    assert helm.post(f"/api/users/paul/{act}", **body).status_code == 404


@pytest.fixture
def maya(helm, add_user, password):
    """Maya, signed in; and what Helm signed for her."""
    add_user("maya")
    found = sign_in.by_password("maya", password, "192.0.2.7")
    return sign_in.admit(helm.settings, found, "192.0.2.7", "Firefox")


@pytest.mark.parametrize(
    ("act", "body"),
    [
        ("role", {"role": "technician"}),
        ("password", {}),
        ("disable", None),
        ("sign-out", None),
        ("second-factor-off", None),
    ],
)
def test_whatever_changes_what_somebody_may_ends_their_sessions(helm, maya, act, body):
    assert sessions.renew(helm.settings, maya)
    assert helm.post(f"/api/users/maya/{act}", json=body).status_code == 200
    assert sessions.renew(helm.settings, maya) is None
    assert len(sessions.revoked()) == 1


def test_who_is_disabled_cannot_sign_in_until_enabled(helm, maya, password):
    assert helm.post("/api/users/maya/disable").json["user"]["disabled_at"]
    assert sign_in.by_password("maya", password, "192.0.2.7") is None
    assert helm.post("/api/users/maya/enable").json["user"]["disabled_at"] is None
    assert sign_in.by_password("maya", password, "192.0.2.7")
    assert sessions.renew(helm.settings, maya) is None


def test_the_last_administrator_stays(helm, add_user):
    add_user("ada", "admin")
    add_user("bob", "admin")
    assert helm.post("/api/users/bob/disable").status_code == 200
    for act, body in (("disable", None), ("role", {"role": "billing"})):
        answer = helm.post(f"/api/users/ada/{act}", json=body)
        assert (answer.status_code, "last administrator" in answer.json["detail"]) == (409, True)
    assert helm.post("/api/users/bob/enable").status_code == 200
    assert helm.post("/api/users/ada/role", json={"role": "billing"}).status_code == 200
    assert helm.post("/api/users/bob/disable").status_code == 409


def test_two_administrators_who_demote_each_other_at_once_leave_one(service, home, password, monkeypatch):
    helm = service(HelmSettings, create_app, isolation="copy")
    both_looked, really = threading.Barrier(2), people.another_administrator

    def look(person_id):
        found = really(person_id)
        with contextlib.suppress(threading.BrokenBarrierError):
            both_looked.wait(1)  # the other one may not come: it has to wait until this one is done
        return found

    monkeypatch.setattr(people, "another_administrator", look)
    for name in ("ada", "bob"):
        accounts.add(name, name, "admin", password=password)
    start, outcomes = threading.Barrier(2), []

    def demote(name):
        start.wait()
        outcomes.append(helm.app.test_client().post(f"/api/users/{name}/disable", headers=helm.headers("admin")))

    threads = [threading.Thread(target=demote, args=(name,)) for name in ("ada", "bob")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answer.status_code for answer in outcomes) == [200, 409]


def test_a_client_has_a_company(helm):
    carol = MAYA | {"name": "carol", "role": "client", "account_number": "620547"}
    assert helm.post("/api/users", json=carol).json["user"]["account_number"] == "620547"
    assert helm.post("/api/users/carol/role", json={"role": "client"}).status_code == 422
    assert helm.post("/api/users/carol/role", json={"role": "auditor"}).json["user"]["account_number"] is None


def test_what_was_done_stands_in_the_audit_without_the_password(helm):
    helm.post("/api/users", json=MAYA | {"password": "seven marmalade tractors"})
    rows = helm.db.session.execute(text("SELECT target, outcome, details::text FROM audit.entries")).all()
    assert [(row.target, row.outcome) for row in rows] == [("maya@lakeshore.example", "allowed")]
    assert "marmalade" not in str(rows)


def test_nobody_s_hash_costs_what_everybody_s_does():
    assert not passwords._HASHER.check_needs_rehash(passwords._NOBODY)
    assert passwords._HASHER.hash("x").split("$")[:4] == passwords._NOBODY.split("$")[:4]


def test_no_more_than_two_passwords_are_worked_on_at_a_time(monkeypatch):
    monkeypatch.setattr(passwords, "_WAIT_SECONDS", 0.01)
    with passwords._in_gate(), passwords._in_gate(), pytest.raises(Exception, match="Too many people sign in"):
        passwords.matches(None, "x")
    assert not passwords.matches(None, "x")


def test_an_endless_password_is_wrong_without_work(monkeypatch):
    worked = []
    monkeypatch.setattr(passwords._HASHER.__class__, "verify", lambda _self, _hash, typed: worked.append(typed))
    passwords.matches(None, "x" * 5_000_000)
    assert worked == [""]


def test_a_statement_that_fails_is_not_told_with_what_was_sent(helm):
    with pytest.raises(DBAPIError) as failed:
        helm.db.session.execute(text("SELECT 1 FROM people WHERE id = :secret"), {"secret": "violet kettle orbit"})
    assert "[SQL parameters hidden" in str(failed.value)
