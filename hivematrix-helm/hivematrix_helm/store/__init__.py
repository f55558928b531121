"""Helm's queries."""

from collections.abc import Sequence
from typing import Any

from hivematrix_common.database import AnySession
from sqlalchemy import Row, insert, text

from hivematrix_helm.models import db, operations

_TOKEN_USES = text("SELECT token_id, used_at, address FROM audit.token_uses")


def session() -> AnySession:
    """The request's session; a use case commits it once."""
    return db.session


def add_operation(caller: str, service: str, action: str, trace_id: str) -> None:
    values = {"caller": caller, "service": service, "action": action, "trace_id": trace_id}
    session().execute(insert(operations).values(values))


def token_uses() -> Sequence[Row[Any]]:
    """When Helm's own callers were here last."""
    return session().execute(_TOKEN_USES).all()
