"""The commands that copy a set to another place and read it back: templates of a person's, never a shell's line."""

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Self

from hivematrix_common.domain.errors import DomainError

from hivematrix_helm.domain.backup import Record
from hivematrix_helm.domain.retention import is_verified

MEMBER = "off_site"
_PLACE = re.compile(r"\{([^{}]*)\}")


@dataclass(frozen=True, slots=True)
class Template:
    """A command's words, in which `{name}` and the like stand for what differs from set to set."""

    words: tuple[str, ...]

    @classmethod
    def parse(cls, key: str, text: str, places: tuple[str, ...]) -> Self:
        """DomainError unless it has every one of these places, and no other; a shell's quotes keep a word together."""
        try:
            words = tuple(shlex.split(text))
        except ValueError as error:
            raise DomainError(key, f"{error}: {text!r}") from None
        found = set(_PLACE.findall(text))
        if found != set(places):
            wanted = " and ".join(f"{{{place}}}" for place in places)
            raise DomainError(key, f"expected a command with {wanted}, and no other place, got {text!r}")
        return cls(words)

    def filled(self, **values: str) -> list[str]:
        """The words to run. What is put in stays within its word, whatever it holds."""
        return [_PLACE.sub(lambda place: values[place[1]], word) for word in self.words]


@dataclass(frozen=True, slots=True)
class Copy:
    """How a set's copy stands: `at` is when it was read back and found the same, `fault` why it was not."""

    at: datetime | None = None
    fault: str = ""

    def as_json(self) -> dict[str, Any]:
        return {"at": self.at.isoformat() if self.at else None, "fault": self.fault}

    @classmethod
    def of(cls, record: Record) -> Self:
        found: Mapping[str, Any] = record.more.get(MEMBER, {})
        at = found.get("at")
        return cls(datetime.fromisoformat(at) if at else None, str(found.get("fault", "")))


def awaited(records: list[Record]) -> list[Record]:
    """The verified sets that are still to be copied: the newest first, those that failed last behind the others."""
    waiting = [record for record in records if is_verified(record) and Copy.of(record).at is None]
    newest_first = sorted(waiting, key=lambda record: record.made_at, reverse=True)
    return sorted(newest_first, key=lambda record: bool(Copy.of(record).fault))
