"""Runs that accept a month's bills: one at work a month, held by one worker at a time."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import orjson
from hivematrix_common.database import AnySession
from sqlalchemy import Row, text

_ADD = text(
    "INSERT INTO runs (period, bills, total, asked_by, worked_at, started_at)"
    " VALUES (:period, CAST(:bills AS jsonb), :total, :by, :now, :now)"
    " ON CONFLICT (period) WHERE ended_at IS NULL DO NOTHING"
)
_AT_WORK = text("SELECT id FROM runs WHERE period = :period AND ended_at IS NULL")
_FIND = text(
    "SELECT id, period, total, done, sealed, already, skipped, failed, left_over, asked_by, cancelled_by, worker,"
    " worked_at, started_at, ended_at FROM runs WHERE id = :id"
)
_CLAIM = text(
    "UPDATE runs SET worker = :worker, worked_at = :now"
    " WHERE id = :id AND ended_at IS NULL AND (worker IS NULL OR worked_at < :dead)"
    " RETURNING period, bills, done, asked_by"
)
_ADVANCE = text(
    "UPDATE runs SET done = :done, sealed = sealed + :sealed, already = already + :already,"
    " skipped = skipped + :skipped, failed = failed + :failed, left_over = left_over || CAST(:left_over AS jsonb),"
    " worked_at = :now,"
    " ended_at = CASE WHEN :done >= total OR :ends OR cancelled_by IS NOT NULL THEN CAST(:now AS timestamptz) END"
    " WHERE id = :id AND worker = :worker AND ended_at IS NULL RETURNING ended_at IS NULL"
)
_RELEASE = text("UPDATE runs SET worker = NULL WHERE id = :id AND worker = :worker AND ended_at IS NULL")
_CANCEL = text(
    "UPDATE runs SET cancelled_by = coalesce(cancelled_by, :by),"
    " ended_at = CASE WHEN worker IS NULL OR worked_at < :dead THEN CAST(:now AS timestamptz) END"
    " WHERE id = :id AND ended_at IS NULL"
)


def add(session: AnySession, period: str, bills: Mapping[str, str | None], by: str, now: datetime) -> int:
    """The month's run at work: a new one, unless there is one."""
    values = {"period": period, "bills": orjson.dumps(bills).decode(), "total": len(bills), "by": by, "now": now}
    session.execute(_ADD, values)
    found = at_work(session, period)
    assert found is not None
    return found


def at_work(session: AnySession, period: str) -> int | None:
    found: int | None = session.scalar(_AT_WORK, {"period": period})
    return found


def find(session: AnySession, run_id: int) -> Row[Any] | None:
    return session.execute(_FIND, {"id": run_id}).one_or_none()


def claim(session: AnySession, run_id: int, worker: str, now: datetime, dead: datetime) -> Row[Any] | None:
    """The run for this worker alone; None when it ended, or another holds it and worked after `dead`."""
    values = {"id": run_id, "worker": worker, "now": now, "dead": dead}
    return session.execute(_CLAIM, values).one_or_none()


def advance(
    session: AnySession,
    run_id: int,
    worker: str,
    *,
    done: int,
    counts: Mapping[str, int],
    left_over: Sequence[dict[str, Any]],
    ends: bool,
    now: datetime,
) -> bool:
    """Note a batch; whether this worker goes on. It `ends` the run, so does the last batch, or who cancelled it."""
    values = {"id": run_id, "worker": worker, "done": done, "ends": ends, "now": now}
    told = {"left_over": orjson.dumps(left_over).decode()}
    return bool(session.scalar(_ADVANCE, values | told | dict(counts)))


def release(session: AnySession, run_id: int, worker: str) -> None:
    """Let another worker take over at once."""
    session.execute(_RELEASE, {"id": run_id, "worker": worker})


def cancel(session: AnySession, run_id: int, by: str, now: datetime, dead: datetime) -> None:
    """End it after the batch at work; at once when nobody works on it."""
    session.execute(_CANCEL, {"id": run_id, "by": by, "now": now, "dead": dead})
