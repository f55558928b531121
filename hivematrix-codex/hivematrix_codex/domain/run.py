"""Where a run through the pages of the billing inputs is, and as of when: all its pages tell the same state."""

import re
from dataclasses import dataclass, replace
from typing import Final

from hivematrix_common.domain.errors import DomainError

PATTERN: Final = r"^[A-Za-z0-9]{0,32}(@[0-9]+:[0-9]+:[0-9,]*@[0-9TZ:.-]{20,32})?$"
LONGEST: Final = 4000


@dataclass(frozen=True, slots=True)
class Run:
    """`after` is the last account of the page before. `snapshot` names what was visible to the first page, `as_of` its
    time; both are empty on the first page.
    """

    after: str = ""
    snapshot: str = ""
    as_of: str = ""

    @classmethod
    def opened(cls, cursor: str) -> "Run":
        """From a page's cursor; DomainError when it is none."""
        if len(cursor) > LONGEST or not re.fullmatch(PATTERN, cursor):
            raise DomainError("cursor", f"expected what X-Next-Cursor said, got {cursor[:40]}")
        after, _, rest = cursor.partition("@")
        snapshot, _, as_of = rest.partition("@")
        return cls(after, snapshot, as_of)

    def cursor(self, after: str) -> str:
        """The next page's."""
        following = replace(self, after=after)
        return f"{following.after}@{following.snapshot}@{following.as_of}" if self.snapshot else after
