"""Who did what, over a whole mesh: a month close is a few rows with one trace, and none is lost while Helm is down."""

import time
from typing import Any

import psutil
import pytest

pytestmark = pytest.mark.mesh
AUDIT = ("audit:read",)


def trail(mesh: Any, **query: Any) -> list[dict[str, Any]]:
    answer = mesh.call("GET", "helm", "/api/audit", AUDIT, params={"limit": 1000, **query})
    assert answer.ok, answer.text
    found: list[dict[str, Any]] = answer.json()["entries"]
    return found


def wait_for(mesh: Any, number: int, **query: Any) -> list[dict[str, Any]]:
    """The rows that fit, once there are so many of them."""
    until = time.monotonic() + 30
    while len(found := trail(mesh, **query)) < number:
        assert time.monotonic() < until, found
        time.sleep(0.2)
    return found


def written(mesh: Any, service: str) -> set[str]:
    return {str(uid) for (uid,) in mesh.sql(service, "SELECT uid FROM audit.entries")}


def wait_until_all_is_collected(mesh: Any) -> None:
    until = time.monotonic() + 60
    for service in ("codex", "ledger", "archive"):
        while missing := written(mesh, service) - {str(uid) for (uid,) in mesh.sql("helm", COLLECTED, (service,))}:
            assert time.monotonic() < until, (service, missing)
            time.sleep(0.2)


COLLECTED = "SELECT uid FROM audit.collected WHERE service = %s"
DOUBLED = "SELECT uid FROM audit.collected GROUP BY uid HAVING count(*) > 1"


def test_a_month_close_is_a_row_a_page_found_by_one_trace(mesh: Any) -> None:
    mesh.snapshots("--year", "2012", "--month", "1", "--all")
    [job] = wait_for(mesh, 1, action="sealing job", target="2012-01")
    assert (job["service"], job["actor_kind"], job["outcome"]) == ("archive", "job", "allowed")
    assert job["actor"].endswith("at the command line")
    found = {(row["service"], row["actor"], row["action"]): row for row in wait_for(mesh, 3, trace_id=job["trace_id"])}
    accepted = found["ledger", "archive", "POST /api/bills/accept"]
    assert accepted["details"]["idempotency_key"].startswith(f"job-{job['details']['job']}-")
    assert found["archive", "ledger", "POST /api/snapshots/batch"]["details"]["bills"] > 1
    assert len(found) == 3


def test_a_refusal_anywhere_is_found_at_helm(mesh: Any) -> None:
    answer = mesh.call("POST", "archive", "/api/scheduler/config", ("archive:read",), json={"hour": 3})
    assert answer.status_code == 403
    [row] = wait_for(mesh, 1, trace_id=answer.headers["X-Trace-Id"])
    expected = ("archive", mesh.caller("archive:read"), "refused", 403)
    assert (row["service"], row["actor"], row["outcome"], row["status"]) == expected


def test_nothing_is_lost_while_helm_is_down(mesh: Any) -> None:
    helm = psutil.Process(mesh.pid("helm"))
    helm.suspend()
    try:
        codes = [mesh.call("GET", "codex", "/api/companies", ("logs:write",)).status_code for _ in range(20)]
        mesh.snapshots("--year", "2012", "--month", "2", "--all")
    finally:
        helm.kill()
    assert set(codes) == {401}
    mesh.wait_ready()
    wait_until_all_is_collected(mesh)
    assert mesh.sql("helm", DOUBLED) == []


@pytest.mark.parametrize("place", ["audit-fetched", "audit-taken", "audit-kept"])
def test_a_collector_killed_anywhere_loses_and_doubles_nothing(mesh: Any, place: str) -> None:
    mesh.strike(f"{place}=kill")
    mesh.call("GET", "ledger", "/api/bills?period=2012-01", ("codex:read",))
    until = time.monotonic() + 30
    while not mesh.struck:
        assert time.monotonic() < until
        time.sleep(0.1)
    mesh.wait_ready()
    wait_until_all_is_collected(mesh)
    assert mesh.sql("helm", DOUBLED) == []


def test_an_act_cut_off_before_its_commit_leaves_no_row_of_it(mesh: Any) -> None:
    """Codex dies between the row and the commit: neither is there; after the commit both are."""
    body = {"files": ("companies.csv", "account_number,name,billing_plan\naudit1,Cut off,Inactive\n")}
    codex = ("codex:write",)
    for place, there in (("audit-added", 0), ("import-committed", 1)):
        mesh.token(*codex)
        mesh.strike(f"{place}=kill")
        with pytest.raises(Exception, match="Connection"):
            mesh.call("POST", "codex", "/api/import", codex, files=body)
        mesh.wait_ready()
        assert mesh.sql("codex", "SELECT count(*) FROM companies WHERE name = 'Cut off'") == [(there,)]
        rows = "SELECT count(*) FROM audit.entries WHERE actor = %s AND outcome = 'allowed'"
        assert mesh.sql("codex", rows, (mesh.caller(*codex),)) == [(there,)]
