"""Log lines as people ask for them: JSON objects of our services, and what else a process said."""

import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from hivematrix_helm.domain.times import instant

LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
_POSTGRES = re.compile(r"([0-9-]{10} [0-9:.]{8,12}) UTC \[[0-9]+\] (?:\S+ )?([A-Z]+):  (.*)")
_SHOWN = {"time", "level", "service", "message", "logger", "trace_id", "exception"}


@dataclass(frozen=True, slots=True)
class Entry:
    """One line. What is no JSON object (a traceback, a refusal to start) has the time of the line before it."""

    service: str
    level: str
    message: str
    time: datetime | None = None
    trace_id: str | None = None
    context: dict[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        time = self.time.isoformat(timespec="milliseconds") if self.time else None
        named = {"time": time, "level": self.level, "service": self.service, "message": self.message}
        return named | {"trace_id": self.trace_id, "context": self.context}

    def as_text(self) -> str:
        time = self.time.strftime("%Y-%m-%d %H:%M:%S") if self.time else " " * 19
        shown = " ".join(f"{name}={value}" for name, value in self.context.items() if value is not None)
        exception = self.context.get("exception")
        head = f"{time} {self.service:8} {self.level:8} {self.message}"
        return f"{head} {shown}".rstrip() if exception is None else f"{head}\n{exception}"


@dataclass(frozen=True, slots=True)
class Filter:
    level: str = "DEBUG"
    trace_id: str | None = None
    since: datetime | None = None

    def takes(self, entry: Entry) -> bool:
        if _rank(entry.level) < _rank(self.level):
            return False
        if self.trace_id and entry.trace_id != self.trace_id:
            return False
        return not self.since or (entry.time is not None and entry.time >= self.since)


def parse(service: str, lines: Iterable[str]) -> Iterator[Entry]:
    time: datetime | None = None
    for line in lines:
        text = line.rstrip("\n")
        if text:
            entry = _entry(service, text, time)
            time = entry.time
            yield entry


def _entry(service: str, text: str, time: datetime | None) -> Entry:
    try:
        found = json.loads(text) if text.startswith("{") else None
        if isinstance(found, dict):
            return _structured(service, found)
    except (ValueError, KeyError, TypeError):
        pass
    if spoken := _POSTGRES.match(text):
        level = {"LOG": "INFO", "FATAL": "ERROR", "PANIC": "CRITICAL"}.get(spoken[2], spoken[2])
        return Entry(service, level if level in LEVELS else "INFO", spoken[3], instant(spoken[1]))
    return Entry(service, "ERROR", text, time)


def _structured(service: str, found: dict[str, Any]) -> Entry:
    context = {name: value for name, value in found.items() if name not in _SHOWN}
    if found.get("exception"):
        context["exception"] = str(found["exception"])
    return Entry(
        service,
        str(found["level"]).upper(),
        str(found["message"]),
        instant(str(found["time"])),
        found.get("trace_id"),
        context,
    )


def _rank(level: str) -> int:
    return LEVELS.index(level) if level in LEVELS else 1
