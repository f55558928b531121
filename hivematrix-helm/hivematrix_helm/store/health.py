"""Minutes, days, incidents and planned work of the services."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from typing import Any

from sqlalchemy import Date, Row, case, cast, delete, func, insert, literal_column, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert

from hivematrix_helm.domain.watching import Probe, State, Watched
from hivematrix_helm.models import days, incidents, minutes, planned, watched
from hivematrix_helm.store import session

_UTC_DAY = cast(func.timezone("UTC", minutes.c.minute), Date)


def add_probe(probe: Probe, slow_ms: float) -> None:
    """Count it to its minute."""
    is_slow = not probe.fault and probe.ms >= slow_ms
    values = {"probes": 1, "failed": int(bool(probe.fault)), "slow": int(is_slow)}
    values |= {"total_ms": probe.ms, "max_ms": probe.ms}  # type: ignore[dict-item]
    made = upsert(minutes).values(service=probe.service, minute=func.date_trunc("minute", probe.at), **values)
    summed = {name: minutes.c[name] + made.excluded[name] for name in ("probes", "failed", "slow", "total_ms")}
    largest = {"max_ms": func.greatest(minutes.c.max_ms, made.excluded.max_ms)}
    session().execute(made.on_conflict_do_update(index_elements=["service", "minute"], set_=summed | largest))


def roll(since: date) -> None:
    """Make the bars of `since` and later anew from their minutes; a bar of more minutes stays as it is."""
    counts = [func.count().filter(minutes.c.state == state).label(state) for state in ("up", "slow", "down")]
    mean = (func.sum(minutes.c.total_ms) / func.sum(minutes.c.probes)).label("mean_ms")
    query = select(minutes.c.service, _UTC_DAY.label("day"), *counts, mean, func.max(minutes.c.max_ms).label("max_ms"))
    start = func.timezone("UTC", cast(since, Date))
    query = query.where(minutes.c.minute >= start).group_by(minutes.c.service, literal_column("day"))
    names = ["service", "day", "up", "slow", "down", "mean_ms", "max_ms"]
    made = upsert(days).from_select(names, query)
    kept, fresh = days.c.up + days.c.slow + days.c.down, made.excluded.up + made.excluded.slow + made.excluded.down
    values = {name: made.excluded[name] for name in names[2:]}
    session().execute(made.on_conflict_do_update(index_elements=["service", "day"], set_=values, where=fresh >= kept))


def prune(minutes_before: datetime, days_before: date) -> None:
    session().execute(delete(minutes).where(minutes.c.minute < minutes_before))
    session().execute(delete(days).where(days.c.day < days_before))


def standing() -> dict[str, Row[Any]]:
    """How each service stands, as it was seen last."""
    return {row.service: row for row in session().execute(select(watched))}


def as_watched(row: Row[Any] | None) -> Watched | None:
    if row is None:
        return None
    return Watched(State(row.state), row.since, row.streak, row.streak_since, row.fault, row.looked_at)


def keep(service: str, found: Watched, ms: float, details: Mapping[str, Any]) -> None:
    values = {"state": found.state, "since": found.since, "streak": found.streak, "streak_since": found.streak_since}
    values |= {"looked_at": found.looked_at, "fault": found.fault, "ms": ms, "details": dict(details)}
    made = upsert(watched).values(service=service, **values)
    session().execute(made.on_conflict_do_update(index_elements=["service"], set_=values))


def open_incident(service: str, began_at: datetime, reason: str) -> None:
    made = upsert(incidents).values(service=service, began_at=began_at, reason=reason)
    session().execute(made.on_conflict_do_nothing())


def close_incident(service: str, ended_at: datetime) -> None:
    ended = case((incidents.c.began_at > ended_at, incidents.c.began_at), else_=ended_at)
    query = update(incidents).where(incidents.c.service == service, incidents.c.ended_at.is_(None))
    session().execute(query.values(ended_at=ended))


def incidents_since(since: datetime) -> Sequence[Row[Any]]:
    """Newest first: those that are open, or ended later."""
    query = select(incidents).where(or_(incidents.c.ended_at.is_(None), incidents.c.ended_at >= since))
    return session().execute(query.order_by(incidents.c.began_at.desc(), incidents.c.id.desc())).all()


def tell_incident(number: int, title: str, told: str) -> bool:
    """Give an incident words for everybody; False when there is none of that number."""
    query = update(incidents).where(incidents.c.id == number).values(title=title, told=told)
    return bool(session().execute(query.returning(incidents.c.id)).first())


def add_planned(values: Mapping[str, Any]) -> int:
    return int(session().execute(insert(planned).values(**values).returning(planned.c.id)).scalar_one())


def withdraw_planned(number: int, at: datetime) -> bool:
    query = update(planned).where(planned.c.id == number, planned.c.withdrawn_at.is_(None), planned.c.ends_at > at)
    return bool(session().execute(query.values(withdrawn_at=at).returning(planned.c.id)).first())


def planned_since(since: datetime) -> Sequence[Row[Any]]:
    """What was not withdrawn and ends later, the latest first."""
    query = select(planned).where(planned.c.ends_at >= since, planned.c.withdrawn_at.is_(None))
    return session().execute(query.order_by(planned.c.begins_at.desc(), planned.c.id.desc())).all()


def days_since(since: date) -> Sequence[Row[Any]]:
    return session().execute(select(days).where(days.c.day >= since)).all()


def pace(service: str, since: datetime, minutes_each: int) -> dict[datetime, float]:
    """The mean answer time of each stretch of so many minutes that was measured."""
    every = func.make_interval(0, 0, 0, 0, 0, minutes_each)
    at = func.date_bin(every, minutes.c.minute, since).label("at")
    query = select(at, func.sum(minutes.c.total_ms) / func.sum(minutes.c.probes))
    query = query.where(minutes.c.service == service, minutes.c.minute >= since, minutes.c.failed < minutes.c.probes)
    return {row[0]: float(row[1]) for row in session().execute(query.group_by(at))}


def count_minutes(services: Iterable[str]) -> int:
    query = select(func.count()).select_from(minutes).where(minutes.c.service.in_(list(services)))
    return session().execute(query).scalar_one()
