"""Real disks that are full: the database's own, and that of HIVEMATRIX_HOME. Nothing half-written; back by itself."""

import ctypes
import errno
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
import requests
from hivematrix_common.conffile import read
from hivematrix_common.config import SERVICES
from hivematrix_helm.system import database

pytestmark = pytest.mark.mesh
CLONE_NEWNS = 0x00020000
HOME_SIZE, DATABASE_SIZE = "48m", "700m"


def _private_mounts() -> None:
    """What is mounted from now on is seen by this process and its children alone, and goes with them."""
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNS):
        pytest.skip(f"whoever runs this may not mount: {os.strerror(ctypes.get_errno())}")
    if subprocess.run(["mount", "--make-rprivate", "/"], capture_output=True, check=False).returncode:
        pytest.skip("whoever runs this may not mount")


def _disk(folder: Path, size: str) -> None:
    folder.mkdir()
    line = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "tmpfs", str(folder)]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"whoever runs this may not mount: {done.stderr}")


@pytest.fixture(scope="module")
def mesh(start_mesh: Callable[..., Any], sample: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """A mesh whose home is one small disk, and whose databases are another."""
    _private_mounts()
    home = tmp_path_factory.mktemp("disks") / "home"
    _disk(home, HOME_SIZE)
    _disk(home / "postgres", DATABASE_SIZE)
    return start_mesh(home=home).with_sample(sample)


@contextmanager
def full(folder: Path) -> Iterator[None]:
    filler = folder / "filler"
    with filler.open("wb", buffering=0) as file, suppress(OSError):
        while True:
            file.write(bytes(2**16))
    assert os.statvfs(folder).f_bavail == 0
    try:
        yield
    finally:
        filler.unlink()


def disk_checks(mesh: Any) -> dict[str, str]:
    answer = requests.get(f"{mesh.url('ledger')}/health?verbose=1", timeout=10).json()
    return {Path(check["componentId"]).name: check["status"] for check in answer["checks"]["disk:free"]}


def use_up_the_write_ahead_log(mesh: Any) -> None:
    """Until the server needs a new segment of it, for which there is no room: it ends."""
    url = urlsplit(read(mesh.home / "instance" / "codex-owner.conf").get("database", "url"))
    connection = psycopg2.connect(**database.embedded(mesh.home, url.port).conninfo | {"dbname": url.path[1:]})
    connection.autocommit = True
    with suppress(psycopg2.Error), connection.cursor() as cursor:
        for _ in range(1000):
            cursor.execute("SELECT pg_logical_emit_message(false, 'fill', repeat('x', 1000000)), pg_switch_wal()")
    connection.close()


def test_the_database_s_disk_is_full(mesh: Any, tmp_path: Path) -> None:
    """What is asked for is refused in words; once there is room all goes on, with nobody doing anything."""
    before = mesh.sql("codex", "SELECT count(*) FROM time_entries")
    with full(mesh.home / "postgres"):
        use_up_the_write_ahead_log(mesh)
        mesh.wait_for(lambda: not mesh.is_ready("ledger"))
        assert requests.get(f"{mesh.url('ledger')}/livez", timeout=10).ok
        assert disk_checks(mesh)["postgres"] == "fail"
        refused = mesh.snapshots("--year", "2013", "--month", "1", "--all", code=1)
        told = mesh.run("hivematrix-helm", "health", "--quiet", code=1).stdout
    mesh.wait_ready(120)
    assert refused.stderr.startswith("database: connection to server")
    assert f"{os.strerror(errno.ENOSPC)}; port" in told
    assert f"less than 100 MB free; 0 MB of 700 MB free at {mesh.home / 'postgres'}" in told
    assert disk_checks(mesh)["postgres"] == "warn"
    assert mesh.sql("codex", "SELECT count(*) FROM time_entries") == before
    mesh.assert_closes(2013, 1)


def test_the_disk_of_the_home_is_full(mesh: Any) -> None:
    """Nobody is sent away, and no conf is lost or cut."""
    confs = {path: path.read_bytes() for path in (mesh.home / "instance").iterdir()}
    pid = mesh.pid("codex")
    with full(mesh.home):
        refused = mesh.run("hivematrix-helm", "tokens", "issue", "reporting", "--scope", "ledger:read", code=1)
        mesh.snapshots("--year", "2013", "--month", "2", "--all", code=None)
        os.kill(pid, 9)
        mesh.wait_ready(60)
        assert all(mesh.is_ready(service) for service in SERVICES)
        assert disk_checks(mesh)["home"] == "fail"
        assert {path: path.read_bytes() for path in confs} == confs
        assert {path.name for path in (mesh.home / "instance").iterdir()} == {path.name for path in confs}
    mesh.wait_for(lambda: mesh.was_replaced("codex", pid))
    mesh.assert_closes(2013, 2)
    assert refused.stderr.startswith("No space left on device: no file was written in part; make room (df -h)")
    assert mesh.run("hivematrix-helm", "tokens", "issue", "reporting", "--scope", "ledger:read").stdout
