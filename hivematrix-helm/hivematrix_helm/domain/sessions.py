"""How long a session lives, and for how long its end has to be told."""

from dataclasses import dataclass
from datetime import datetime, timedelta

IDLE, LONGEST = timedelta(hours=2), timedelta(hours=12)
# A signed token outlives its session's end by at most its own 15 minutes; services forget the end after that.
TOLD_FOR = timedelta(minutes=16)
CODE_LIVES = timedelta(seconds=60)


@dataclass(frozen=True, slots=True)
class Span:
    """A session's times: last seen, latest end, and when it was ended before that."""

    seen_at: datetime
    ends_at: datetime
    revoked_at: datetime | None

    def alive(self, at: datetime) -> bool:
        return self.revoked_at is None and at < min(self.ends_at, self.seen_at + IDLE)
