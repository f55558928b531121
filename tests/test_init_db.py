"""Each service's init_db.py, as an engineer runs it on an empty PostgreSQL; a run that is killed is completed."""

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg2
import pytest
from hivematrix_common import migrations
from hivematrix_common.config import SERVICES
from hivematrix_common.postgres import Cluster, free_port

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    """An empty server: roles belong to a server, so it is nobody else's."""
    with tempfile.TemporaryDirectory(prefix="hm-", ignore_cleanup_errors=True) as folder:
        made = Cluster(Path(folder) / "pg", free_port(), fsync=False)
        with made:
            yield made


def has_database(cluster: Cluster, name: str) -> bool:
    with closing(psycopg2.connect(**cluster.conninfo)) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT 1 FROM pg_database WHERE datname = %s", (name,))
        return cursor.fetchone() is not None


@pytest.mark.parametrize("service", SERVICES)
def test_a_database_is_made_whatever_happens_meanwhile(cluster: Cluster, tmp_path: Path, service: str) -> None:
    """Killed as soon as the database is there, run again, run once more, and brought to a newer schema at an update."""
    script = [sys.executable, str(ROOT / f"hivematrix-{service}" / "init_db.py")]
    where = ["--headless", "--db-host", "127.0.0.1", "--db-port", str(cluster.port), "--admin-url", cluster.admin_url]
    environ = os.environ | {"HIVEMATRIX_HOME": str(tmp_path)}

    def run(*options: str) -> Any:
        return subprocess.run([*script, *options], env=environ, capture_output=True, text=True, check=False)

    early = run("--migrate-only")
    assert (early.returncode, f"hivematrix-{service} init-db makes it" in early.stderr) == (78, True)
    with subprocess.Popen([*script, *where], env=environ, stderr=subprocess.DEVNULL) as killed:
        deadline = time.monotonic() + 30
        while not has_database(cluster, f"{service}_db"):
            assert time.monotonic() < deadline
        killed.kill()
    told = f"{service}: schema at {migrations.head(f'hivematrix_{service}')}\n"
    for options in (where, ["--headless"], ["--migrate-only"]):
        done = run(*options)
        assert (done.returncode, done.stdout, done.stderr) == (0, "", told)
    back_and_forth(run, service)


def back_and_forth(run: Callable[..., Any], service: str) -> None:
    """Down to the oldest release's schema step by step, each what was asked for, and up again in one."""
    known = migrations.history(f"hivematrix_{service}")
    for revision in [*known[::-1], known[-1]]:
        done = run("--migrate-only", "--to", revision)
        assert (done.returncode, done.stderr) == (0, f"{service}: schema at {revision}\n")
    refused = run("--migrate-only", "--to", "9999")
    assert (refused.returncode, f"there is no revision 9999; there are {known[0]}" in refused.stderr) == (2, True)
    assert "--to: only with --migrate-only" in run("--to", known[0]).stderr
