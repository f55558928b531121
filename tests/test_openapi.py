"""Each service against its own description: hostile requests make no server fault, answers are as described."""

import os
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

SERVICES = ("codex", "ledger", "archive", "helm")
SCOPES = (
    *("codex:read", "codex:write", "ledger:read", "ledger:write", "ledger:accept"),
    *("archive:read", "archive:seal", "archive:admin", "helm:read", "helm:admin", "helm:sessions", "audit:read"),
)
# The small size of the proof; scripts/prove asks for the full one, about 10,000 requests a service.
EXAMPLES = int(os.environ.get("PROOF_EXAMPLES", "4"))
CONFORMANCE = (content_type_conformance, response_schema_conformance, status_code_conformance)
SERVER_FAULT = 500


@schemathesis.serializer("application/x-ndjson")
def ndjson_text(_context: Any, value: Any) -> bytes | str:
    return value if isinstance(value, bytes) else str(value)


def attack(operation: Any, token: str, base: str) -> list[str]:
    """Many requests to one operation, allowed by its description and not; the faults found."""
    faults: list[str] = []

    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
        phases=[Phase.explicit, Phase.generate],
    )
    @given(case=operation.as_strategy())
    def send(case: Any) -> None:
        try:
            answer = case.call(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=30)
        except (requests.exceptions.InvalidURL, requests.exceptions.InvalidHeader, UnicodeError):
            return  # the client cannot send it, so no server sees it
        if answer.status_code >= SERVER_FAULT:
            faults.append(f"{case.method} {case.formatted_path}: {answer.status_code} {answer.text[:300]}")
        case.validate_response(answer, checks=list(CONFORMANCE))

    send()
    return faults


@pytest.mark.mesh
@pytest.mark.parametrize("name", SERVICES)
def test_hostile_requests_make_no_server_fault_and_answers_are_as_described(name: str, mesh: Any) -> None:
    base = mesh.url(name)
    schema = schemathesis.openapi.from_url(f"{base}/api/openapi.json")
    operations = [found.ok() for found in schema.get_all_operations()]
    # A service that a request stops would fail the ones after it.
    safe = [operation for operation in operations if not operation.path.endswith(("/start", "/stop", "/restart"))]
    assert len(safe) > 3
    assert [fault for operation in safe for fault in attack(operation, mesh.token(*SCOPES), base)] == []
