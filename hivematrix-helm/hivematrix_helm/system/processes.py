"""Processes of ours: started with their output appended to a log, known again by pid and start time, ended."""

import contextlib
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import psutil
from hivematrix_common.config import checkout
from hivematrix_common.postgres import dies_with_parent
from hivematrix_common.starter import DOOR

from hivematrix_helm.system.confs import Conf

LAST_WORDS = 64 * 1024
BACKLOG = 1024  # who waits while a service restarts


@dataclass(frozen=True, slots=True)
class Identity:
    """A pid is handed out again; a pid with its start time is not."""

    pid: int
    created: float

    def find(self) -> psutil.Process | None:
        """The process while it lives; a zombie lives no more."""
        with contextlib.suppress(psutil.Error):
            process = psutil.Process(self.pid)
            if abs(process.create_time() - self.created) < 0.01 and process.status() != psutil.STATUS_ZOMBIE:  # noqa: PLR2004
                return process
        return None


def identify(pid: int) -> Identity:
    """The identity of a process that lives or whose end nobody has taken notice of yet."""
    return Identity(pid, psutil.Process(pid).create_time())


def end(identities: list[Identity], patience: float) -> None:
    """SIGTERM, and SIGKILL for those that have not ended in time."""
    for signal_number in (signal.SIGTERM, signal.SIGKILL):
        alive = [process for identity in identities if (process := identity.find())]
        for process in alive:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal_number)
        psutil.wait_procs(alive, timeout=patience)


def command(service: str, *arguments: str) -> list[str]:
    """A service's own command, run without importing the service here."""
    code = f"import sys; from hivematrix_{service}.cli import main; main(sys.argv[1:])"
    return [sys.executable, "-c", code, *arguments]


def environment(home: Path) -> dict[str, str]:
    """What a service's process gets: this home, and the checkout's packages where nothing is installed.

    With one arena, as its threads take turns anyway: each thread's own kept its share of a close's pages.
    """
    folders = [str(folder) for folder in sorted(checkout().glob("hivematrix-*"))]
    path = os.pathsep.join([*folders, *filter(None, [os.environ.get("PYTHONPATH")])])
    return {"MALLOC_ARENA_MAX": "1"} | os.environ | {"HIVEMATRIX_HOME": str(home), "PYTHONPATH": path}


def address_of(home: Path, service: str) -> tuple[str, int] | None:
    """Where a service's conf has it listen; None when that does not say a port."""
    configured = Conf(home, service).section("service")
    port = configured.get("port", "")
    return (configured.get("bind", "127.0.0.1"), int(port)) if port.isdigit() else None


def family_of(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


class ServiceProcess:
    """One service's process, as the supervisor starts and follows it."""

    def __init__(self, service: str, home: Path) -> None:
        self.home, self.service, self.arguments = home, service, command(service, "serve")
        self.log = home / "logs" / f"{service}.log"
        self.process: subprocess.Popen[bytes] | None = None
        self._told = 0
        self._door: socket.socket | None = None

    @property
    def pid(self) -> int | None:
        return self.process.pid if self.process and self.process.returncode is None else None

    def launch(self) -> None:
        """It ends with the thread that calls this, so that none is left unwatched."""
        self.log.touch(mode=0o600)
        handed = self._open_door()
        with self.log.open("ab") as log:
            self._told = log.tell()
            self.process = subprocess.Popen(
                [*dies_with_parent("TERM"), *self.arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment(self.home) | handed,
                cwd=self.home,
                start_new_session=True,
                pass_fds=[int(number) for number in handed.values()],
            )

    def _open_door(self) -> dict[str, str]:
        """The socket it listens on is made here, so that who connects while it restarts waits instead of being refused.

        None is handed on where it cannot be made: the service then says what is wrong with its address.
        """
        address = address_of(self.home, self.service)
        if self._door and self._door.getsockname()[:2] != address:
            self.close_door()
        if address and not self._door:
            with contextlib.suppress(OSError):
                self._door = socket.create_server(address, family=family_of(address[0]), backlog=BACKLOG)
        return {DOOR: str(self._door.fileno())} if self._door else {}

    def close_door(self) -> None:
        """Refuse who connects from now on: nobody will answer soon."""
        if self._door:
            self._door.close()
            self._door = None

    def exit_code(self) -> int | None:
        return self.process.poll() if self.process else None

    def terminate(self) -> None:
        if self.process:
            self.process.terminate()

    def kill(self) -> None:
        if self.process:
            self.process.kill()

    def last_words(self) -> str:
        """What it said on stderr since its start, which is what is no JSON in the log: all of it, or a fault's line."""
        with self.log.open("rb") as log:
            end = log.seek(0, os.SEEK_END)
            told = self._told if self._told <= end else 0  # begun anew since
            log.seek(max(told, end - LAST_WORDS))
            lines = log.read().decode(errors="replace").splitlines()
        plain = [line.strip() for line in lines if line.strip() and not line.startswith("{")]
        return plain[-1] if "Traceback (most recent call last):" in plain else "; ".join(plain)
