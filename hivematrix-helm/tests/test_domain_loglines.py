import json
from datetime import UTC, datetime

import pytest
from hivematrix_helm.domain.loglines import Filter, parse
from hivematrix_helm.domain.mesh import GRANTS, SERVICES, log_origin, services_of
from hivematrix_helm.domain.times import after, before

NOON = datetime(2025, 11, 1, 12, tzinfo=UTC)


def line(**members):
    base = {"time": "2025-11-01T12:00:00.000+00:00", "level": "INFO", "service": "ledger", "message": "request"}
    return json.dumps(base | members)


def one(text, service="ledger"):
    [entry] = parse(service, [text])
    return entry


def test_a_structured_line_keeps_its_parts():
    entry = one(line(trace_id="ab" * 16, status=200))
    assert (entry.time, entry.level, entry.message, entry.trace_id) == (NOON, "INFO", "request", "ab" * 16)
    assert entry.context == {"status": 200}
    assert entry.as_text() == "2025-11-01 12:00:00 ledger   INFO     request status=200"


def test_what_is_no_json_is_an_error_at_the_time_of_the_line_before():
    entries = list(parse("ledger", [line(), "Traceback (most recent call last):\n", "", "{broken"]))
    assert [(e.level, e.message) for e in entries[1:]] == [
        ("ERROR", "Traceback (most recent call last):"),
        ("ERROR", "{broken"),
    ]
    assert {e.time for e in entries} == {NOON}


@pytest.mark.parametrize("text", ["{}", '{"level": 1}', "[1]", '{"time": "x", "level": "INFO", "message": "m"}'])
def test_json_of_another_shape_is_kept_as_text(text):
    assert one(text).message == text


def test_a_word_in_a_message_makes_no_level():
    assert one(line(message="0 errors")).level == "INFO"


@pytest.mark.parametrize(
    ("word", "level"), [("LOG", "INFO"), ("FATAL", "ERROR"), ("WARNING", "WARNING"), ("PANIC", "CRITICAL")]
)
def test_postgres_lines_have_time_and_level(word, level):
    entry = one(f"2025-11-01 12:00:00.000 UTC [77] {word}:  database system is ready", "postgres")
    assert (entry.time, entry.level, entry.message) == (NOON, level, "database system is ready")


def test_a_filter_takes_a_level_and_those_above_it():
    found = [
        level for level in ("DEBUG", "INFO", "WARNING", "ERROR") if Filter("WARNING").takes(one(line(level=level)))
    ]
    assert found == ["WARNING", "ERROR"]


def test_a_filter_takes_one_trace_and_what_is_not_older():
    entry = one(line(trace_id="a"))
    assert Filter(trace_id="a", since=NOON).takes(entry)
    assert not Filter(trace_id="b").takes(entry)
    assert not Filter(since=after("1s", NOON)).takes(entry)


def test_times_are_spans_or_instants():
    assert before("90m", NOON) == datetime(2025, 11, 1, 10, 30, tzinfo=UTC)
    assert after("30d", NOON) == datetime(2025, 12, 1, 12, tzinfo=UTC)
    assert before("2025-11-01T13:00+01:00", NOON) == NOON
    assert before("2025-11-01T12:00", NOON) == NOON
    with pytest.raises(ValueError, match="expected a time such as"):
        before("yesterday", NOON)
    with pytest.raises(ValueError, match="expected a time such as"):
        before("0001-01-01T00:00+14:00", NOON)


def test_scopes_go_to_the_services_they_name_and_logs_to_helm():
    assert services_of(("ledger:read", "logs:write", "ledger:write")) == {
        "ledger": ["ledger:read", "ledger:write"],
        "helm": ["logs:write"],
    }


def test_peers_are_granted_what_they_call_and_nothing_of_their_own():
    assert {name for pair in GRANTS for name in pair} == set(SERVICES)
    assert all(caller != peer for caller, peer in GRANTS)
    for (caller, peer), scopes in GRANTS.items():
        # Every service has an audit, which Helm collects.
        named = set(services_of(tuple(scope for scope in scopes if scope != "audit:read")))
        assert (named, "audit:read" in scopes) == ({peer}, caller == "helm")
    assert {scopes for (_, peer), scopes in GRANTS.items() if peer == "helm"} == {("helm:sessions",)}


def test_the_log_is_named_by_its_public_address_without_scheme():
    assert log_origin("https://billing.example.com/") == "billing.example.com/archive/log"
