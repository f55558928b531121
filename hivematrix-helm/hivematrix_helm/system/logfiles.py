"""The files in HOME/logs: their ends read, merged by time, followed, and put aside when they are too long."""

import heapq
import os
import shutil
import time
from collections import deque
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from hivematrix_common.sections import Service

from hivematrix_helm.domain.loglines import Entry, Filter, parse

LOOKED_BACK = 8 * 1024 * 1024  # bytes of each file, unless the whole is asked for
POLL_SECONDS = 0.5
_TRIES = 100
_FIRST = datetime.min.replace(tzinfo=UTC)


def services(home: Path) -> list[str]:
    """Whose logs there are."""
    return sorted(path.stem for path in (home / "logs").glob("*.log"))


def ends(home: Path, names: list[str]) -> dict[str, int]:
    """How long each log is now: where `last` stops and `follow` goes on."""
    return {name: _size(_path(home, name)) for name in names}


def last(home: Path, until: dict[str, int], wanted: Filter, limit: int, *, whole: bool = False) -> list[Entry]:
    """The newest `limit` entries that `wanted` takes, oldest first; of each file its last 8 MiB or the
    `whole`, with what was put aside.
    """
    found = [
        deque(filter(wanted.takes, parse(name, _lines(_path(home, name), end, whole=whole))), maxlen=limit)
        for name, end in until.items()
    ]
    return list(deque(heapq.merge(*found, key=lambda entry: entry.time or _FIRST), maxlen=limit))


def follow(home: Path, places: dict[str, int], wanted: Filter) -> Iterator[Entry]:
    """What is written after `places`, for ever."""
    while True:
        for name, place in places.items():
            text, places[name] = _whole_lines(_path(home, name), place)
            yield from filter(wanted.takes, parse(name, text.splitlines()))
        time.sleep(POLL_SECONDS)


def shorten(path: Path, limits: Service) -> None:
    """Put a log that is too long aside, for a writer that goes on in the same file, at its end wherever that is.

    What it says in the instant between the copy and the cut is in neither: only PostgreSQL's log is treated so.
    """
    if _size(path) < limits.log_max_mb * 2**20:
        return
    copy = path.with_name(f"{path.name}.new")
    with path.open("r+b") as log, copy.open("wb") as aside:
        copy.chmod(0o600)
        shutil.copyfileobj(log, aside)
        for number in range(limits.log_keep - 1, 0, -1):
            if (older := _aside(path, number)).exists():
                older.replace(_aside(path, number + 1))
        copy.replace(_aside(path, 1))
        for _ in range(_TRIES):  # what was said meanwhile; a reader may see a line that is half written
            shutil.copyfileobj(log, aside)
            if _ends_a_line(log):
                break
            time.sleep(0.001)
        log.truncate(0)


def _ends_a_line(log: BinaryIO) -> bool:
    """Whether what was read up to here ends with a line."""
    log.seek(-1, os.SEEK_CUR)
    return log.read(1) == b"\n"


def _aside(path: Path, number: int) -> Path:
    return path.with_name(f"{path.name}.{number}")


def _older(path: Path) -> list[Path]:
    """What was put aside of a log, the oldest first."""
    numbers = sorted(
        (int(aside.suffix[1:]) for aside in path.parent.glob(f"{path.name}.*") if aside.suffix[1:].isdigit()),
        reverse=True,
    )
    return [_aside(path, number) for number in numbers]


def _lines(path: Path, end: int, *, whole: bool) -> Iterator[str]:
    for older in _older(path) if whole else ():
        yield from older.read_bytes().decode(errors="replace").splitlines()
    if not path.exists():
        return
    with path.open("rb") as file:
        if not whole and end > LOOKED_BACK:
            file.seek(end - LOOKED_BACK)
            file.readline()
        place = file.tell()
        for line in file:
            place += len(line)
            if place > end:
                break
            yield line.decode(errors="replace")


def _whole_lines(path: Path, place: int) -> tuple[str, int]:
    """What stands after `place` up to the last line break; a file that became shorter was begun anew."""
    if not path.exists():
        return "", 0
    with path.open("rb") as file:
        file.seek(place if place <= os.fstat(file.fileno()).st_size else 0)
        start = file.tell()
        text, mark, _ = file.read().rpartition(b"\n")
    return text.decode(errors="replace"), start + len(text) + len(mark)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _path(home: Path, name: str) -> Path:
    return home / "logs" / f"{name}.log"
