"""The deployment guide's lines, as they stand there (only the ports are this mesh's)."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.mesh
ROOT = Path(__file__).resolve().parents[1]
ARCHIVE = ROOT / "hivematrix-archive"
READ_AND_SEAL = ("archive:read", "archive:seal")
CHANGE_SCHEDULE = """curl -sS -w '\\n%{http_code}' -X POST http://localhost:5012/api/scheduler/config \\
  -H "Content-Type: application/json" \\
  -H "Authorization: Bearer $ADMIN_TOKEN" \\
  -d '{
    "enabled": true,
    "day_of_month": 1,
    "hour": 2,
    "snapshot_previous_month": true,
    "snapshot_all_companies": true
  }'"""
SIZES = (
    "SELECT tablename, pg_size_pretty(pg_total_relation_size(schemaname||'.'||tablename)) FROM pg_tables "
    "WHERE schemaname='public' ORDER BY pg_total_relation_size(schemaname||'.'||tablename) DESC"
)
READ_LINES = [
    'curl -H "Authorization: Bearer $SERVICE_TOKEN" http://localhost:5012/api/scheduler/config',
    'curl -H "Authorization: Bearer $SERVICE_TOKEN" http://localhost:5012/api/scheduler/jobs',
    'curl -H "Authorization: Bearer $SERVICE_TOKEN" "http://localhost:5012/api/snapshots/search?limit=10"',
]


def shell(mesh: Any, line: str, **tokens: str) -> str:
    for port in (5010, 5011, 5012):
        line = line.replace(f"localhost:{port}", f"127.0.0.1:{port + mesh.offset}")
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, env=mesh.environ | tokens, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("port", [5010, 5011, 5012])
def test_health_is_what_the_guide_expects(mesh: Any, port: int) -> None:
    service = {5010: "codex", 5011: "ledger", 5012: "archive"}[port]
    assert json.loads(shell(mesh, f"curl http://localhost:{port}/health")) == {"status": "ok", "service": service}


@pytest.mark.parametrize("line", READ_LINES)
def test_the_service_token_reads(mesh: Any, line: str) -> None:
    answer = json.loads(shell(mesh, line, SERVICE_TOKEN=mesh.token(*READ_AND_SEAL)))
    assert {"config", "jobs", "results"} & set(answer)


@pytest.mark.parametrize("line", READ_LINES)
def test_without_a_token_nothing_is_read(mesh: Any, line: str) -> None:
    assert json.loads(shell(mesh, line, SERVICE_TOKEN="none"))["status"] == 401


def test_only_the_admin_token_changes_the_schedule(mesh: Any) -> None:
    assert shell(mesh, CHANGE_SCHEDULE, ADMIN_TOKEN=mesh.token("archive:read", "archive:admin")).endswith("200")
    assert shell(mesh, CHANGE_SCHEDULE, ADMIN_TOKEN=mesh.token(*READ_AND_SEAL)).endswith("403")


def test_the_schedule_may_be_changed_in_sql_and_the_service_follows(mesh: Any) -> None:
    mesh.sql("archive", "UPDATE scheduled_snapshots SET day_of_month = 3, hour = 4, enabled = true WHERE id = 1")
    config = mesh.get("archive", "/api/scheduler/config")["config"]
    assert (config["day_of_month"], config["hour"]) == (3, 4)
    with pytest.raises(Exception, match="check"):
        mesh.sql("archive", "UPDATE scheduled_snapshots SET day_of_month = 32 WHERE id = 1")
    mesh.sql("archive", "UPDATE scheduled_snapshots SET day_of_month = 1, hour = 2 WHERE id = 1")


def test_the_database_shows_exactly_the_four_tables(mesh: Any) -> None:
    rows = mesh.sql("archive", "SELECT tablename FROM pg_tables WHERE schemaname='public'")
    assert sorted(name for (name,) in rows) == [
        "billing_snapshots",
        "scheduled_snapshots",
        "snapshot_jobs",
        "snapshot_line_items",
    ]


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT COUNT(*) FROM billing_snapshots",
        "SELECT MAX(archived_at) FROM billing_snapshots",
        "SELECT pg_size_pretty(pg_database_size('archive_db'))",
        SIZES,
    ],
)
def test_the_guides_queries_work_as_the_services_role(mesh: Any, statement: str) -> None:
    assert mesh.sql("archive", statement)


def test_the_guides_indexes_can_be_made_beside_ours(mesh: Any) -> None:
    mesh.sql(
        "archive",
        "CREATE INDEX idx_snapshots_company_date ON billing_snapshots"
        "(company_account_number, billing_year DESC, billing_month DESC)",
        role="owner",
    )
    mesh.sql("archive", "CREATE INDEX idx_snapshots_archived ON billing_snapshots(archived_at DESC)", role="owner")
    mesh.sql("archive", "ANALYZE billing_snapshots", role="owner")
    rows = mesh.sql("archive", "SELECT indexname FROM pg_indexes WHERE indexname LIKE 'idx_snapshots_%'")
    assert len(rows) == 2


def script(mesh: Any, *arguments: str, code: int = 0) -> str:
    """Run as the guide does: the script itself, from any folder, with whatever Python is found first."""
    done = subprocess.run(
        arguments, capture_output=True, text=True, env=mesh.environ, check=False, timeout=120, cwd=str(ARCHIVE)
    )
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_the_snapshot_script_runs_as_the_guide_says(mesh: Any) -> None:
    path = str(ARCHIVE / "scheduled_snapshots.py")
    dry = script(mesh, path, "--year", "2025", "--month", "11", "--all", "--dry-run")
    assert "620547" in dry
    sealed = "SELECT count(*) FROM billing_snapshots WHERE billing_year = 2025 AND billing_month = 11"
    assert mesh.sql("archive", sealed) == [(0,)]
    said = script(mesh, path, "--year", "2025", "--month", "11", "--accounts", "620547,183729")
    assert "sealed" in said
    script(mesh, path, "--year", "2025", "--month", "11", "--all")
    script(mesh, sys.executable, path, "--dry-run")


def test_the_workflow_test_passes(mesh: Any) -> None:
    path = str(ARCHIVE / "test_workflow.py")
    line = (sys.executable, path, "--account", "620547", "--year", "2025", "--month", "12")
    first, again = script(mesh, *line), script(mesh, *line)
    assert "620547-202512" in first
    assert "620547-202512" in again


def test_the_ledger_page_of_the_guide_still_reads_its_conf(mesh: Any) -> None:
    conf = (mesh.home / "instance" / "ledger.conf").read_text()
    assert f"codex_url = http://127.0.0.1:{5010 + mesh.offset}" in conf
    assert f"archive_url = http://127.0.0.1:{5012 + mesh.offset}" in conf
