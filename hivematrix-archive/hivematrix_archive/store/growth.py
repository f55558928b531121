"""How the log grew: its checkpoints in order, how many entries there are, and what the full verifies found."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from hivematrix_common.database import AnySession
from sqlalchemy import Connection, LargeBinary, Row, Select, cast, func, insert, select

from hivematrix_archive.models import checkpoints, entries, verifications

Session = AnySession | Connection


def checkpoints_after(session: Session, after: int, limit: int) -> Sequence[Row[Any]]:
    """In the order of their signing."""
    columns = (checkpoints.c.id, checkpoints.c.size, checkpoints.c.signed_at, checkpoints.c.note)
    query = select(*columns).where(checkpoints.c.id > after).order_by(checkpoints.c.id).limit(limit)
    return session.execute(query).all()


def number_of_entries(session: Session) -> int:
    """By the last index: there are no gaps, and verify finds them."""
    last = session.execute(select(func.max(entries.c.index))).scalar_one_or_none()
    return 0 if last is None else int(last) + 1


def checkpoint_rows() -> Select[Any]:
    """Each checkpoint with the entries it covers that the one before did not, as a table that can be sorted."""
    before = func.coalesce(func.lag(checkpoints.c.size).over(order_by=checkpoints.c.id), 0).label("before")
    number = func.to_char(checkpoints.c.id, "FM000000000000").label("number")
    root = func.encode(cast(checkpoints.c.root, LargeBinary), "base64").label("root")
    return select(number, checkpoints.c.size, before, checkpoints.c.signed_at, root, checkpoints.c.snapshots)


def last_verification(session: Session) -> Row[Any] | None:
    return session.execute(select(verifications).order_by(verifications.c.id.desc()).limit(1)).one_or_none()


def add_verification(session: Session, at: datetime, entries: int, bad: tuple[int, str] | None) -> None:
    """`entries` were verified; `bad`: the first bad one, and why."""
    documents = select(func.coalesce(func.max(checkpoints.c.snapshots), 0)).where(checkpoints.c.size <= entries)
    index, why = bad or (None, None)
    values = {"at": at, "entries": entries, "bad_index": index, "why": why}
    session.execute(insert(verifications).values(values | {"snapshots": documents.scalar_subquery()}))


def newest_size(session: Session) -> tuple[int, int]:
    """Entries and documents under the newest checkpoint."""
    query = select(checkpoints.c.size, checkpoints.c.snapshots).order_by(checkpoints.c.id.desc()).limit(1)
    row = session.execute(query).one_or_none()
    return (row.size, row.snapshots) if row else (0, 0)
