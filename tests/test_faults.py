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
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import psutil
import psycopg2
import pytest
import requests
from hivematrix_common.conffile import read
from hivematrix_common.tokens import unregister
from urllib3.exceptions import NewConnectionError

pytestmark = pytest.mark.mesh
SCRIPT = str(Path(__file__).resolve().parents[1] / "hivematrix-archive" / "scheduled_snapshots.py")
KILL = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE usename = current_user AND pid <> pg_backend_pid()"""
SEARCH = ("GET", "archive", "/api/snapshots/search?limit=5")
MEGABYTE = 2**20


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
                    mesh.sql(service, KILL)

    mesh.strike("seal-bodies=sleep:0.5")
    close = mesh.start_close(2013, 1)
    mesh.wait_struck()
    killer = threading.Thread(target=kill_backends)
    killer.start()
    close.communicate(timeout=120)
    stop.set()
    killer.join()
    mesh.assert_closes(2013, 1)


@pytest.mark.parametrize(("service", "place"), [("archive", "seal-snapshots"), ("ledger", "accept-recorded")])
def test_a_backend_killed_in_mid_transaction_takes_all_of_it_along(mesh: Any, service: str, place: str) -> None:
    """And the page is asked for again by itself."""
    month = 10 if service == "ledger" else 11
    mesh.strike(f"{place}=sleep:0.5")
    close = mesh.start_close(2013, month)
    mesh.wait_struck()
    mesh.sql(service, KILL)
    out, err = close.communicate(timeout=120)
    assert close.returncode == 0, out + err
    mesh.assert_foreseen(service)
    mesh.assert_sound((2013, month))


def test_a_killed_server_comes_back_and_the_month_is_closed(mesh: Any) -> None:
    close = mesh.start_close(2013, 2)
    time.sleep(1.2)
    postmaster(mesh).kill()
    close.communicate(timeout=180)
    mesh.assert_closes(2013, 2)


def test_a_frozen_server_freezes_nobody_else(mesh: Any) -> None:
    server = postmaster(mesh)
    with frozen(server, *server.children(recursive=True)):
        slowest = 0.0
        for _ in range(20):
            began = time.monotonic()
            requests.get(f"{mesh.url('archive')}/livez", timeout=5)
            requests.get(f"{mesh.url('ledger')}/health", timeout=5)
            slowest = max(slowest, time.monotonic() - began)
    assert slowest < 5  # a hang takes longer; how quick it is stands in the figures
    mesh.assert_closes(2013, 3)


def use_up(stack: ExitStack, url: str) -> None:
    """Take every connection the server gives."""
    for _ in range(1000):
        try:
            stack.callback(psycopg2.connect(url).close)
        except psycopg2.OperationalError:
            return
    raise AssertionError("the server gave a thousand connections")


def test_used_up_connections_are_told_and_pass(mesh: Any) -> None:
    """Archive has lost its own connections, and strangers have taken every one there is."""
    url = read(mesh.home / "instance" / "archive.conf").get("database", "url").replace("+psycopg2", "")
    assert mesh.ask(*SEARCH).ok
    with ExitStack() as stack:
        for _ in range(10):  # a health probe may leave one free for a moment
            mesh.sql("archive", KILL + " AND application_name = 'hivematrix-archive'")
            use_up(stack, url)
            answer = mesh.ask(*SEARCH)
            stack.close()
            if not answer.ok:
                break
    assert (answer.status_code, answer.json()["code"]) == (503, "database_unavailable")
    mesh.wait_ready()
    assert mesh.ask(*SEARCH).ok


def test_a_peer_that_hangs_is_waited_for(mesh: Any) -> None:
    with frozen(psutil.Process(mesh.pid("codex"))):
        close = mesh.start_close(2013, 4)
        time.sleep(4)
    out, err = close.communicate(timeout=120)
    assert close.returncode == 0, out + err
    mesh.assert_sound((2013, 4))


def test_a_peer_that_is_away_is_named(mesh: Any) -> None:
    assert mesh.ask("POST", "helm", "/api/services/codex/stop").ok
    mesh.wait_for(lambda: not mesh.is_ready("codex"))
    try:
        done = mesh.snapshots("--year", "2013", "--month", "7", "--all", code=1)
    finally:
        assert mesh.ask("POST", "helm", "/api/services/codex/start").ok
    assert "codex: no answer, it cannot be reached" in done.stderr
    mesh.assert_closes(2013, 7)


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
    mesh.assert_closes(2013, 5)


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
    done = "SELECT target_year, target_month FROM snapshot_jobs WHERE job_type = 'scheduled' AND status = 'completed'"
    [month] = mesh.sql("archive", done)
    mesh.assert_sound(month)


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
    assert slowest < 5  # a hang takes longer; how quick it is stands in the figures


def is_refused(error: requests.ConnectionError) -> bool:
    """Whether nobody listened; an answer cut short or missing is another matter."""
    return isinstance(getattr(error.args[0], "reason", None), NewConnectionError)


def test_sigterm_under_load_fails_no_started_request(mesh: Any) -> None:
    assert mesh.ask(*SEARCH).ok
    answers: list[Any] = []
    stop = threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                answers.append(mesh.ask(*SEARCH).status_code)
            except requests.ConnectionError as error:
                answers.append("refused" if is_refused(error) else repr(error))  # nginx would try the next one
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


def test_a_killed_service_is_back_by_itself(mesh: Any) -> None:
    for service in ("codex", "ledger", "archive", "helm"):
        os.kill(mesh.pid(service), signal.SIGKILL)
        time.sleep(0.2)
        mesh.wait_ready()
        assert mesh.is_ready(service)


def test_a_service_with_few_file_descriptors_refuses_and_recovers(mesh: Any) -> None:
    """It goes on as the same process, finds the database again, and fills no disk with its complaints."""
    process = psutil.Process(mesh.pid("codex"))
    limits = process.rlimit(psutil.RLIMIT_NOFILE)
    process.rlimit(psutil.RLIMIT_NOFILE, (process.num_fds() + 5, limits[1]))
    port = int(mesh.url("codex").rsplit(":", 1)[1])
    with ExitStack() as stack:
        for _ in range(20):
            stack.enter_context(socket.create_connection(("127.0.0.1", port), timeout=5))
        time.sleep(2.5)  # until the database was looked for, too
    process.rlimit(psutil.RLIMIT_NOFILE, limits)
    mesh.wait_ready(30)
    assert mesh.pid("codex") == process.pid
    assert 0 < (mesh.home / "logs" / "codex.log").read_text().count("Too many open files") < 100
    mesh.assert_closes(2013, 6)


@pytest.mark.parametrize(("service", "place"), [("ledger", "accept-noted"), ("archive", "seal-check")])
def test_a_service_out_of_memory_in_mid_close_ends_and_comes_back(mesh: Any, service: str, place: str) -> None:
    """What it has may be used; it gets no more. Address space it has taken in advance, so that is no limit here."""
    month = 8 if service == "ledger" else 9
    mesh.wait_ready()
    mesh.strike(f"{place}=sleep:1")
    close = mesh.start_close(2013, month)
    mesh.wait_struck()
    process = psutil.Process(mesh.pid(service))
    process.rlimit(psutil.RLIMIT_DATA, (MEGABYTE, psutil.RLIM_INFINITY))
    out, err = close.communicate(timeout=120)
    assert close.returncode in {0, 1, 3}, out + err
    assert mesh.failed_for_good(2013, month) == []
    with ThreadPoolExecutor(8) as pool:
        while not mesh.was_replaced(service, process.pid):
            list(pool.map(mesh.is_ready, [service] * 8))
    mesh.assert_closes(2013, month)


def test_after_all_that_the_log_verifies(mesh: Any) -> None:
    assert mesh.run("hivematrix-archive", "verify").stdout.startswith("good")
