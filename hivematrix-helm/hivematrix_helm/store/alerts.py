"""Alerts, silences, what waits to be sent, and timers."""

import dataclasses
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from hivematrix_common.database import advisory_xact_lock
from sqlalchemy import Row, delete, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from hivematrix_helm.domain.alerts import Alert, Kind, State
from hivematrix_helm.domain.timers import Outcome, Run
from hivematrix_helm.models import alerts, outbox, silences, timers
from hivematrix_helm.store import session

_HELD = ("severity", "state", "kind", "title", "why", "active_at", "fired_at", "keep_since", "resolved_at")
_RUN = tuple(field.name for field in dataclasses.fields(Run))


def alone() -> None:
    """One evaluation at a time."""
    advisory_xact_lock(session(), "alerts.alerts")


def as_alert(row: Row[Any]) -> Alert:
    told = {name: getattr(row, name) for name in _HELD}
    told |= {"state": State(row.state), "kind": Kind(row.kind)}
    return Alert(rule=row.rule, labels=tuple(sorted(row.labels.items())), **told)


def untold() -> Sequence[Row[Any]]:
    """The open alerts, and those that are over and were not told to be."""
    over = (alerts.c.state == State.RESOLVED) & (alerts.c.told == "firing")
    query = select(alerts).where(or_(alerts.c.state != State.RESOLVED, over))
    return session().execute(query.order_by(alerts.c.id)).all()


def add(alert: Alert) -> int:
    values = {"rule": alert.rule, "labels": dict(alert.labels)} | _values(alert)
    return int(session().execute(insert(alerts).values(values).returning(alerts.c.id)).scalar_one())


def change(number: int, alert: Alert) -> None:
    session().execute(update(alerts).where(alerts.c.id == number).values(_values(alert)))


def drop(number: int) -> None:
    """A pending one that is over was nothing."""
    session().execute(delete(alerts).where(alerts.c.id == number))


def tell(numbers: Sequence[int], what: str) -> None:
    session().execute(update(alerts).where(alerts.c.id.in_(numbers)).values(told=what))


def acknowledge(number: int, by: str, note: str, at: datetime) -> bool:
    """False when no open alert has that number."""
    query = update(alerts).where(alerts.c.id == number, alerts.c.state != State.RESOLVED)
    values = {"acknowledged_by": by, "acknowledged_at": at, "note": note}
    return bool(session().execute(query.values(values).returning(alerts.c.id)).first())


def since(at: datetime) -> Sequence[Row[Any]]:
    """Alerts that are open or were over later; the newest first."""
    query = select(alerts).where(or_(alerts.c.state != State.RESOLVED, alerts.c.resolved_at >= at))
    return session().execute(query.order_by(alerts.c.active_at.desc(), alerts.c.id.desc())).all()


def add_silence(values: Mapping[str, Any]) -> int:
    return int(session().execute(insert(silences).values(**values).returning(silences.c.id)).scalar_one())


def end_silence(number: int, at: datetime) -> bool:
    query = update(silences).where(silences.c.id == number, silences.c.ends_at > at, silences.c.begins_at <= at)
    return bool(session().execute(query.values(ends_at=at).returning(silences.c.id)).first())


def silences_since(at: datetime) -> Sequence[Row[Any]]:
    query = select(silences).where(silences.c.ends_at > at).order_by(silences.c.ends_at.desc(), silences.c.id)
    return session().execute(query).all()


def queue(channel: str, values: Mapping[str, Any]) -> None:
    session().execute(upsert(outbox).values(channel=channel, **values).on_conflict_do_nothing())


def first_waiting(channel: str) -> Row[Any] | None:
    """The oldest message that was not sent: nothing overtakes it."""
    query = select(outbox).where(outbox.c.channel == channel, outbox.c.sent_at.is_(None))
    return session().execute(query.order_by(outbox.c.id).limit(1)).one_or_none()


def claim(row: Row[Any], until: datetime) -> bool:
    """Take a message to send it; False when another has taken it meanwhile."""
    query = update(outbox).where(outbox.c.id == row.id, outbox.c.tries == row.tries, outbox.c.sent_at.is_(None))
    query = query.values(tries=row.tries + 1, next_at=until).returning(outbox.c.id)
    return bool(session().execute(query).first())


def sent(number: int, at: datetime) -> None:
    session().execute(update(outbox).where(outbox.c.id == number).values(sent_at=at, fault=""))


def not_sent(number: int, fault: str, next_at: datetime) -> None:
    session().execute(update(outbox).where(outbox.c.id == number).values(fault=fault, next_at=next_at))


def messages(limit: int) -> Sequence[Row[Any]]:
    """The newest first; those that wait before all."""
    query = select(outbox).order_by(outbox.c.sent_at.is_not(None), outbox.c.id.desc()).limit(limit)
    return session().execute(query).all()


def runs() -> dict[str, Run]:
    return {row.timer: _run(row) for row in session().execute(select(timers))}


def keep_run(timer: str, run: Run) -> None:
    values = {name: getattr(run, name) for name in _RUN}
    made = upsert(timers).values(timer=timer, **values)
    session().execute(made.on_conflict_do_update(index_elements=["timer"], set_=values))


def prune(before: datetime) -> None:
    """End what was over, and sent, long ago."""
    session().execute(delete(alerts).where(alerts.c.resolved_at < before))
    session().execute(delete(outbox).where(outbox.c.sent_at < before))


def _values(alert: Alert) -> dict[str, Any]:
    return {name: getattr(alert, name) for name in _HELD}


def _run(row: Row[Any]) -> Run:
    return Run(**{name: getattr(row, name) for name in _RUN} | {"outcome": Outcome(row.outcome)})
