"""What a search of the audit may ask, and where a page of it ends."""

import re
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from hivematrix_common.domain.errors import DomainError

_CURSOR = re.compile(r"([0-9]{1,17})-([0-9]{1,18})")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Filter:
    """None asks nothing. `action` and `target` are parts of the text; `before` is exclusive."""

    service: str | None = None
    actor: str | None = None
    action: str | None = None
    target: str | None = None
    outcome: str | None = None
    trace_id: str | None = None
    since: datetime | None = None
    before: datetime | None = None

    @property
    def counted(self) -> bool:
        """Whether it asks for all rows, or a service's, which are counted as they come."""
        return replace(self, service=None) == Filter()


@dataclass(frozen=True, slots=True)
class Place:
    """The last row of a page; the next page holds what is older."""

    at: datetime
    id: int

    @classmethod
    def parse(cls, text: str) -> "Place":
        found = _CURSOR.fullmatch(text)
        if found is None:
            raise DomainError("cursor", "is not one that this list gave")
        return cls(_EPOCH + timedelta(microseconds=int(found[1])), int(found[2]))

    def __str__(self) -> str:
        return f"{(self.at - _EPOCH) // timedelta(microseconds=1)}-{self.id}"
