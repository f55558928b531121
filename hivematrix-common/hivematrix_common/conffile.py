"""Instance conf files: read without interpolation (`%` is literal), changed one section at a time, whole and 0600."""

import threading
from collections.abc import Callable, Mapping
from configparser import RawConfigParser
from pathlib import Path
from typing import Generic, TypeVar

from hivematrix_common.durable import file_lock, write_file

T = TypeVar("T")


class Watched(Generic[T]):
    """What was read from a file, read again whenever the file changes."""

    def __init__(self, path: Path, read_again: Callable[[], T]) -> None:
        self._path, self._read_again = path, read_again
        self._lock = threading.Lock()
        self._stamp: tuple[int, int, int] | None = None
        self._known: T | None = None

    def value(self) -> T:
        with self._lock:
            stamp = self._file_stamp()
            if self._known is None or stamp != self._stamp:
                self._known, self._stamp = self._read_again(), stamp
            return self._known

    def _file_stamp(self) -> tuple[int, int, int]:
        try:
            found = self._path.stat()
        except FileNotFoundError:
            return (0, 0, 0)
        return found.st_mtime_ns, found.st_ino, found.st_size


def read(path: Path) -> RawConfigParser:
    """The parsed file. configparser.Error names the line of a fault; a key or section standing twice is one."""
    parser = RawConfigParser(strict=True, default_section="\0", inline_comment_prefixes=None)
    parser.read_string(path.read_text(encoding="utf-8"), source=str(path))
    return parser


def set_section(path: Path, name: str, values: Mapping[str, str]) -> None:
    """Write `[name]` with exactly these values; the other sections and their comments stay as they are."""
    lines = [f"[{name}]", *(f"{key} = {value}" for key, value in values.items())]
    if any("\n" in line for line in lines):
        raise ValueError(f"[{name}]: a value holds a line break")
    with file_lock(path.with_name(f".{path.name}.lock")):
        text = path.read_text(encoding="utf-8") if path.exists() else ""
        kept = _without(text, name).rstrip("\n")
        write_file(path, (kept + "\n\n" if kept else "") + "\n".join(lines) + "\n")


def drop_section(path: Path, name: str) -> bool:
    """Remove `[name]`; False when there is none."""
    with file_lock(path.with_name(f".{path.name}.lock")):
        text = path.read_text(encoding="utf-8")
        kept = _without(text, name)
        if kept == text:
            return False
        write_file(path, kept.rstrip("\n") + "\n")
    return True


def _without(text: str, name: str) -> str:
    kept, inside = [], False
    for line in text.splitlines(keepends=True):
        if line.startswith("["):
            inside = line.strip() == f"[{name}]"
        if not inside:
            kept.append(line)
    return "".join(kept)
