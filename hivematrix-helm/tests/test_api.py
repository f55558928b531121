import json

import pytest
from hivematrix_helm import store
from hivematrix_helm.system import control, meshfile
from hivematrix_helm.system.processes import Identity, identify
from sqlalchemy import text


def line(level="INFO", message="request", minute=0, **members):
    base = {"time": f"2025-11-01T12:{minute:02}:00.000+00:00", "level": level, "service": "x", "message": message}
    return json.dumps(base | members) + "\n"


@pytest.fixture
def asked(monkeypatch):
    """A supervisor that obeys."""
    questions = []

    def answer(_folder, question):
        questions.append(question)
        return {"state": "stopping", "pid": 7}

    monkeypatch.setattr(control, "ask", answer)
    return questions


def test_the_services_are_listed_with_their_addresses(helm):
    listed = helm.get("/api/services").json["services"]
    assert [row["name"] for row in listed] == ["codex", "ledger", "archive", "helm"]
    assert listed[0]["url"] == helm.settings.services.codex_url
    assert listed[0]["url"].endswith(f":{listed[0]['port']}")


def test_what_does_not_run_is_said_to_be_unreachable(helm):
    found = helm.get("/api/services/status").json
    assert found["supervised"] is False
    assert {(row["status"], row["health"]) for row in found["services"]} == {("unknown", "unreachable")}


def test_a_peer_that_answers_tells_its_own_reason(helm, fake_peer):
    peer = fake_peer("ledger")
    peer.answers("GET", "/readyz", {"status": "fail", "reason": "schema: never migrated"}, status=503)
    object.__setattr__(helm.settings.services, "ledger_url", peer.url)
    row = helm.get("/api/services/ledger/status").json
    assert (row["status"], row["health"], row["health_message"]) == ("running", "unready", "schema: never migrated")


def test_the_supervisor_s_account_is_shown_while_it_lives(helm):
    import os

    unit = {"state": "refused", "pid": None, "created": None, "since": "x", "restarts": 2, "failures": 2, "why": "typo"}
    meshfile.write(helm.settings.home, meshfile.Mesh(identify(os.getpid()), "2025-11-01T00:00:00Z", {"ledger": unit}))
    row = helm.get("/api/services/ledger/status").json
    assert (row["status"], row["restarts"], row["why"]) == ("refused", 2, "typo")
    meshfile.write(helm.settings.home, meshfile.Mesh(Identity(2**22 + 1, 0), "2025-11-01T00:00:00Z", {"ledger": unit}))
    assert helm.get("/api/services/ledger/status").json["status"] == "unknown"


@pytest.mark.parametrize("action", ["start", "stop", "restart"])
def test_an_order_is_handed_to_the_supervisor_and_recorded(helm, asked, action):
    answer = helm.post(f"/api/services/ledger/{action}", "technician")
    assert (answer.status_code, answer.json["success"], answer.json["pid"]) == (200, True, 7)
    assert asked == [{"do": action, "service": "ledger"}]
    recorded = helm.db.session.execute(text("SELECT caller, service, action FROM operations")).all()
    assert recorded == [("technician", "ledger", action)]


def test_an_order_is_carried_out_though_it_cannot_be_recorded(helm, asked, monkeypatch):
    def lost(*_):
        helm.db.session.execute(text("SELECT nothing_of_that_name"))

    monkeypatch.setattr(store, "add_operation", lost)
    assert helm.post("/api/services/ledger/restart", "technician").status_code == 200
    assert asked


def test_reading_does_not_allow_operating(helm, asked):
    answer = helm.post("/api/services/ledger/stop", "auditor")
    assert (answer.status_code, answer.json["code"]) == (403, "insufficient_scope")
    assert asked == []


@pytest.mark.parametrize("path", ["/api/services/postgres/status", "/api/services/nexus/status"])
def test_an_unknown_service_is_not_found(helm, path):
    answer = helm.get(path)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


def test_without_a_supervisor_an_order_is_503(helm):
    answer = helm.post("/api/services/ledger/start")
    assert (answer.status_code, answer.json["code"]) == (503, "peer_unavailable")


@pytest.fixture
def logged(helm):
    folder = helm.settings.home / "logs"
    (folder / "codex.log").write_text(line(minute=1, trace_id="a" * 32) + line("ERROR", "broken", minute=4))
    (folder / "ledger.log").write_text(line(minute=2, trace_id="a" * 32) + line("WARNING", "slow", minute=3))
    return helm


def messages(answer):
    assert answer.status_code == 200, answer.json
    return [(row["service"], row["message"]) for row in answer.json["logs"]]


def test_logs_of_all_services_are_merged_by_time(logged):
    assert messages(logged.get("/api/logs")) == [
        ("codex", "request"),
        ("ledger", "request"),
        ("ledger", "slow"),
        ("codex", "broken"),
    ]
    assert messages(logged.get("/api/logs?limit=2")) == [("ledger", "slow"), ("codex", "broken")]


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("service=codex", 2),
        ("level=WARNING", 2),
        ("trace_id=" + "a" * 32, 2),
        ("since=2025-11-01T12:03:00Z", 2),
        ("since=1s", 0),
        ("service=helm", 0),
    ],
)
def test_logs_are_filtered(logged, query, count):
    assert len(messages(logged.get(f"/api/logs?{query}"))) == count


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "level=LOUD", "since=yesterday", "trace_id=x", "nonsense=1"]
)
def test_a_bad_query_is_422_and_names_the_member(logged, query):
    answer = logged.get(f"/api/logs?{query}")
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, query.partition("=")[0])


def test_logs_outside_the_folder_cannot_be_asked_for(logged):
    assert logged.get("/api/logs?service=nexus").status_code == 404
    assert logged.get("/api/logs?service=../instance/helm").status_code == 422
