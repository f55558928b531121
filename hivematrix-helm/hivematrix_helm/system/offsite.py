"""Commands of a person's choice that copy a set elsewhere and read it back: no shell, a limit, their last words."""

import contextlib
import hashlib
import os
import signal
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from hivematrix_common.postgres import dies_with_parent

from hivematrix_helm.domain.backup import Stored

CHUNK = 1024 * 1024
_SAID = 300


class CommandError(Exception):
    """A command could not be run, failed, or took too long; the text says which and what it said."""


def run(words: list[str], seconds: float) -> None:
    """Run a command to its end; what it prints is of no interest unless it fails."""
    with _running(words, seconds, subprocess.DEVNULL):
        pass


def read(words: list[str], seconds: float) -> Stored:
    """What a command prints: how many bytes, and their hash. Nothing of it is kept."""
    size, digest = 0, hashlib.sha256()
    with _running(words, seconds, subprocess.PIPE) as printed:
        assert printed  # a pipe, as asked
        while chunk := printed.read(CHUNK):
            size += len(chunk)
            digest.update(chunk)
    return Stored(size, digest.hexdigest())


@contextmanager
def _running(words: list[str], seconds: float, output: int) -> Iterator[IO[bytes] | None]:
    late = threading.Event()
    with tempfile.TemporaryFile() as said:
        process = _start(words, output, said)

        def give_up() -> None:
            late.set()
            _kill(process)

        limit = threading.Timer(seconds, give_up)
        limit.start()
        try:
            yield process.stdout
            process.wait()
        finally:
            limit.cancel()
            _kill(process)
            process.communicate()
        if late.is_set():
            raise CommandError(f"{words[0]} took longer than {seconds:.0f} s")
        if process.returncode:
            raise CommandError(f"{words[0]} ended with {process.returncode}: {_last_words(said)}")


def _start(words: list[str], output: int, said: IO[bytes]) -> "subprocess.Popen[bytes]":
    try:
        return subprocess.Popen(
            [*dies_with_parent("TERM"), *words],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=said,
            start_new_session=True,
        )
    except OSError as error:
        raise CommandError(f"{words[0]}: {error.strerror}") from None


def _kill(process: "subprocess.Popen[bytes]") -> None:
    """With whatever it started; it is not waited for yet, so its number is still its own."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)


def _last_words(said: IO[bytes]) -> str:
    said.seek(max(0, said.seek(0, os.SEEK_END) - _SAID))
    return " ".join(said.read().decode(errors="replace").split()) or "it said nothing"
