"""Helm's queries."""

from hivematrix_common.database import AnySession
from sqlalchemy import insert

from hivematrix_helm.models import db, operations


def session() -> AnySession:
    """The request's session; a use case commits it once."""
    return db.session


def add_operation(caller: str, service: str, action: str, trace_id: str) -> None:
    values = {"caller": caller, "service": service, "action": action, "trace_id": trace_id}
    session().execute(insert(operations).values(values))
