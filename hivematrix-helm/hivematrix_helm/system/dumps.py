"""pg_dump and pg_restore: started without a shell, the password in a file, never left behind."""

import contextlib
import os
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from hivematrix_common.failpoints import failpoint
from hivematrix_common.postgres import dies_with_parent, program
from sqlalchemy.engine import make_url

from hivematrix_helm.domain.backup import Stored
from hivematrix_helm.system import streams
from hivematrix_helm.system.database import pgpass
from hivematrix_helm.system.streams import CHUNK, StreamError

DEBIAN = Path("/usr/lib/postgresql")
_MAJOR = 10_000
_SAID = 3  # lines of a program's last words


class DumpError(Exception):
    """A dump or a restore failed; the text says of which database, and what the program said."""


@dataclass(frozen=True, slots=True)
class Written:
    """A dump in its file, and its size before it was compressed."""

    stored: Stored
    plain: int


def tool(name: str, server: int) -> str:
    """The program of the server's own version where this machine has it, as Debian lays it out; else the usual one.

    A newer pg_restore sends an older server what it does not know, and an older one reads no newer dump.
    """
    own = DEBIAN / str(server // _MAJOR) / "bin" / name
    return str(own) if not os.environ.get("HIVEMATRIX_PG_BIN") and os.access(own, os.X_OK) else program(name)


def tool_version(server: int) -> tuple[int, str]:
    """The major version of pg_dump for that server, and what it calls itself; ClusterError when there is none."""
    path = tool("pg_dump", server)
    said = subprocess.run([path, "--version"], capture_output=True, text=True, check=False).stdout.strip()
    found = re.search(r"\) (\d+)", said)
    if not found:
        raise DumpError(f"{path} does not say its version: {said!r}")
    return int(found[1]), said


def refuse_older_tool(server: int, database: str) -> None:
    """A pg_dump older than its server leaves out what it does not know."""
    major, said = tool_version(server)
    if major < server // _MAJOR:
        raise DumpError(
            f"{database}: {said} is older than its server, {server // _MAJOR}; "
            "name the bin folder of the server's version in HIVEMATRIX_PG_BIN"
        )


def dump(url: str, server: int, snapshot: str, path: Path, sealed_for: Sequence[Any]) -> Written:
    """One database as of an exported snapshot, into a new file at `path`; `server` is its version."""
    options = ["--format=custom", "--compress=0", f"--snapshot={snapshot}", "--no-password"]
    with _connected(url) as to, _started(tool("pg_dump", server), [*options, to.place], to) as started:
        assert started.process.stdout  # a pipe, as asked
        failpoint("backup.dumping")
        try:
            stored, plain = streams.pack(started.process.stdout, path, sealed_for)
        except StreamError:
            started.process.kill()  # it would wait for ever for somebody to read on
            raise
        started.finish(to.place)
    return Written(stored, plain)


def restore(path: Path, url: str, server: int, key: Any | None) -> Stored:
    """Put a dump into an empty database of a server of that version, whole or not at all; what its file was."""
    options = ["--exit-on-error", "--single-transaction", "--no-password"]
    with (
        _connected(url) as to,
        _started(tool("pg_restore", server), [*options, f"--dbname={to.place}"], to) as started,
    ):
        return _feed(started, path, key)


def check_contents(path: Path, server: int, key: Any | None) -> Stored:
    """Read a dump's table of contents, and the whole file with it; DumpError when pg_restore cannot."""
    with _started(tool("pg_restore", server), ["--list"]) as started:
        return _feed(started, path, key, whole=False)


@dataclass(frozen=True, slots=True)
class _Connection:
    """A connection without its password, and the file that holds it: in memory, so that nobody who is killed leaves it.

    `passwords` is the file's descriptor, which a program inherits under the same number.
    """

    place: str
    passwords: int

    @property
    def environ(self) -> dict[str, str]:
        return {"PGPASSFILE": f"/proc/self/fd/{self.passwords}", "PGOPTIONS": "-c statement_timeout=0"}


class _Tool:
    """A running program and the file that takes its words, which may be many."""

    def __init__(self, process: "subprocess.Popen[bytes]", words: IO[bytes]) -> None:
        self.process, self.words = process, words

    def finish(self, of: str) -> None:
        """Wait for its end; DumpError unless it says that all went well."""
        code = self.process.wait()
        if code:
            self.words.seek(0)
            lines = self.words.read().decode(errors="replace").strip().splitlines()
            said = " ".join(line.strip() for line in lines[:_SAID]) or f"exit {code}"
            raise DumpError(f"{make_url(of).database if '://' in of else of}: {said}")


class _Input:
    """A program's standard input. Who wants only what stands in front, the table of contents, is spared the rest."""

    def __init__(self, file: IO[bytes], *, whole: bool) -> None:
        self._file, self._whole, self._open = file, whole, True

    def write(self, data: bytes) -> int:
        if self._open:
            try:
                self._file.write(data)
            except BrokenPipeError:
                if self._whole:
                    raise
                self._open = False
        return len(data)


def _feed(tool: _Tool, path: Path, key: Any | None, *, whole: bool = True) -> Stored:
    assert tool.process.stdin  # a pipe, as asked
    try:
        stored = streams.unpack(path, _Input(tool.process.stdin, whole=whole), key)
    except StreamError:
        with contextlib.suppress(OSError):
            tool.process.stdin.close()
        tool.process.wait()
        _raise_its_own(tool, path)
        raise
    with contextlib.suppress(BrokenPipeError):
        tool.process.stdin.close()
    tool.finish(path.name)
    return stored


def _raise_its_own(tool: _Tool, path: Path) -> None:
    """A program that ended while it was fed says best why; that its input ended too early it says of a bad file."""
    tool.words.seek(0)
    if b"ERROR" in tool.words.read():
        tool.finish(path.name)


@contextmanager
def _started(path: str, arguments: list[str], to: _Connection | None = None) -> Iterator[_Tool]:
    feeds = Path(path).name == "pg_restore"
    with tempfile.TemporaryFile() as words:
        process = subprocess.Popen(
            [*dies_with_parent("KILL"), path, *arguments],
            stdin=subprocess.PIPE if feeds else subprocess.DEVNULL,
            stdout=subprocess.DEVNULL if feeds else subprocess.PIPE,
            stderr=words,
            env=os.environ | (to.environ if to else {}),
            pass_fds=(to.passwords,) if to else (),
            bufsize=CHUNK if feeds else -1,
        )
        try:
            yield _Tool(process, words)
        finally:
            if process.poll() is None:
                process.kill()
            with contextlib.suppress(OSError):
                process.communicate()


@contextmanager
def _connected(url: str) -> Iterator[_Connection]:
    parsed = make_url(url).set(drivername="postgresql")
    with os.fdopen(os.memfd_create("pgpass"), "wb", buffering=0) as file:
        os.fchmod(file.fileno(), 0o600)
        file.write(pgpass([parsed]).encode())
        # A place without a password. `_replace` would put "***" there; None leaves it out.
        place = parsed._replace(password=None).render_as_string(hide_password=False)
        yield _Connection(place, file.fileno())
