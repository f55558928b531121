"""Every refusal has one shape; every route needs what it says; nothing inside is shown."""

from typing import Any

import pytest
from hivematrix_common.errors import CODES


def shape_of(answer: Any) -> dict[str, Any]:
    assert answer.mimetype == "application/problem+json"
    problem = answer.get_json()
    assert {"type", "title", "status", "detail", "code", "trace_id", "instance"} <= set(problem)
    assert problem["status"] == answer.status_code == CODES[problem["code"]][0]
    return problem


def test_no_token_is_a_bare_challenge(toy: Any) -> None:
    answer = toy.get("/api/notes", None)
    assert shape_of(answer)["code"] == "unauthorized"
    assert answer.headers["WWW-Authenticate"] == "Bearer"


def test_a_strangers_token_is_invalid(toy: Any) -> None:
    answer = toy.get("/api/notes", "stranger")
    assert shape_of(answer)["code"] == "invalid_token"
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="invalid_token"'


def test_a_token_without_the_scope_is_refused_and_told_which(toy: Any) -> None:
    answer = toy.post("/api/notes", "peer_service", json={"text": "x"})
    assert shape_of(answer)["code"] == "insufficient_scope"
    assert answer.headers["WWW-Authenticate"] == 'Bearer error="insufficient_scope", scope="codex:write"'


def test_a_route_that_names_no_scope_is_closed_to_everyone(toy: Any) -> None:
    assert toy.get("/forgotten", "admin").status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "arguments", "code"),
    [
        ("GET", "/nowhere", {}, "not_found"),
        ("PUT", "/api/notes", {}, "method_not_allowed"),
        ("POST", "/api/notes", {"data": b"{", "content_type": "application/json"}, "bad_request"),
        ("POST", "/api/notes", {"data": b"text=x", "content_type": "text/plain"}, "unsupported_media_type"),
        ("POST", "/api/notes", {"json": {"text": 5}}, "invalid"),
        ("POST", "/api/notes", {"json": {"text": "x", "more": 1}}, "invalid"),
        ("POST", "/api/notes", {"json": {"text": "x" * 2_200_000}}, "body_too_large"),
        ("POST", "/api/lines", {"data": b'{}\n{"a":\n'}, "bad_request"),
        ("GET", "/api/broken", {}, "internal"),
    ],
)
def test_every_refusal_is_a_problem(toy: Any, method: str, path: str, arguments: dict[str, Any], code: str) -> None:
    assert shape_of(toy.call(method, path, **arguments))["code"] == code


def test_a_fault_inside_is_not_told(toy: Any) -> None:
    assert "secret detail" not in toy.get("/api/broken").get_data(as_text=True)


def test_a_field_fault_names_the_field(toy: Any) -> None:
    problem = toy.post("/api/notes", json={"text": "x", "price": "12.34567"}).get_json()
    assert problem["errors"] == [{"field": "price", "message": "Value error, at most 4 decimals, got 12.34567"}]


def test_a_route_may_take_larger_bodies(toy: Any) -> None:
    assert toy.post("/api/lines", data=b'{"a":1}\n' * 300_000).get_json() == 300_000


def test_another_time_zone_is_told_before_a_wrong_bill_is_made(toy: Any) -> None:
    answer = toy.get("/api/notes", headers={"X-Billing-Timezone": "Europe/Berlin"})
    problem = shape_of(answer)
    assert problem["code"] == "billing_config_mismatch"
    assert "Europe/Berlin" in problem["detail"]
    assert "UTC" in problem["detail"]


def test_a_passed_deadline_stops_the_work(toy: Any) -> None:
    assert shape_of(toy.get("/api/notes", headers={"X-Request-Deadline": "0"}))["code"] == "deadline_exceeded"


def test_the_callers_trace_goes_on(toy: Any) -> None:
    trace = "4bf92f3577b34da6a3ce929d0e0e4736"
    answer = toy.get("/nowhere", headers={"traceparent": f"00-{trace}-00f067aa0ba902b7-01"})
    assert answer.get_json()["trace_id"] == trace
    assert answer.headers["X-Trace-Id"] == trace


def test_answers_carry_the_security_headers(toy: Any) -> None:
    headers = toy.get("/api/notes").headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "default-src 'none'" in headers["Content-Security-Policy"]
    assert headers["Cache-Control"] == "no-store"


def test_the_description_names_scopes_and_problems(toy: Any) -> None:
    description = toy.get("/api/openapi.json").get_json()
    operation = description["paths"]["/api/notes"]["post"]
    assert operation["security"] == [{"bearer": ["codex:write"]}]
    assert "application/problem+json" in operation["responses"]["default"]["content"]
    assert description["openapi"].startswith("3.1")


def test_the_description_can_be_read(toy: Any) -> None:
    page = toy.get("/api/docs")
    assert page.mimetype == "text/html"
    assert "/api/notes" in page.get_data(as_text=True)


def test_a_busy_service_says_so_at_once(toy: Any) -> None:
    gate = toy.app.extensions["hivematrix_gate"]
    taken = [gate.acquire(blocking=False) for _ in range(3)]
    answer = toy.get("/api/notes")
    assert taken == [True] * 3
    assert shape_of(answer)["code"] == "busy"
    assert answer.headers["Retry-After"] == "1"


def test_metrics_count_routes_for_this_host_and_for_token_holders_only(toy: Any) -> None:
    toy.get("/api/notes")
    assert b'hm_requests_total{method="GET",route="/api/notes",status="200"} 1.0' in toy.get("/metrics", None).data
    proxied = {"X-Forwarded-For": "203.0.113.9"}
    assert toy.get("/metrics", None, headers=proxied).status_code == 401
    assert toy.get("/metrics", "auditor", headers=proxied).status_code == 200
