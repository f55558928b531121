"""What people were shown of bills not yet accepted; kept for a week after they were last shown, to the day."""

from datetime import datetime, timedelta
from typing import Any

import orjson
from hivematrix_common.database import AnySession
from sqlalchemy import text

_KEPT = timedelta(days=7)
# One that was shown within this time need not be kept again.
FRESH = timedelta(days=1)
_KEEP = text(
    "INSERT INTO previews (account_number, period, body_sha256, body, shown_at)"
    " VALUES (:account, :period, :digest, :body, :now)"
    " ON CONFLICT (account_number, period, body_sha256) DO UPDATE SET shown_at = excluded.shown_at"
)
_DROP = text("DELETE FROM previews WHERE shown_at < :before")
_FIND = text("SELECT body FROM previews WHERE account_number = :account AND period = :period AND body_sha256 = :digest")


def keep(session: AnySession, account: str, period: str, *, digest: str, body: bytes, now: datetime) -> None:
    session.execute(_DROP, {"before": now - _KEPT})
    values = {"account": account, "period": period, "digest": digest, "body": body, "now": now}
    session.execute(_KEEP, values)


def find(session: AnySession, account: str, period: str, digest: str) -> dict[str, Any] | None:
    body = session.scalar(_FIND, {"account": account, "period": period, "digest": digest})
    return None if body is None else orjson.loads(bytes(body))
