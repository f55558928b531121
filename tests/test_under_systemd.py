"""The units' own lines, run by as much of systemd as a service can tell: notify socket, watchdog, descriptor store."""

import array
import os
import re
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
import requests
from hivematrix_common.config import SERVICES
from hivematrix_helm.system import control, meshfile

pytestmark = pytest.mark.mesh
ROOT = Path(__file__).resolve().parents[1]
WATCHDOG_SECONDS = 0.6
# What is kept becomes descriptor 3, and LISTEN_PID the process's own.
LISTEN = """
import os, sys
os.dup2(int(sys.argv[1]), 3)
os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid())}
os.execv(sys.argv[2], sys.argv[2:])
"""


class Started:
    """One service as its unit starts it. Its home and its Python are those of the tests."""

    def __init__(self, service: str, home: Path, folder: Path) -> None:
        told = dict(re.findall(r"(?m)^(ExecStart|WorkingDirectory|Environment)=(.*)$", _unit(service)))
        program, *arguments = told["ExecStart"].split()
        assert program == "/opt/hivematrix/.venv/bin/python"
        self.command = [sys.executable, *arguments]
        self.folder = told["WorkingDirectory"].replace("/opt/hivematrix", str(ROOT))
        self.environ = dict(pair.split("=") for pair in told["Environment"].split()) | {"HIVEMATRIX_HOME": str(home)}
        self.environ |= {"NOTIFY_SOCKET": str(folder / "notify"), "PATH": os.environ["PATH"]}
        self.environ |= {"WATCHDOG_USEC": str(int(WATCHDOG_SECONDS * 1_000_000))}
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(folder / "notify"))
        self.said: list[str] = []
        self.kept: socket.socket | None = None
        self.process: subprocess.Popen[bytes] | None = None
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        with suppress(OSError):  # until it is closed
            while True:
                data, ancillary, _, _ = self.notify.recvmsg(4096, socket.CMSG_SPACE(4))
                for _, _, numbers in ancillary:
                    if self.kept:
                        self.kept.close()
                    self.kept = socket.socket(fileno=array.array("i", numbers)[0])
                self.said += data.decode().splitlines()

    def start(self) -> None:
        self.said.clear()
        kept = self.kept.dup() if self.kept else None
        listen = [sys.executable, "-c", LISTEN, str(kept.fileno())] if kept else []
        self.process = subprocess.Popen(
            [*listen, *self.command],
            cwd=self.folder,
            env=self.environ,
            pass_fds=[kept.fileno()] if kept else [],
            stdout=subprocess.DEVNULL,
        )
        if kept:
            kept.close()

    def stop(self) -> int:
        assert self.process
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def close(self) -> None:
        if self.process and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.notify.shutdown(socket.SHUT_RD)
        self.notify.close()
        if self.kept:
            self.kept.close()


def _unit(service: str) -> str:
    return (ROOT / "systemd" / f"{service}.service").read_text()


def order(mesh: Any, do: str, service: str) -> None:
    """To the supervisor itself: Helm may be the service in question."""
    control.ask(meshfile.run_folder(mesh.home), {"do": do, "service": service})


@pytest.fixture
def started(mesh: Any, request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Started]:
    """The mesh's own process of a service has given its place to one of the unit."""
    service = request.param
    order(mesh, "stop", service)
    mesh.wait_for(lambda: mesh._pid(service) is None)
    process = Started(service, mesh.home, tmp_path)
    yield process
    process.close()
    order(mesh, "start", service)
    mesh.wait_ready()


@contextmanager
def caller(url: str) -> Iterator[list[str]]:
    """Somebody who asks on and on, each time by a connection of its own; what went wrong for them."""
    wrong: list[str] = []
    asked, stop = threading.Event(), threading.Event()

    def ask() -> None:
        while not stop.is_set():
            try:
                answer = requests.get(f"{url}/livez", timeout=30)
                wrong.extend([] if answer.ok else [str(answer.status_code)])
            except requests.RequestException as error:
                wrong.append(str(error))
            asked.set()

    thread = threading.Thread(target=ask)
    thread.start()
    try:
        assert asked.wait(30)
        yield wrong
        asked.clear()
        assert asked.wait(30)  # also after the last restart
    finally:
        stop.set()
        thread.join()


@pytest.mark.parametrize("started", SERVICES, indirect=True)
def test_a_unit_s_line_serves_gives_signs_of_life_and_restarts_unseen(
    mesh: Any, started: Started, request: pytest.FixtureRequest
) -> None:
    service = request.node.callspec.params["started"]
    started.start()
    mesh.wait_for(lambda: {"READY=1", "WATCHDOG=1", "STATUS=ready"} <= set(started.said))
    with caller(mesh.url(service)) as wrong:
        assert started.stop() == 0
        assert "STOPPING=1" in started.said
        started.start()
        mesh.wait_for(lambda: "READY=1" in started.said)
    assert wrong == []


def test_the_job_s_line_finds_nothing_due_or_seals(mesh: Any) -> None:
    text = _unit("archive-snapshot")
    told = dict(re.findall(r"(?m)^(ExecStart|WorkingDirectory)=(.*)$", text))
    folder = told["WorkingDirectory"].replace("/opt/hivematrix", str(ROOT))
    command = told["ExecStart"].split()
    done = subprocess.run(
        [sys.executable, *command[1:]], cwd=folder, env=mesh.environ, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
