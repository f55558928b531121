import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import psycopg2
import pytest
from hivematrix_common import postgres
from hivematrix_common.postgres import Cluster, ClusterError, free_port
from hivematrix_common.provision import create_service

pytestmark = pytest.mark.mesh


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A data folder nobody runs: initdb is the slow part."""
    cluster = Cluster(tmp_path_factory.mktemp("pg") / "data", free_port(), fsync=False)
    cluster.create()
    cluster.stop()
    return cluster


@pytest.fixture
def cluster(made):
    made.port = free_port()
    yield made
    made.stop()


def run(cluster, statement, **conninfo):
    connection = psycopg2.connect(**(cluster.conninfo | conninfo))
    connection.autocommit = True
    try:
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else None
    finally:
        connection.close()


def processes_in(folder):
    return [p for p in psutil.process_iter(["cwd"]) if p.info["cwd"] == str(folder)]


def test_a_stopped_server_leaves_no_process_and_no_pid_file(cluster):
    with cluster:
        assert run(cluster, "SHOW server_encoding") == [("UTF8",)]
        assert processes_in(cluster.data_dir)
    assert not processes_in(cluster.data_dir)
    assert not (cluster.data_dir / "postmaster.pid").exists()
    assert "database system is shut down" in cluster.log.read_text()


def test_data_folder_password_and_log_are_private(cluster):
    cluster.start()
    assert cluster.data_dir.stat().st_mode & 0o777 == 0o700
    for path in (cluster.data_dir / "superuser.password", cluster.log):
        assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        run(cluster, "SELECT 1", password="guess")


def test_what_was_committed_survives_kill_9_of_the_server(cluster):
    cluster.start()
    run(cluster, "CREATE TABLE kept AS SELECT 42 AS answer")
    cluster.process.send_signal(signal.SIGKILL)
    cluster.process.wait()
    assert not cluster.running
    cluster.start()
    assert run(cluster, "SELECT answer FROM kept") == [(42,)]
    run(cluster, "DROP TABLE kept")


@pytest.fixture
def stranger():
    process = subprocess.Popen(["sleep", "60"])
    yield process.pid
    process.kill()
    process.wait()


def test_a_pid_file_naming_a_stranger_does_not_stop_the_start(cluster, stranger):
    cluster.start()
    cluster.process.send_signal(signal.SIGKILL)
    cluster.process.wait()
    pid_file = cluster.data_dir / "postmaster.pid"
    pid_file.write_text("\n".join([str(stranger), *pid_file.read_text().splitlines()[1:]]))
    cluster.start()
    assert run(cluster, "SELECT 1") == [(1,)]
    assert psutil.pid_exists(stranger)


OWNER = """
import sys, time
from pathlib import Path
from hivematrix_common.postgres import Cluster
cluster = Cluster(Path(sys.argv[1]), int(sys.argv[2]), fsync=False)
cluster.start()
print(cluster.process.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def owner(cluster):
    command = [sys.executable, "-c", OWNER, str(cluster.data_dir), str(cluster.port)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    process.server = psutil.Process(int(process.stdout.readline()))
    yield process
    process.kill()
    process.wait()
    process.stdout.close()


def test_a_second_owner_of_one_folder_is_refused(cluster, owner):
    with pytest.raises(ClusterError, match="another process holds"):
        cluster.start()


def test_the_server_goes_with_an_owner_that_was_killed(cluster, owner):
    owner.kill()
    owner.wait()
    deadline = time.monotonic() + 5
    while processes_in(cluster.data_dir) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert not processes_in(cluster.data_dir)
    cluster.start()
    assert run(cluster, "SELECT 1") == [(1,)]


def test_a_server_that_outlived_its_owner_is_ended_first(cluster, owner):
    owner.server.suspend()  # so it cannot act on its owner's end
    owner.kill()
    owner.wait()
    cluster.start()
    assert run(cluster, "SELECT 1") == [(1,)]
    assert processes_in(cluster.data_dir) != []
    assert owner.server.pid not in [p.pid for p in processes_in(cluster.data_dir)]


def test_a_taken_port_is_named_as_the_reason(cluster):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        cluster.port = other.getsockname()[1]
        with pytest.raises(ClusterError, match=r"could not (bind|create)"):
            cluster.start()
    assert not cluster.running


def test_a_half_made_folder_is_made_anew(tmp_path):
    draft = tmp_path / "data.new"
    draft.mkdir()
    (draft / "PG_VERSION").write_text("half")
    with Cluster(tmp_path / "data", free_port(), fsync=False) as cluster:
        assert run(cluster, "SELECT 1") == [(1,)]
    assert not draft.exists()


def test_two_clusters_run_side_by_side(cluster, tmp_path):
    with cluster, Cluster(tmp_path / "data", free_port(), fsync=False) as other:
        run(cluster, "CREATE TABLE here AS SELECT 1")
        assert run(other, "SELECT to_regclass('here')") == [(None,)]
        run(cluster, "DROP TABLE here")


def test_a_folder_too_deep_for_a_socket_serves_by_tcp(tmp_path):
    with Cluster(tmp_path / ("deep" * 30) / "data", free_port(), fsync=False) as cluster:
        assert run(cluster, "SHOW unix_socket_directories") == [("",)]


def test_missing_programs_are_named(monkeypatch, tmp_path):
    monkeypatch.setenv("HIVEMATRIX_PG_BIN", str(tmp_path))
    with pytest.raises(ClusterError, match=f"no PostgreSQL program at {tmp_path}/initdb"):
        Cluster(tmp_path / "data", free_port()).start()


AS_NOBODY = """
import os, sys, tempfile
from pathlib import Path
import psycopg2, secrets, signal
from hivematrix_common.postgres import Cluster, free_port
os.setgroups([]); os.setgid(65534); os.setuid(65534)
os.environ["HOME"] = sys.argv[1]
cluster = Cluster(Path(sys.argv[1], "data"), free_port(), fsync=False)
cluster.start()
cluster.process.send_signal(signal.SIGKILL)
cluster.process.wait()
cluster.start()
psycopg2.connect(**cluster.conninfo).close()
cluster.stop()
print("served", Path(sys.argv[1], "data").stat().st_uid)
"""


@pytest.fixture
def open_folder():
    """pytest's own folders are closed to other users."""
    with tempfile.TemporaryDirectory(prefix="hm") as name:
        Path(name).chmod(0o777)
        yield Path(name)


@pytest.mark.skipif(os.geteuid() != 0, reason="every other test here runs as a normal user then")
def test_a_normal_user_runs_it(open_folder):
    command = [sys.executable, "-c", AS_NOBODY, str(open_folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/")
    assert done.stdout.split() == ["served", "65534"], done.stderr


@pytest.mark.skipif(os.geteuid() != 0, reason="only root needs a system user")
def test_root_without_user_namespaces_runs_it_as_a_system_user(open_folder, monkeypatch):
    monkeypatch.setattr(postgres, "_run_as", list)
    with Cluster(open_folder / "data", free_port(), fsync=False) as cluster:
        assert run(cluster, "SELECT 1") == [(1,)]
        assert psutil.Process(cluster.process.pid).uids().real != 0


@pytest.fixture
def services(cluster):
    cluster.start()
    admin = psycopg2.connect(**cluster.conninfo)
    admin.autocommit = True
    for service in ("codex", "ledger", "codex"):
        create_service(admin, service, "own%er'", "us\\er")
    yield cluster
    admin.close()


def test_owner_and_user_reach_their_own_database_only(services):
    codex_user = {"user": "codex_user", "password": "us\\er"}
    assert run(services, "SELECT current_user", dbname="codex_db", **codex_user) == [("codex_user",)]
    assert run(services, "SELECT 1", dbname="codex_db", user="codex_owner", password="own%er'") == [(1,)]
    with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
        run(services, "SELECT 1", dbname="ledger_db", **codex_user)


def test_the_user_makes_nothing_and_may_become_the_client(services):
    codex_user = {"dbname": "codex_db", "user": "codex_user", "password": "us\\er"}
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        run(services, "CREATE TABLE mine (id int)", **codex_user)
    assert run(services, "SET ROLE codex_client; SELECT current_user", **codex_user) == [("codex_client",)]
    with pytest.raises(psycopg2.OperationalError, match="authentication failed"):
        run(services, "SELECT 1", dbname="codex_db", user="codex_client", password="x")


def test_a_start_takes_seconds(cluster):
    began = time.monotonic()
    cluster.start()
    assert time.monotonic() - began < 30
