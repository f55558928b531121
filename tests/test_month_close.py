"""A month is closed once, whoever closes it, however often, and whatever dies meanwhile."""

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from hivematrix_common.domain.period import Period

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "bench"))

from data import write as write_companies  # noqa: E402

pytestmark = pytest.mark.mesh
SEALED = """
    SELECT company_account_number, count(*), sum(total_amount) FROM billing_snapshots
    WHERE billing_year = %s AND billing_month = %s GROUP BY 1 ORDER BY 1"""
LINES = """
    SELECT coalesce(sum(i.amount), 0) FROM snapshot_line_items i JOIN billing_snapshots s ON s.id = i.snapshot_id
    WHERE s.billing_year = %s AND s.billing_month = %s"""


def failpoints() -> list[str]:
    """Every place on the way of a month close where a process may be made to die."""
    found = {"audit-added"}
    for service in ("ledger", "archive"):
        for path in (ROOT / f"hivematrix-{service}" / f"hivematrix_{service}").rglob("*.py"):
            found |= set(re.findall(r'failpoint\("([^"]+)"\)', path.read_text(encoding="utf-8")))
    # What corrections, erasures and mails pass is struck in tests of their own.
    return sorted(place for place in found if not place.startswith(("correct-", "erase-", "send-")))


# At the N-th pass as well, in the full size of the proof.
PASSES = int(os.environ.get("PROOF_PASSES", "1"))
FAILPOINTS = [(place, nth) for place in failpoints() for nth in range(1, PASSES + 1)]
# Who is killed, in turn; when, is left to chance.
KILLS = int(os.environ.get("PROOF_KILLS", "3"))
KILLED = ("postgres", "archive", "the run", "ledger", "codex")
COMPANIES = 200


def closed(mesh: Any, year: int, month: int) -> dict[str, Decimal]:
    """What the archive holds of a month: one snapshot a company, and lines that add up to the totals."""
    rows = mesh.sql("archive", SEALED, (year, month))
    assert [row for row in rows if row[1] != 1] == []
    [(lines,)] = mesh.sql("archive", LINES, (year, month))
    assert lines == sum(row[2] for row in rows)
    return {account: total for account, _, total in rows}


def expected(mesh: Any, year: int, month: int) -> dict[str, Decimal]:
    """What Ledger would seal, from its preview."""
    answer = mesh.call("GET", "ledger", f"/api/bills?period={year}-{month:02}&limit=500")
    rows = [json.loads(line) for line in answer.text.splitlines()]
    return {row["account_number"]: Decimal(row["totals"]["total"]) for row in rows if "totals" in row}


def accepted_periods_twice(mesh: Any) -> list[Any]:
    return mesh.sql(
        "ledger", "SELECT account_number, period, count(*) FROM acceptances GROUP BY 1, 2 HAVING count(*) > 1"
    )


def test_a_month_closed_twice_is_sealed_once(mesh: Any) -> None:
    wanted = expected(mesh, 2025, 10)
    mesh.snapshots("--year", "2025", "--month", "10", "--all")
    first = closed(mesh, 2025, 10)
    assert first == wanted
    again = mesh.snapshots("--year", "2025", "--month", "10", "--all")
    assert closed(mesh, 2025, 10) == first
    assert "already" in again.stdout + again.stderr
    mesh.run("hivematrix-archive", "verify")


def test_the_job_says_what_happened_to_each_company(mesh: Any) -> None:
    mesh.snapshots("--year", "2014", "--month", "1", "--all")
    [latest, *_] = mesh.get("archive", "/api/scheduler/jobs?limit=1")["jobs"]
    job = mesh.get("archive", f"/api/scheduler/jobs/{latest['id']}")
    statuses = {row["account_number"]: row["status"] for row in job["results"]}
    assert set(closed(mesh, 2014, 1)) == {account for account, status in statuses.items() if status == "sealed"}
    assert "skipped" in statuses.values()


def test_two_runs_at_once_make_one_and_the_second_is_told(mesh: Any) -> None:
    script = str(ROOT / "hivematrix-archive" / "scheduled_snapshots.py")
    command = [sys.executable, script, "--year", "2014", "--month", "2", "--all"]
    runs = [
        subprocess.Popen(command, env=mesh.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    said = [run.communicate(timeout=120) for run in runs]
    codes = sorted(run.returncode for run in runs)
    assert set(codes) <= {0, 75}, said
    assert 0 in codes
    assert all("job" in out + err for run, (out, err) in zip(runs, said, strict=True) if run.returncode == 75)
    assert len(closed(mesh, 2014, 2)) == len(expected(mesh, 2014, 2))


def test_ten_clerks_at_once_seal_each_company_once(mesh: Any) -> None:
    mesh.token("ledger:accept", "ledger:read")

    def accept(_n: int) -> Any:
        return mesh.call(
            "POST", "ledger", "/api/bills/accept", ("ledger:accept", "ledger:read"), json={"period": "2014-03"}
        )

    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(accept, range(10)))
    assert {answer.status_code for answer in answers} <= {200, 409, 503}
    assert accept(0).status_code == 200
    assert len(closed(mesh, 2014, 3)) == len(expected(mesh, 2014, 3))
    assert accepted_periods_twice(mesh) == []


@pytest.mark.parametrize(("place", "nth"), FAILPOINTS)
def test_a_process_killed_at_any_point_loses_and_doubles_nothing(mesh: Any, place: str, nth: int) -> None:
    month = FAILPOINTS.index((place, nth))
    year, month = 2015 + month // 12, month % 12 + 1
    period = ("--year", str(year), "--month", str(month), "--all")
    mesh.strike(f"{place}@{nth}=kill")
    mesh.snapshots(*period, code=None, HIVEMATRIX_FAILPOINT=f"@{mesh.home}/strike")
    if nth == 1:
        mesh.wait_struck()  # what is done after the seal may be done after the run, too
    mesh.calm()
    mesh.wait_ready()
    mesh.snapshots(*period)
    assert closed(mesh, year, month) == expected(mesh, year, month)
    assert accepted_periods_twice(mesh) == []
    [(lost,)] = mesh.sql("ledger", "SELECT count(*) FROM acceptances WHERE period = %s", (f"{year}-{month:02}",))
    assert lost == len(closed(mesh, year, month))


@pytest.fixture(scope="module")
def crowded(start_mesh: Callable[[], Any], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A mesh with so many companies that a month takes several pages."""
    folder = tmp_path_factory.mktemp("crowd")
    write_companies(folder, COMPANIES)
    plans = folder / "plans.csv"
    plans.write_text(plans.read_text().replace("2025-01-01", "2001-01-01"))
    mesh = start_mesh()
    for service in ("codex", "ledger"):
        mesh.run(f"hivematrix-{service}", "import", str(folder))
    return mesh


@pytest.fixture(scope="module")
def working(crowded: Any) -> tuple[float, float]:
    """From when to when an undisturbed close seals, in seconds from its start."""
    began = time.monotonic()
    crowded.snapshots("--year", "2001", "--month", "1", "--all")
    took, [job] = time.monotonic() - began, crowded.get("archive", "/api/scheduler/jobs")["jobs"]
    return took - job["duration_seconds"], took


@pytest.mark.parametrize("nth", range(1, KILLS + 1))
def test_whoever_is_killed_at_a_random_moment_loses_and_doubles_nothing(
    crowded: Any, working: tuple[float, float], nth: int
) -> None:
    killed, month = KILLED[nth % len(KILLED)], Period(2001, 1).plus(nth)
    close = crowded.start_close(month.year, month.month)
    time.sleep(random.Random(nth).uniform(*working))
    if killed == "the run":
        close.kill()
    else:
        os.kill(crowded.pid(killed), signal.SIGKILL)
    close.communicate(timeout=120)
    crowded.assert_closes(month.year, month.month)
    sealed = closed(crowded, month.year, month.month)
    assert (len(sealed), sealed) == (COMPANIES, expected(crowded, month.year, month.month))


def test_after_all_that_the_archive_verifies(mesh: Any) -> None:
    assert mesh.run("hivematrix-archive", "verify").stdout.startswith("good")


@pytest.mark.parametrize("table", ["billing_snapshots", "snapshot_line_items", "archive_data.bodies"])
@pytest.mark.parametrize("statement", ["UPDATE {} SET id = id", "DELETE FROM {}", "TRUNCATE {}"])
def test_the_service_role_may_not_change_what_is_sealed(mesh: Any, table: str, statement: str) -> None:
    if "bodies" in table:
        statement = statement.replace("SET id = id", "SET body = body")
    with pytest.raises(psycopg2.Error, match=r"permission denied|sealed"):
        mesh.sql("archive", statement.format(table))
