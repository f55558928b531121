"""Idempotency keys: the answer to a keyed request is stored in the transaction that made its facts.

A caller that lost the answer sends the same key and body again and gets the stored one. The same key with another body
is refused (422), and one that is still being worked on as well (409). The table is insert-only.
"""

import re
from dataclasses import dataclass

from flask import Response, request
from sqlalchemy import text

from hivematrix_common import auth, clock
from hivematrix_common.database import AnySession, try_advisory_xact_lock
from hivematrix_common.domain.canonical import digest
from hivematrix_common.errors import Problem

HEADER = "Idempotency-Key"
_KEY = re.compile(r"[\x21-\x7e]{1,200}")


@dataclass(frozen=True, slots=True)
class Keyed:
    """A claimed key: hand it to `store` before the commit."""

    table: str
    caller: str
    key: str
    request_digest: str


def table_ddl(table: str) -> str:
    """The table's definition, for a service's migration."""
    return f"""
        CREATE TABLE {table} (
            caller text NOT NULL,
            key text NOT NULL,
            request_digest text NOT NULL,
            status smallint NOT NULL,
            media_type text NOT NULL,
            body bytea NOT NULL,
            created_at timestamptz NOT NULL,
            PRIMARY KEY (caller, key)
        )"""


def claim(session: AnySession, table: str) -> Keyed | Response | None:
    """Claim the request's key until the transaction ends.

    None when the request has no key, the stored Response when it was answered before, else the claim.
    """
    key = request.headers.get(HEADER)
    if key is None:
        return None
    if not _KEY.fullmatch(key):
        raise Problem("bad_request", f"{HEADER}: expected 1 to 200 visible ASCII characters.")
    keyed = Keyed(table, auth.caller().key, key, _request_digest())
    if not try_advisory_xact_lock(session, f"idempotency {keyed.caller} {key}"):
        raise Problem("still_running", "A request with this key is still being answered.", headers={"Retry-After": "1"})
    return _stored(session, keyed) or keyed


def store(session: AnySession, keyed: Keyed | None, answer: Response) -> Response:
    """Keep `answer` under the claimed key; the caller commits it together with its facts. Without a claim, nothing."""
    if keyed:
        statement = text(
            f"INSERT INTO {keyed.table} (caller, key, request_digest, status, media_type, body, created_at)"  # noqa: S608
            " VALUES (:caller, :key, :request_digest, :status, :media_type, :body, :created_at)"
        )
        values = {
            "caller": keyed.caller,
            "key": keyed.key,
            "request_digest": keyed.request_digest,
            "status": answer.status_code,
            "media_type": answer.mimetype,
            "body": answer.get_data(),
            "created_at": clock.now(),
        }
        session.execute(statement, values)
    return answer


def _request_digest() -> str:
    return digest(f"{request.method} {request.path}\n".encode() + request.get_data())


def _stored(session: AnySession, keyed: Keyed) -> Response | None:
    query = text(
        f"SELECT request_digest, status, media_type, body FROM {keyed.table}"  # noqa: S608
        " WHERE caller = :caller AND key = :key"
    )
    row = session.execute(query, {"caller": keyed.caller, "key": keyed.key}).one_or_none()
    if row is None:
        return None
    if row.request_digest != keyed.request_digest:
        raise Problem("idempotency_mismatch", "This key was used for a request with another body.")
    return Response(bytes(row.body), row.status, {"Idempotent-Replay": "true"}, mimetype=row.media_type)
