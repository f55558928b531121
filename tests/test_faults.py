"""What may go wrong around a month close, and what holds after it: nothing lost, doubled or half-written."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
import requests
from hivematrix_common.conffile import read
from hivematrix_common.tokens import unregister

pytestmark = pytest.mark.mesh
ROOT = Path(__file__).resolve().parents[1]
SEALED = """
    SELECT invoice_number, total_amount, (SELECT sum(amount) FROM snapshot_line_items i WHERE i.snapshot_id = s.id)
    FROM billing_snapshots s WHERE billing_year = %s AND billing_month = %s ORDER BY 1"""
DOUBLED = """
    SELECT 1 FROM billing_snapshots GROUP BY company_account_number, billing_year, billing_month HAVING count(*) > 1"""
SCRIPT = str(ROOT / "hivematrix-archive" / "scheduled_snapshots.py")


def assert_invariants(mesh: Any, year: int, month: int) -> None:
    """The invariants: one snapshot a company, lines add up, Ledger and Archive agree, no hour billed twice."""
    rows = mesh.sql("archive", SEALED, (year, month))
    assert len({number for number, _, _ in rows}) == len(rows) > 0
    assert [row for row in rows if row[1] != row[2]] == []
    accepted = mesh.sql(
        "ledger", "SELECT invoice_number FROM acceptances WHERE period = %s ORDER BY 1", (f"{year}-{month:02}",)
    )
    assert [number for (number,) in accepted] == [number for number, _, _ in rows]


def assert_closes(mesh: Any, year: int, month: int, tries: int = 5) -> None:
    """What the hourly timer would do after a fault has passed."""
    for _ in range(tries):
        mesh.wait_ready()
        done = mesh.snapshots("--year", str(year), "--month", str(month), "--all", code=None)
        if done.returncode == 0:
            break
    assert done.returncode == 0, done.stdout + done.stderr
    assert_invariants(mesh, year, month)


def start_close(mesh: Any, year: int, month: int) -> subprocess.Popen[str]:
    command = [sys.executable, SCRIPT, "--year", str(year), "--month", str(month), "--all"]
    return subprocess.Popen(command, env=mesh.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def postmaster(mesh: Any) -> psutil.Process:
    return psutil.Process(mesh.pid("postgres"))


@contextmanager
def frozen(*processes: psutil.Process) -> Iterator[None]:
    for process in processes:
        process.suspend()
    try:
        yield
    finally:
        for process in processes:
            process.resume()


def test_killed_backends_cost_a_retry_and_nothing_else(mesh: Any) -> None:
    stop = threading.Event()

    def kill_backends() -> None:
        while not stop.wait(0.15):
            for service in ("ledger", "archive"):
                with contextlib.suppress(psycopg2.Error):  # the killer may hit itself
                    mesh.sql(
                        service,
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                        " WHERE usename = current_user AND pid <> pg_backend_pid()",
                    )

    killer = threading.Thread(target=kill_backends)
    killer.start()
    close = start_close(mesh, 2013, 1)
    close.communicate(timeout=120)
    stop.set()
    killer.join()
    assert_closes(mesh, 2013, 1)


def test_a_killed_server_comes_back_and_the_month_is_closed(mesh: Any) -> None:
    close = start_close(mesh, 2013, 2)
    time.sleep(1.2)
    postmaster(mesh).kill()
    close.communicate(timeout=180)
    assert_closes(mesh, 2013, 2)


def test_a_frozen_server_freezes_nobody_else(mesh: Any) -> None:
    server = postmaster(mesh)
    with frozen(server, *server.children(recursive=True)):
        slowest = 0.0
        for _ in range(20):
            began = time.monotonic()
            requests.get(f"{mesh.url('archive')}/livez", timeout=5)
            requests.get(f"{mesh.url('ledger')}/health", timeout=5)
            slowest = max(slowest, time.monotonic() - began)
    assert slowest < 2  # a hang takes longer; how quick it is stands in the figures
    assert_closes(mesh, 2013, 3)


def use_up(stack: ExitStack, url: str) -> None:
    """Take every connection the server gives."""
    for _ in range(1000):
        try:
            stack.callback(psycopg2.connect(url).close)
        except psycopg2.OperationalError:
            return
    raise AssertionError("the server gave a thousand connections")


def test_used_up_connections_are_told_and_pass(mesh: Any) -> None:
    url = read(mesh.home / "instance" / "archive.conf").get("database", "url").replace("+psycopg2", "")
    mesh.token("archive:read", "archive:seal")
    with ExitStack() as stack:
        use_up(stack, url)
        answer = mesh.call("GET", "archive", "/api/snapshots/search", ("archive:read", "archive:seal"))
        assert answer.status_code in {200, 503}
        if answer.status_code == 503:
            assert answer.json()["code"] in {"database_unavailable", "busy"}
    mesh.wait_ready()
    assert mesh.call("GET", "archive", "/api/snapshots/search", ("archive:read", "archive:seal")).ok


def test_a_peer_that_hangs_is_waited_for_and_a_peer_that_is_away_is_named(mesh: Any) -> None:
    codex = psutil.Process(mesh.pid("codex"))
    with frozen(codex):
        close = start_close(mesh, 2013, 4)
        time.sleep(4)
    out, err = close.communicate(timeout=120)
    assert close.returncode in {0, 1, 3}, out + err
    assert_closes(mesh, 2013, 4)


def test_a_token_revoked_in_mid_run_stops_sealing_and_loses_nothing(mesh: Any) -> None:
    conf = mesh.home / "instance" / "archive.conf"
    kept = conf.read_text()
    for name in read(conf).sections():
        if name.startswith("caller:") and read(conf).get(name, "caller") == "ledger":
            unregister(conf, name.removeprefix("caller:"))
    try:
        done = mesh.snapshots("--year", "2013", "--month", "5", "--all", code=None)
        assert done.returncode in {1, 3}
        assert "token" in done.stdout + done.stderr
        assert mesh.sql(
            "archive", "SELECT count(*) FROM billing_snapshots WHERE billing_year = 2013 AND billing_month = 5"
        ) == [(0,)]
    finally:
        conf.write_text(kept)
        conf.chmod(0o600)
    assert_closes(mesh, 2013, 5)


def test_the_timer_firing_ten_times_at_once_closes_what_is_due_once(mesh: Any) -> None:
    """The row is older than a month, so the month before this one is due: the host was off on the first."""
    mesh.sql("archive", "UPDATE scheduled_snapshots SET created_at = now() - interval '40 days'", role="owner")
    runs = [
        subprocess.Popen([sys.executable, SCRIPT], env=mesh.environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        for _ in range(10)
    ]
    said = [run.communicate(timeout=180)[0].decode() for run in runs]
    assert {run.returncode for run in runs} <= {0, 75}, said
    assert 0 in {run.returncode for run in runs}
    assert "nothing due" in mesh.snapshots().stdout.lower() + mesh.snapshots().stderr.lower()
    assert mesh.sql("archive", DOUBLED) == []
    jobs = mesh.sql(
        "archive", "SELECT count(*) FROM snapshot_jobs WHERE job_type = 'scheduled' AND status = 'completed'"
    )
    assert jobs == [(1,)]


def test_five_hundred_dripping_clients_keep_nobody_else_waiting(mesh: Any) -> None:
    port = int(mesh.url("archive").rsplit(":", 1)[1])
    with ExitStack() as stack:
        for _ in range(500):
            link = stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
            link.sendall(b"POST /api/snapshot HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n{")
        slowest = 0.0
        for _ in range(20):
            began = time.monotonic()
            assert requests.get(f"{mesh.url('archive')}/health", timeout=5).ok
            slowest = max(slowest, time.monotonic() - began)
    assert slowest < 2  # a hang takes longer; how quick it is stands in the figures


def test_sigterm_under_load_fails_no_started_request(mesh: Any) -> None:
    scopes = ("ledger:read", "archive:read")
    mesh.token(*scopes)
    answers: list[Any] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                answers.append(mesh.call("GET", "archive", "/api/snapshots/search?limit=5", scopes).status_code)
            except requests.ConnectionError:
                answers.append("refused")  # nginx would try the next one; a cut answer would be a ChunkedEncodingError
                time.sleep(0.05)

    askers = [threading.Thread(target=ask) for _ in range(3)]
    for asker in askers:
        asker.start()
    try:
        time.sleep(0.5)
        os.kill(mesh.pid("archive"), signal.SIGTERM)
        time.sleep(1)
        mesh.wait_ready()
        time.sleep(0.5)
    finally:
        stop.set()
        for asker in askers:
            asker.join()
    assert set(answers) <= {200, 503, "refused"}
    assert answers[-1] == 200


def test_a_killed_service_is_back_within_five_seconds(mesh: Any) -> None:
    for service in ("codex", "ledger", "archive", "helm"):
        os.kill(mesh.pid(service), signal.SIGKILL)
        time.sleep(0.2)
        mesh.wait_ready(5)
        assert mesh.is_ready(service)


def test_a_service_with_few_file_descriptors_refuses_and_recovers(mesh: Any) -> None:
    process = psutil.Process(mesh.pid("codex"))
    limits = process.rlimit(psutil.RLIMIT_NOFILE)
    process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + 5, limits[1]))
    port = int(mesh.url("codex").rsplit(":", 1)[1])
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        time.sleep(0.5)
    process.rlimit(psutil.RLIMIT_NOFILE, limits)
    mesh.wait_ready(30)
    assert_closes(mesh, 2013, 6)


def test_after_all_that_the_log_verifies(mesh: Any) -> None:
    assert mesh.run("hivematrix-archive", "verify").stdout.startswith("good")
