"""Every refusal has one shape; every route needs what it says; nothing inside is shown."""

from datetime import date
from typing import Annotated, Any, Literal

import pytest
from hivematrix_common.errors import CODES
from hivematrix_common.schemas import NO_NUL, Account, Model, PeriodText, spelled, told
from pydantic import Field, ValidationError


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
        ("GET", "/api/full", {}, "disk_full"),
    ],
)
def test_every_refusal_is_a_problem(toy: Any, method: str, path: str, arguments: dict[str, Any], code: str) -> None:
    assert shape_of(toy.call(method, path, **arguments))["code"] == code


def test_a_fault_inside_is_not_told(toy: Any) -> None:
    assert "secret detail" not in toy.get("/api/broken").get_data(as_text=True)
    assert "secret" not in toy.get("/api/full").get_data(as_text=True)


def test_a_field_fault_names_the_field(toy: Any) -> None:
    problem = toy.post("/api/notes", json={"text": "x", "price": "12.34567"}).get_json()
    assert problem["errors"] == [{"field": "price", "message": "at most 4 decimals, got 12.34567"}]


class Sent(Model):
    account: Account
    name: Annotated[str, Field(max_length=3, pattern=NO_NUL)] = ""
    count: Annotated[int, Field(ge=1, le=12)] = 1
    is_new: bool = False
    on: date | None = None
    kind: Literal["a", "b"] = "a"
    code: Annotated[str, spelled("^x[0-9]$", "x and a digit")] = "x1"
    strange: Annotated[str, Field(pattern="^y$")] = "y"
    period: PeriodText | None = None
    names: Annotated[list[str], Field(max_length=1)] | None = None
    part: dict[str, str] | None = None


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"account": None}, "account: expected text, got None"),
    ({"account": "6/../x"}, "account: expected 1 to 32 letters and digits, got 6/../x"),
    ({"account": "\x1b[31m"}, "account: expected 1 to 32 letters and digits, got \\x1b[31m"),
    ({"more": 1}, "more: unknown member"),
    ({"name": "a\0"}, "name: expected text without NUL, got a\\x00"),
    ({"name": "abcd"}, "name: expected at most 3 characters, got abcd"),
    ({"count": "x"}, "count: expected a whole number, got x"),
    ({"count": 1.5}, "count: expected a whole number, got 1.5"),
    ({"count": 13}, "count: expected 12 or less, got 13"),
    ({"count": 0}, "count: expected 1 or more, got 0"),
    ({"is_new": "perhaps"}, "is_new: expected true or false, got perhaps"),
    ({"on": "31.10.2025"}, "on: expected a date such as 2025-10-31, got 31.10.2025"),
    ({"kind": "c"}, "kind: expected 'a' or 'b', got c"),
    ({"code": "y"}, "code: expected x and a digit, got y"),
    ({"strange": "x"}, "strange: expected the form ^y$, got x"),
    ({"period": "2025-13"}, "period: expected 1 to 12, got 13 in '2025-13'"),
    ({"names": "x"}, "names: expected a list, got x"),
    ({"names": ["x", "y"]}, "names: expected at most 1 items, got 2"),
    ({"part": []}, "part: expected an object"),
]


@pytest.mark.parametrize(("members", "fault"), WRONG)
def test_a_refusal_says_in_plain_words_what_was_expected(members: dict[str, Any], fault: str) -> None:
    with pytest.raises(ValidationError) as refused:
        Sent.model_validate({"account": "620547"} | members)
    assert [f"{one['loc'][0]}: {told(one)}" for one in refused.value.errors()] == [fault]


def test_a_refusal_does_not_say_a_password_again() -> None:
    class Change(Model):
        password: Annotated[str, Field(max_length=9)]
        name: Annotated[str, Field(max_length=9)]

    with pytest.raises(ValidationError) as refused:
        Change.model_validate({"password": "violet kettle", "name": "somebody else"})
    words = "expected at most 9 characters"
    assert list(map(told, refused.value.errors())) == [words, f"{words}, got somebody else"]


@pytest.mark.parametrize("body", [b"[]", b"[1]", b'"x"', b"5", b"null", b"true"])
def test_a_body_that_is_no_object_is_told_so(toy: Any, body: bytes) -> None:
    problem = shape_of(toy.call("POST", "/api/notes", data=body, content_type="application/json"))
    assert problem["errors"] == [{"field": "body", "message": "expected an object"}]


def test_a_missing_member_is_told_so(toy: Any) -> None:
    assert toy.post("/api/notes", json={}).get_json()["errors"] == [{"field": "text", "message": "missing"}]


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
    assert operation["security"] == [{"bearer": ["codex:write"]}, {"session": ["codex:write"]}]
    assert description["components"]["securitySchemes"]["session"]["name"] == "hm_session"
    assert "application/problem+json" in operation["responses"]["default"]["content"]
    assert description["openapi"].startswith("3.1")


def test_without_pages_the_description_knows_of_no_session(service: Any, toy_parts: Any) -> None:
    description = service(*toy_parts, {"pages": {"enabled": "no"}}).get("/api/openapi.json").get_json()
    assert description["paths"]["/api/notes"]["post"]["security"] == [{"bearer": ["codex:write"]}]
    assert list(description["components"]["securitySchemes"]) == ["bearer"]


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
