"""Tokens given out, replaced without a call lost, and taken away."""

import json
import threading
from datetime import timedelta

import pytest
from hivematrix_common import clock, tokens
from hivematrix_common.auth import Registry
from hivematrix_common.config import Settings, conf_path
from hivematrix_common.errors import Problem
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain.mesh import GRANTS, SERVICES
from hivematrix_helm.services import tokens as use_cases
from hivematrix_helm.system import instance, session_key
from hivematrix_helm.system.confs import Conf, registrations


@pytest.fixture
def granted(home):
    """A home whose services hold the tokens of GRANTS."""
    for service in SERVICES:
        Conf(home, service).add("sessions", {"verify_keys": session_key.make(home)})
        Conf(home, service).add("pages", {"secret_key": "signs-forms-of-tests"})
        Conf(home, service).add("database", {"url": "postgresql://nobody@127.0.0.1:9/none"})
    instance._grant(home)
    return home


def held(home, caller, peer):
    return Conf(home, caller).section("services")[f"{peer}_token"]


def of(home, caller, peer):
    return [entry for entry in registrations(home, peer) if entry.caller == caller]


@pytest.mark.parametrize("caller", SERVICES)
def test_a_service_gets_a_new_token_for_every_peer_and_the_old_ones_go_on(granted, caller):
    peers = [peer for one, peer in GRANTS if one == caller]
    before = {peer: held(granted, caller, peer) for peer in peers}
    done = use_cases.rotate(granted, caller, "10m")
    assert len(done) == len(peers)
    for peer in peers:
        token = held(granted, caller, peer)
        by_digest = {entry.digest: entry for entry in of(granted, caller, peer)}
        new, old = by_digest[tokens.digest(token)], by_digest[tokens.digest(before[peer])]
        assert (token != before[peer], new.expires, new.scopes) == (True, None, old.scopes)
        assert old.replaced_by == new.id
        assert timedelta(minutes=9) < old.expires - clock.now() <= timedelta(minutes=10)


def test_at_most_two_tokens_of_a_caller_are_good(granted):
    for _ in range(3):
        use_cases.rotate(granted, "ledger")
    entries = of(granted, "ledger", "codex")
    assert sorted(entry.replaced_by is None for entry in entries) == [False, True]


def test_a_call_made_at_any_moment_of_a_rotation_is_known(granted, monkeypatch):
    """Whatever the caller's conf holds, the receiver knows: looked at before and after every file that is written."""
    seen = []
    real = tokens.conffile.set_section

    def watched(path, name, values):
        look()
        real(path, name, values)
        look()

    def look():
        token = tokens.digest(held(granted, "ledger", "codex"))
        found = [entry for entry in of(granted, "ledger", "codex") if entry.digest == token]
        seen.append(bool(found) and not found[0].expired(clock.now()))

    monkeypatch.setattr("hivematrix_common.conffile.set_section", watched)
    use_cases.rotate(granted, "ledger")
    assert len(seen) > 4
    assert all(seen)


def test_a_running_caller_and_a_running_receiver_take_up_the_new_token_by_themselves(granted):
    caller, receiver = helm_settings(granted), registry(granted, "codex")
    before = caller.peer_token("codex")
    use_cases.rotate(granted, "helm")
    after = caller.peer_token("codex")
    assert (after != before, receiver.find(after).caller, receiver.find(before).caller) == (True, "helm", "helm")


def helm_settings(home):
    return HelmSettings.load(home, environ={}, folder=home)


def registry(home, service):
    class Receiver(Settings):
        NAME = service

    return Registry(Receiver.load(home, environ={}, folder=home))


def test_callers_under_load_lose_no_call(granted):
    """Threads call while every token is replaced, again and again; the receiver knows each token it is shown."""
    caller, receivers = helm_settings(granted), {peer: registry(granted, peer) for one, peer in GRANTS if one == "helm"}
    stop, unknown, calls = threading.Event(), [], []

    def call():
        while not stop.is_set():
            for peer, receiver in receivers.items():
                entry = receiver.find(caller.peer_token(peer))
                calls.append(1)
                if entry is None or entry.expired(clock.now()):
                    unknown.append(peer)

    threads = [threading.Thread(target=call) for _ in range(4)]
    for thread in threads:
        thread.start()
    for _ in range(5):
        use_cases.rotate(granted, "helm")
    stop.set()
    for thread in threads:
        thread.join()
    assert calls
    assert unknown == []


def test_a_program_s_new_token_is_given_once_with_the_same_rights_and_the_same_span(granted):
    first = use_cases.issue(granted, "reporting", ["ledger:read", "archive:read"], clock.now() + timedelta(days=90))
    [given] = use_cases.rotate(granted, "reporting", "1h")
    assert (given.token != first.token, given.scopes) == (True, ("archive:read", "ledger:read"))
    assert timedelta(days=89) < given.expires - clock.now() <= timedelta(days=90)
    for service in ("ledger", "archive"):
        digests = {entry.digest for entry in of(granted, "reporting", service)}
        assert digests == {tokens.digest(first.token), tokens.digest(given.token)}
    [again] = use_cases.rotate(granted, "reporting")
    digests = {entry.digest for entry in of(granted, "reporting", "ledger")}
    assert digests == {tokens.digest(given.token), tokens.digest(again.token)}


def test_an_old_token_never_lives_longer_by_being_replaced(granted):
    end = clock.now() + timedelta(minutes=5)
    use_cases.issue(granted, "reporting", ["ledger:read"], end)
    [given] = use_cases.rotate(granted, "reporting", "24h")
    assert abs(given.old_ends - end) < timedelta(seconds=1)


def test_of_several_tokens_one_has_to_be_named(granted):
    one = use_cases.issue(granted, "reporting", ["ledger:read"], None)
    use_cases.issue(granted, "reporting", ["archive:read"], None)
    with pytest.raises(Problem, match="say which one"):
        use_cases.rotate(granted, "reporting")
    [given] = use_cases.rotate(granted, tokens.token_id(one.token))
    assert given.scopes == ("ledger:read",)


@pytest.mark.parametrize(
    ("overlap", "words"), [("25h", "at most 24h"), ("soon", "expected a time"), ("2020-01-01", "at most 24h")]
)
def test_an_overlap_is_a_day_at_most(granted, overlap, words):
    with pytest.raises(Problem, match=words):
        use_cases.rotate(granted, "ledger", overlap)
    assert len(of(granted, "ledger", "codex")) == 1


def test_what_is_not_there_cannot_be_replaced(granted):
    with pytest.raises(Problem, match="There is no token of nobody"):
        use_cases.rotate(granted, "nobody")


def test_one_token_of_a_service_can_be_replaced_by_its_id(granted):
    [entry] = of(granted, "ledger", "codex")
    other = held(granted, "ledger", "archive")
    assert len(use_cases.rotate(granted, entry.id)) == 1
    assert held(granted, "ledger", "archive") == other


def test_init_after_a_rotation_changes_nothing(granted):
    use_cases.rotate(granted, "ledger")
    before = conf_path(granted, "codex").read_text()
    instance._grant(granted)
    assert conf_path(granted, "codex").read_text() == before


class TestOverHttp:
    @pytest.fixture(autouse=True)
    def others(self, helm):
        """The confs of the services beside Helm."""
        for name in ("codex", "ledger", "archive"):
            Conf(helm.settings.home, name).add("service", {"port": "1"})

    def test_the_admin_gives_replaces_and_takes_away(self, helm):
        given = helm.post("/api/tokens", json={"name": "reporting", "scopes": ["ledger:read"], "expires": "90d"})
        assert (given.status_code, tokens.well_formed(given.json["token"])) == (201, True)
        [row] = self.rows(helm)
        assert (row["services"], row["ends_soon"], row["used_at"]) == (["ledger"], False, None)
        rotated = helm.post(f"/api/tokens/{row['id']}/rotate", json={"overlap": "1h"})
        assert rotated.json["old_ends"]
        first, second = self.rows(helm)
        replaced = first if first["replaced_by"] else second
        assert replaced["replaced_by"] == tokens.token_id(rotated.json["token"])
        for found in (first, second):
            assert helm.post(f"/api/tokens/{found['id']}/revoke").status_code == 200
        assert self.rows(helm) == []

    def rows(self, helm):
        answer = helm.get("/api/tokens")
        assert answer.json["silent"] == ["codex", "ledger", "archive"]
        return [row for row in answer.json["tokens"] if row["caller"] == "reporting"]

    def test_neither_list_nor_audit_hold_a_token_or_its_digest(self, helm):
        token = helm.post("/api/tokens", json={"name": "reporting", "scopes": ["ledger:read"]}).json["token"]
        listed = helm.get("/api/tokens").text
        audited = json.dumps(helm.get("/api/audit/entries").json) if "audit" in helm.app.blueprints else ""
        for text in (listed, audited):
            assert token not in text
            assert tokens.digest(token) not in text

    def test_a_service_s_name_is_no_id(self, helm):
        for act, body in (("rotate", {}), ("revoke", None)):
            assert helm.post(f"/api/tokens/ledger/{act}", json=body).status_code == 404

    @pytest.mark.parametrize(
        ("change", "field"),
        [
            ({"name": "ledger"}, "name"),
            ({"name": "A B"}, "name"),
            ({"scopes": []}, "scopes"),
            ({"scopes": ["root"]}, "scopes"),
            ({"expires": "2020-01-01"}, "expires"),
            ({"expires": "soon"}, "expires"),
        ],
    )
    def test_what_is_not_acceptable_is_named(self, helm, change, field):
        answer = helm.post("/api/tokens", json={"name": "reporting", "scopes": ["ledger:read"]} | change)
        assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, field)

    @pytest.mark.parametrize("person", ["billing_clerk", "technician", "auditor", "peer_service"])
    def test_nobody_else_gives_tokens(self, helm, person):
        assert helm.get("/api/tokens", person).status_code == 403
        assert helm.post("/api/tokens", person, json={"name": "x", "scopes": ["ledger:read"]}).status_code == 403

    def test_a_peer_tells_when_its_tokens_were_used(self, helm, fake_peer):
        token = helm.post("/api/tokens", json={"name": "reporting", "scopes": ["ledger:read"]}).json["token"]
        ledger = fake_peer("ledger")
        use = {"token_id": tokens.token_id(token), "used_at": "2025-11-03T09:00:00Z", "address": "192.0.2.9"}
        ledger.answers("GET", "/api/audit/token-uses", {"uses": [use]})
        object.__setattr__(helm.settings.services, "ledger_url", ledger.url)
        answer = helm.get("/api/tokens").json
        [row] = [row for row in answer["tokens"] if row["caller"] == "reporting"]
        assert (row["used_at"], row["used_from"]) == ("2025-11-03T09:00:00Z", "192.0.2.9")
        assert "ledger" not in answer["silent"]
