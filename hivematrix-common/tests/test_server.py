"""A real process on a real port: what Waitress refuses, how it drains, and that a hung database hangs nothing else."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests
from hivematrix_common.postgres import Cluster, free_port
from hivematrix_common.server import _stop_listening, make_server
from hivematrix_common.testing import Server

pytestmark = pytest.mark.mesh
PROGRAM = """
import importlib.util, sys
sys.path.insert(0, {package!r})
from hivematrix_common import cli, config, logs
config.PORTS["toy"] = 5999
spec = importlib.util.spec_from_file_location("toy_conftest", {conftest!r})
toy = importlib.util.module_from_spec(spec)
sys.modules["toy_conftest"] = toy
spec.loader.exec_module(toy)
config.service_folder = lambda name: config.Path({home!r})
cli.run(cli.service_group(toy.ToySettings, toy.create_toy, "toy"), ["serve"])
"""


@pytest.fixture
def start(home: Path, configure: Callable[..., Any], request: pytest.FixtureRequest) -> Iterator[Callable[..., Any]]:
    """`start(database_url)`: the toy served by its own process; returns (process, base address)."""
    started: list[subprocess.Popen[str]] = []

    def serve(url: str, port: int | None = None, **environ: str) -> tuple[subprocess.Popen[str], str]:
        port = port or free_port()
        request.getfixturevalue("toy_settings")({"database": {"url": url}, "service": {"port": str(port)}})
        package = next(path for path in sys.path if Path(path, "hivematrix_toy").exists())
        conftest = str(Path(__file__).with_name("conftest.py"))
        program = PROGRAM.format(package=package, conftest=conftest, home=str(home))
        process = subprocess.Popen(
            [sys.executable, "-c", program],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"HIVEMATRIX_HOME": str(home)} | environ,
        )
        started.append(process)
        return process, f"http://127.0.0.1:{port}"

    yield serve
    for process in started:
        process.kill()
        process.communicate()


def wait_for(check: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while True:
        try:
            if check():
                return
        except requests.RequestException:
            pass
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.fixture
def running(start: Callable[..., Any], postgres: Server) -> tuple[subprocess.Popen[str], str]:
    process, url = start(postgres.url("toy_user", postgres.template("toy")))
    wait_for(lambda: requests.get(f"{url}/readyz", timeout=1).ok)
    return process, url


def raw(url: str, data: bytes) -> tuple[int, dict[str, Any]]:
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=5) as link:
        link.sendall(data)
        answer = b""
        while chunk := link.recv(65536):
            answer += chunk
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"application/problem+json" in head
    return int(head.split()[1]), json.loads(body)


@pytest.mark.parametrize(
    ("request_bytes", "status", "code"),
    [
        (b"POST /api/notes HTTP/1.1\r\nHost: x\r\nContent-Length: 52428800\r\n\r\n", 413, "body_too_large"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nX-Big: ".ljust(16_384, b"x"), 431, "header_too_large"),
        (b"GET / HTTP/1.1\r\nHost: x\r\nContent-Length: minus one\r\n\r\n", 400, "bad_request"),
    ],
)
def test_what_waitress_refuses_is_a_problem_too(running: Any, request_bytes: bytes, status: int, code: str) -> None:
    found, problem = raw(running[1], request_bytes)
    assert (found, problem["code"]) == (status, code)
    assert re.fullmatch("[0-9a-f]{32}", problem["trace_id"])
    assert problem["instance"] == ("/api/notes" if status == 413 else "/")


def cpus_of_threads(process: subprocess.Popen[str]) -> list[set[int]]:
    return [os.sched_getaffinity(int(folder.name)) for folder in Path(f"/proc/{process.pid}/task").iterdir()]


def test_what_answers_stays_on_one_cpu_and_the_rest_has_all(running: Any) -> None:
    process, _ = running
    allowed, found = os.sched_getaffinity(0), cpus_of_threads(process)
    threads = 4 + 1  # Waitress's workers and the thread that all connections go through
    if len(allowed) > 1:
        assert sum(len(cpus) == 1 for cpus in found) == threads
    assert os.sched_getaffinity(process.pid) == allowed  # the main thread, and what is started from it


def test_what_answers_may_use_all_cpus(start: Any, postgres: Server, configure: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("HIVEMATRIX_TOY_SERVICE_ONE_CPU", "no")
    process, url = start(postgres.url("toy_user", postgres.template("toy")))
    wait_for(lambda: requests.get(f"{url}/readyz", timeout=1).ok)
    assert all(cpus == os.sched_getaffinity(0) for cpus in cpus_of_threads(process))


def test_sigterm_finishes_what_runs_and_leaves_with_zero(running: Any, people: dict[str, str]) -> None:
    process, url = running
    headers = {"Authorization": f"Bearer {people['admin']}"}
    host, port = url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port)), timeout=10) as link:
        link.sendall(
            f"GET /api/slow HTTP/1.1\r\nHost: x\r\nAuthorization: {headers['Authorization']}\r\n"
            "Connection: close\r\n\r\n".encode()
        )
        time.sleep(0.3)
        process.send_signal(signal.SIGTERM)
        time.sleep(0.2)
        assert requests.get(f"{url}/readyz", timeout=1).json()["reason"] == "draining"
        answer = b"".join(iter(lambda: link.recv(65536), b""))
    assert b'"done"' in answer
    assert process.wait(timeout=10) == 0


@pytest.mark.filterwarnings("ignore:send_bytes:DeprecationWarning")
def test_who_stands_in_the_door_when_it_closes_is_let_in(toy: Any) -> None:
    object.__setattr__(toy.app.settings.service, "port", free_port())
    server = make_server(toy.app)
    with ExitStack() as stack:
        for _ in range(3):
            stack.enter_context(socket.create_connection(server.socket.getsockname(), timeout=5))
        _stop_listening(server)
        assert len(server.active_channels) == 3
        for channel in list(server.active_channels.values()):
            channel.handle_close()
    server.task_dispatcher.shutdown()
    server.trigger.close()


def test_a_service_out_of_memory_says_so_and_ends(running: Any, people: dict[str, str]) -> None:
    process, url = running
    with pytest.raises(requests.ConnectionError):
        requests.get(f"{url}/api/huge", headers={"Authorization": f"Bearer {people['admin']}"}, timeout=5)
    assert (process.wait(timeout=10), process.stderr.read()) == (1, "out of memory\n")


def test_a_taken_port_is_named_and_not_tried_again(start: Callable[..., Any], running: Any, postgres: Server) -> None:
    port = int(running[1].rsplit(":", 1)[1])
    process, _ = start(postgres.url("toy_user", "toy_db"), port)
    _, said = process.communicate(timeout=15)
    assert process.returncode == 78
    assert f"[service] port {port}" in said


def test_a_wrong_configuration_stops_the_start_with_78(start: Callable[..., Any]) -> None:
    process, _ = start("postgresql://x/y", HIVEMATRIX_TOY_DATABASE_URL="mysql://x/y")
    _, said = process.communicate(timeout=15)
    assert process.returncode == 78
    assert "[database] url" in said


def test_a_database_that_comes_later_makes_the_service_ready_by_itself(start: Callable[..., Any]) -> None:
    _, url = start(f"postgresql://toy_user@127.0.0.1:{free_port()}/toy_db")
    wait_for(lambda: requests.get(f"{url}/livez", timeout=1).ok)
    answer = requests.get(f"{url}/readyz", timeout=1)
    assert (answer.status_code, answer.json()["status"]) == (503, "fail")


def test_health_answers_quickly_while_the_database_hangs(start: Callable[..., Any], tmp_path: Path) -> None:
    """All workers but one may hang in the frozen server; the next request is told 503, and health stays quick."""
    with Cluster(tmp_path / "pg", free_port(), fsync=False) as cluster:
        server = Server(cluster)
        _, url = start(server.url("toy_user", server.template("toy")))
        wait_for(lambda: requests.get(f"{url}/readyz", timeout=1).ok)
        assert cluster.process
        frozen = [cluster.process, *backends(cluster)]
        for process in frozen:
            process.send_signal(signal.SIGSTOP)
        try:
            slowest = max(seconds_for(f"{url}/health") for _ in range(60))
            wait_for(lambda: requests.get(f"{url}/health", timeout=1).status_code == 503)
        finally:
            for process in frozen:
                process.send_signal(signal.SIGCONT)
        wait_for(lambda: requests.get(f"{url}/readyz", timeout=1).ok)
    assert slowest < 5  # a hang takes longer; how quick it is stands in the figures


def backends(cluster: Cluster) -> list[Any]:
    import psutil

    assert cluster.process
    return psutil.Process(cluster.process.pid).children(recursive=True)


def seconds_for(url: str) -> float:
    began = time.monotonic()
    requests.get(url, timeout=5)
    time.sleep(0.05)
    return time.monotonic() - began - 0.05
