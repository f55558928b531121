"""How the backup stood when it was looked at last."""

from datetime import datetime
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.dialects.postgresql import insert as upsert

from hivematrix_helm.domain.proofs import Finding
from hivematrix_helm.models import backup_watch
from hivematrix_helm.store import session


def last() -> Row[Any] | None:
    return session().execute(select(backup_watch)).one_or_none()


def keep(found: Finding, at: datetime, since: datetime) -> None:
    """Note what was found, and since when it is so; when it was looked first stays."""
    values = {"state": found.state, "detail": found.detail, "looked_at": at, "since": since}
    made = upsert(backup_watch).values(id=1, began_at=at, **values)
    session().execute(made.on_conflict_do_update(index_elements=["id"], set_=values))
