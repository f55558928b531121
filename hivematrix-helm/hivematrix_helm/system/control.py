"""The supervisor's control socket: one JSON line asks, one answers. Whoever may enter HOME/run may ask."""

import contextlib
import json
import os
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

SOCKET = "helm.sock"
ASK_SECONDS = 10.0
LONGEST = 4096


class NoSupervisorError(Exception):
    """Nobody supervises this home, or it does not answer."""


class Listener:
    """The supervisor's end. `serve_one` is called when the socket is readable."""

    def __init__(self, folder: Path) -> None:
        (folder / SOCKET).unlink(missing_ok=True)
        self.folder = folder
        self.socket = socket.socket(socket.AF_UNIX)
        with _short(folder) as path:
            self.socket.bind(path)
        (folder / SOCKET).chmod(0o600)
        self.socket.listen(8)

    def serve_one(self, answer: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        connection, _ = self.socket.accept()
        with connection, contextlib.suppress(OSError, ValueError):
            connection.settimeout(1.0)
            asked = json.loads(connection.makefile("rb").readline(LONGEST))
            connection.sendall(json.dumps(answer(asked)).encode() + b"\n")

    def close(self) -> None:
        self.socket.close()
        (self.folder / SOCKET).unlink(missing_ok=True)


def ask(folder: Path, question: dict[str, Any]) -> dict[str, Any]:
    """The supervisor's answer; NoSupervisorError when there is none."""
    try:
        with socket.socket(socket.AF_UNIX) as connection, _short(folder) as path:
            connection.settimeout(ASK_SECONDS)
            connection.connect(path)
            connection.sendall(json.dumps(question).encode() + b"\n")
            answer: dict[str, Any] = json.loads(connection.makefile("rb").readline())
            return answer
    except (OSError, ValueError) as error:
        raise NoSupervisorError(f"no supervisor answers in {folder}: {error}") from None


@contextlib.contextmanager
def _short(folder: Path) -> Iterator[str]:
    """A socket's path has at most 107 bytes, a home's may have more."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield f"/proc/self/fd/{handle}/{SOCKET}"
    finally:
        os.close(handle)
