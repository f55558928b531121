"""scripts/demo as a stranger calls it: what it refuses, what it takes up, and how it ends."""

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hivematrix_helm.system import meshfile

ROOT = Path(__file__).resolve().parents[1]
DEMO = str(ROOT / "scripts" / "demo")


def demo(*arguments: object) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, DEMO, *map(str, arguments)]
    return subprocess.run(line, capture_output=True, text=True, timeout=170, check=False)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--data", "/nonexistent"), "--data: there is no folder /nonexistent"),
        (("--port-offset", "70000"), "--port-offset: expected 0 to 50000, got 70000"),
        (("--port-offset", "-1"), "--port-offset: expected 0 to 50000, got -1"),
        (("--nonsense",), "unrecognized arguments"),
    ],
)
def test_arguments_that_make_no_sense_are_refused_before_anything_is_made(
    tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    done = demo("--home", tmp_path / "home", *arguments)
    assert (done.returncode, words in done.stderr) == (2, True)
    assert not (tmp_path / "home").exists()


def test_a_home_that_is_a_file_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    done = demo("--home", tmp_path / "home", "--exit")
    assert done.returncode == 78
    assert done.stderr.splitlines()[1:] == [
        f"{tmp_path}/home/run/mesh.json: Not a directory; HIVEMATRIX_HOME has to be a folder you may write to"
    ]


@pytest.fixture(scope="module")
def running(start_mesh: Any) -> Any:
    return start_mesh()


@pytest.mark.mesh
@pytest.mark.slow
def test_a_mesh_that_runs_already_is_taken_up_and_left_running(running: Any, tmp_path: Path) -> None:
    before = running.pid("ledger")
    (tmp_path / "companies.csv").write_text("account_number,name\n1,One\n")
    done = demo("--home", running.home, "--data", tmp_path, "--exit")
    assert done.returncode == 0, done.stderr
    assert "Nothing is sealed" in done.stdout
    assert "/api/bills/" not in done.stdout
    assert running.pid("ledger") == before
    running.run("hivematrix-helm", "status")
    shown = running.home / "demo"
    admin = json.loads((shown / "sign-in.json").read_text())
    assert f"password  {admin['password']}" in done.stdout
    [user] = json.loads(running.run("hivematrix-helm", "users", "list", "--json").stdout)
    assert (user["name"], user["role"]) == (admin["name"], "admin")
    assert shown.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in shown.iterdir()} == {0o600}


@pytest.mark.mesh
@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_one_that_is_stopped_while_it_starts_says_so_and_leaves_nothing(running: Any, number: signal.Signals) -> None:
    running.run("hivematrix-helm", "down")
    line = [sys.executable, DEMO, "--home", str(running.home)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        while not runs(running.home):
            assert process.poll() is None
            time.sleep(0.05)
        process.send_signal(number)
        said, _ = process.communicate(timeout=60)
    assert (process.returncode, "Running until" in said, runs(running.home)) == (128 + number, False, False)


def runs(home: Path) -> bool:
    mesh = meshfile.read(home)
    return mesh is not None and mesh.running
