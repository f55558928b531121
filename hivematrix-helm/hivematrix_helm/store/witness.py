"""What is held of the archive's log: beginnings, keys, notes, findings; only `looks` ever changes."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from hivematrix_common.domain.checkpoint import Checkpoint
from hivematrix_common.domain.note import Note, VerifierKey
from sqlalchemy import Row, func, insert, select
from sqlalchemy.dialects.postgresql import insert as upsert

from hivematrix_helm.domain.witness import Held, State
from hivematrix_helm.models import beginnings, checkpoints, findings, log_keys, looks
from hivematrix_helm.store import session


def begin(reason: str, keys: Sequence[VerifierKey], at: datetime) -> int:
    """Watch the log under these keys from now on; what is held of it before stays."""
    query = insert(beginnings).values(reason=reason, at=at).returning(beginnings.c.id)
    number = int(session().execute(query).scalar_one())
    for key in keys:
        add_key(number, key, at)
    return number


def add_key(beginning: int, key: VerifierKey, at: datetime) -> None:
    session().execute(insert(log_keys).values(beginning=beginning, vkey=str(key), at=at))


def beginning() -> int | None:
    """The present one."""
    return session().execute(select(func.max(beginnings.c.id))).scalar_one_or_none()


def keys(of: int) -> list[VerifierKey]:
    query = select(log_keys.c.vkey).where(log_keys.c.beginning == of).order_by(log_keys.c.id)
    return [VerifierKey.parse(vkey) for vkey in session().execute(query).scalars()]


def newest(of: int) -> Held | None:
    query = select(checkpoints).where(checkpoints.c.beginning == of).order_by(checkpoints.c.id.desc()).limit(1)
    row = session().execute(query).one_or_none()
    return Held(row.archive_id, Checkpoint.parse(Note.parse(row.note).text), row.note) if row else None


def keep(of: int, archive_id: int, size: int, note: str, at: datetime) -> None:
    values = {"beginning": of, "archive_id": archive_id, "size": size, "note": note, "received_at": at}
    session().execute(insert(checkpoints).values(values))


def notes() -> list[str]:
    """Every note that is held, in the order in which it came."""
    return list(session().execute(select(checkpoints.c.note).order_by(checkpoints.c.id)).scalars())


def holds(of: int, note: str) -> bool:
    query = select(checkpoints.c.id).where(checkpoints.c.beginning == of, checkpoints.c.note == note)
    return session().execute(query).first() is not None


def count() -> int:
    return session().execute(select(func.count()).select_from(checkpoints)).scalar_one()


def last_finding() -> Row[Any] | None:
    return session().execute(select(findings).order_by(findings.c.id.desc()).limit(1)).one_or_none()


def last_findings(number: int) -> Sequence[Row[Any]]:
    return session().execute(select(findings).order_by(findings.c.id.desc()).limit(number)).all()


def add_finding(state: State, detail: str, note: str | None, at: datetime) -> None:
    session().execute(insert(findings).values(state=state, detail=detail, note=note, at=at))


def look() -> Row[Any] | None:
    """When the log was looked at and seen last."""
    return session().execute(select(looks)).one_or_none()


def looked(at: datetime, *, seen: bool, directory_fault: str | None) -> None:
    values = {"looked_at": at, "directory_fault": directory_fault} | ({"seen_at": at} if seen else {})
    made = upsert(looks).values(id=1, began_at=at, **values)
    session().execute(made.on_conflict_do_update(index_elements=["id"], set_=values))
