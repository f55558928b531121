"""A service's audit rows for Helm to collect: in the order of their ids, none skipped, none that may still vanish.

And when each token was last used, which only the service that takes it knows.
"""

from typing import Any
from uuid import UUID

from flask import Response, current_app
from pydantic import Field
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from hivematrix_common import audit, clock
from hivematrix_common.database import AnySession
from hivematrix_common.errors import Problem
from hivematrix_common.schemas import LARGEST_PAGE, NO_NUL, Model
from hivematrix_common.web import Api, json_answer

COLUMNS = (
    *("uid", "at", "service", "actor", "actor_kind", "role", "action", "target", "outcome", "status", "address"),
    *("trace_id", "details"),
)
api = Api("audit", __name__)
# Which database this is: after a restore it is another one, whose ids may have been given out before.
_SOURCE = text("""
    SELECT format('%s/%s/%s', system_identifier, timeline_id, oid)
    FROM pg_control_system(), pg_control_checkpoint(), pg_database WHERE datname = current_database()
""")
_PATIENCE = text("SET LOCAL lock_timeout = '250ms'")
# Alone with the lock there is no transaction that has drawn an id and not ended.
_SETTLED = text(f"SELECT pg_advisory_xact_lock({audit.LOCK})")
_PAGE = text(f"SELECT id, {', '.join(COLUMNS)} FROM audit.entries WHERE id > :after ORDER BY id LIMIT :limit")  # noqa: S608
_USES = text("SELECT token_id, used_at, address FROM audit.token_uses ORDER BY token_id")


class EntriesQuery(Model):
    source: str = Field("", max_length=100, pattern=NO_NUL, description="the last answer's; another's begins anew")
    after: int = Field(0, ge=0, lt=2**63, description="the last answer's `last`")
    limit: int = Field(LARGEST_PAGE, ge=1, le=LARGEST_PAGE)


class AuditEntry(Model):
    uid: UUID
    at: str
    service: str
    actor: str | None
    actor_kind: str
    role: str | None
    action: str
    target: str | None
    outcome: str
    status: int | None
    address: str | None
    trace_id: str | None
    details: dict[str, Any]


class AuditEntries(Model):
    source: str
    last: int
    more: bool
    entries: list[AuditEntry]


class TokenUse(Model):
    token_id: str
    used_at: str
    address: str | None


class TokenUses(Model):
    uses: list[TokenUse]


@api.get("/api/audit/entries", scope="audit:read", responses={200: AuditEntries}, summary="What was done, oldest first")
def entries(query: EntriesQuery) -> Response:
    audit.flush()
    session = current_app.extensions["hivematrix_db"].session
    return json_answer(page(session, query.source, query.after, query.limit))


@api.get("/api/audit/token-uses", scope="audit:read", responses={200: TokenUses}, summary="When tokens were last used")
def token_uses() -> Response:
    return json_answer({"uses": uses(current_app.extensions["hivematrix_db"].session)})


def uses(session: AnySession) -> list[dict[str, Any]]:
    """Of each token that was ever used here: when and where from, last time; a minute late at most."""
    rows = session.execute(_USES).mappings()
    return [dict(row) | {"used_at": clock.instant_text(row["used_at"])} for row in rows]


def page(session: AnySession, source: str, after: int, limit: int) -> dict[str, Any]:
    """The rows that follow `after`, or the first ones when `source` is not this database.

    Problem(busy) while a transaction that adds a row takes its time to commit; it ends the session's transaction.
    """
    own = session.scalar(_SOURCE)
    after = after if source == own else 0
    session.execute(_PATIENCE)
    try:
        session.execute(_SETTLED)
    except OperationalError:
        session.rollback()
        raise Problem("busy", "A row is just being added; ask again.", headers={"Retry-After": "1"}) from None
    rows = [dict(row._mapping) for row in session.execute(_PAGE, {"after": after, "limit": limit + 1})]  # noqa: SLF001
    session.rollback()
    found = rows[:limit]
    last = found[-1]["id"] if found else after
    plain = [{name: row[name] for name in COLUMNS} | {"at": row["at"].isoformat()} for row in found]
    return {"source": own, "last": last, "more": len(rows) > limit, "entries": plain}
