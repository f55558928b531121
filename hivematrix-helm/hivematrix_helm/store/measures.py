"""Series, their samples, and their tiers."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from hivematrix_common.database import advisory_xact_lock
from sqlalchemy import Row, Select, Text, cast, delete, func, insert, literal, literal_column, select, true
from sqlalchemy.dialects.postgresql import insert as upsert

from hivematrix_helm.domain.measures import MOST_SERIES, RAW_KEPT, TIERS, Sample, Tier
from hivematrix_helm.models import rolled, rolls, samples, series
from hivematrix_helm.store import session

ORIGIN = datetime(2000, 1, 1, tzinfo=UTC)
FIRST = datetime(1970, 1, 1, tzinfo=UTC)
_ROLLED = ["step", "series", "at", "total", "low", "high", "samples"]


def numbers(service: str) -> dict[tuple[str, str], int]:
    """The series of a service: (name, labels) -> its number."""
    query = select(series.c.name, series.c.labels, series.c.id).where(series.c.service == service)
    return {(row.name, row.labels): row.id for row in session().execute(query)}


def add_series(service: str, found: Sample) -> int:
    values = {"service": service, "name": found.name, "labels": found.labels, "kind": found.kind}
    return int(session().execute(insert(series).values(values).returning(series.c.id)).scalar_one())


def add_samples(at: datetime, values: Iterable[tuple[int, float]]) -> None:
    rows = [{"series": number, "at": at, "value": value} for number, value in values]
    if rows:
        session().execute(upsert(samples).on_conflict_do_nothing(), rows)


def roll(now: datetime) -> None:
    """Bring every tier up to `now` and end what is old. Doing it twice, or half of it first, makes no difference.

    A stretch is rolled once it is over. Its values are always made anew from all of its source.
    """
    advisory_xact_lock(session(), "measured.rolled")
    known = dict(session().execute(select(rolls.c.step, rolls.c.until)).tuples().all())
    for tier in TIERS:
        until = tier.floor(min(now, known.get(tier.source, now)))
        begun = known.get(tier.step, FIRST)
        # After a clock that was ahead the stretches since are made again, as far back as their source is held.
        since = begun if begun <= until else until - RAW_KEPT
        if since < until:
            session().execute(_rolling(tier, since, until))
        known[tier.step] = until
        _remember(tier.step, until)
    _prune(now)


def _rolling(tier: Tier, since: datetime, until: datetime) -> Any:
    """The statement that makes a tier's stretches between two instants."""
    of = rolled if tier.source else samples
    slot = func.date_bin(timedelta(seconds=tier.step), of.c.at, ORIGIN).label("slot")
    sums: list[Any]
    if tier.source:
        sums = [func.sum(of.c.total), func.min(of.c.low), func.max(of.c.high), func.sum(of.c.samples)]
    else:
        sums = [func.sum(of.c.value), func.min(of.c.value), func.max(of.c.value), func.count()]
    query = select(literal(tier.step), of.c.series, slot, *sums).where(of.c.at >= since, of.c.at < until)
    query = query.where(of.c.step == tier.source) if tier.source else query
    made = upsert(rolled).from_select(_ROLLED, query.group_by(of.c.series, literal_column("slot")))
    values = {name: made.excluded[name] for name in _ROLLED[3:]}
    return made.on_conflict_do_update(index_elements=_ROLLED[:3], set_=values)


def _remember(step: int, until: datetime) -> None:
    made = upsert(rolls).values(step=step, until=until)
    session().execute(made.on_conflict_do_update(index_elements=["step"], set_={"until": until}))


def _prune(now: datetime) -> None:
    session().execute(delete(samples).where(samples.c.at < now - RAW_KEPT))
    for tier in TIERS:
        session().execute(delete(rolled).where(rolled.c.step == tier.step, rolled.c.at < now - tier.kept))


def listed() -> Select[Any]:
    """Every series with its newest sample, as a table asks for it."""
    newest = select(samples.c.at, samples.c.value).where(samples.c.series == series.c.id)
    last = newest.order_by(samples.c.at.desc()).limit(1).lateral()
    key = func.lpad(cast(series.c.id, Text), 10, "0").label("key")
    columns = [series.c.id, key, series.c.service, series.c.name, series.c.labels, series.c.kind]
    return select(*columns, last.c.value, last.c.at).outerjoin(last, true())


def one(number: int) -> Row[Any] | None:
    return session().execute(select(series).where(series.c.id == number)).one_or_none()


def of_service(service: str, name: str) -> Sequence[Row[Any]]:
    """The series of a service that bear a name."""
    query = select(series).where(series.c.service == service, series.c.name == name)
    return session().execute(query.order_by(series.c.labels).limit(MOST_SERIES)).all()


def named(name: str) -> Sequence[Row[Any]]:
    """The series of all services that bear a name."""
    return session().execute(select(series).where(series.c.name == name).order_by(series.c.service)).all()


def points(number: int, tier: Tier | None, since: datetime, until: datetime) -> Sequence[Row[Any]]:
    """(at, mean, low, high, samples), oldest first."""
    if tier is None:
        value = samples.c.value
        query = select(
            samples.c.at, value.label("mean"), value.label("low"), value.label("high"), literal(1).label("n")
        )
        query = query.where(samples.c.series == number, samples.c.at >= since, samples.c.at < until)
        return session().execute(query.order_by(samples.c.at)).all()
    mean = (rolled.c.total / rolled.c.samples).label("mean")
    query = select(rolled.c.at, mean, rolled.c.low, rolled.c.high, rolled.c.samples.label("n"))
    query = query.where(rolled.c.series == number, rolled.c.step == tier.step)
    return session().execute(query.where(rolled.c.at >= since, rolled.c.at < until).order_by(rolled.c.at)).all()


def stretches(number: int, step: int, since: datetime) -> Sequence[Row[Any]]:
    """The means of a series in one tier, oldest first."""
    query = select(rolled.c.at, (rolled.c.total / rolled.c.samples).label("mean"))
    query = query.where(rolled.c.step == step, rolled.c.series == number, rolled.c.at >= since)
    return session().execute(query.order_by(rolled.c.at)).all()


def newest(since: datetime) -> Sequence[Row[Any]]:
    """The newest sample of every series that has one since then: (service, name, labels, at, value)."""
    columns = [series.c.service, series.c.name, series.c.labels, samples.c.at, samples.c.value]
    query = select(*columns).distinct(samples.c.series).join(series, series.c.id == samples.c.series)
    return session().execute(query.where(samples.c.at >= since).order_by(samples.c.series, samples.c.at.desc())).all()


def count() -> dict[int, int]:
    """Rows of each tier, single samples under 0."""
    found = {0: session().execute(select(func.count()).select_from(samples)).scalar_one()}
    query = select(rolled.c.step, func.count()).group_by(rolled.c.step)
    return found | dict(session().execute(query).tuples().all())
