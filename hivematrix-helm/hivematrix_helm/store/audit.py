"""The audit rows of all services: taken over page by page, searched newest first."""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

import orjson
from hivematrix_common.audit_feed import COLUMNS
from sqlalchemy import ColumnElement, Row, Select, func, select, text, tuple_

from hivematrix_helm.domain.trail import Filter, Place
from hivematrix_helm.models import collected, sources
from hivematrix_helm.store import session

COUNTED = 10_000
_KINDS = {"uid": "uuid", "at": "timestamptz", "status": "smallint", "details": "jsonb"}
_TYPED = ", ".join(f"{name} {_KINDS.get(name, 'text')}" for name in COLUMNS)
_ADD = text(
    f"INSERT INTO audit.collected ({', '.join(COLUMNS)}, collected_at) SELECT {', '.join(COLUMNS)}, :now"  # noqa: S608
    f" FROM json_to_recordset(:rows) AS r ({_TYPED}) ON CONFLICT (uid) DO NOTHING"
)
_ADVANCE = text(
    "UPDATE audit.sources SET source = :source, last = :last, collected = collected + :added, asked_at = :now"
    " WHERE service = :service"
)


def place(service: str) -> tuple[str, int]:
    """Up to where a service's rows are here: its database, and the last id."""
    row = session().execute(select(sources.c.source, sources.c.last).where(sources.c.service == service)).one()
    return row.source, row.last


def add(service: str, page: dict[str, Any], now: datetime) -> int:
    """Insert a page's rows and remember where it ends; how many were new."""
    rows = orjson.dumps(page["entries"]).decode()
    added: int = session().execute(_ADD, {"rows": rows, "now": now}).rowcount  # type: ignore[attr-defined]
    values = {"service": service, "source": page["source"], "last": page["last"], "added": added, "now": now}
    session().execute(_ADVANCE, values)
    return added


def search(wanted: Filter, limit: int, after: Place | None) -> Sequence[Row[Any]]:
    """Newest first, from behind `after` on."""
    query = _filtered(select(collected), wanted)
    order = (collected.c.at, collected.c.id)
    if after:
        query = query.where(tuple_(*order) < (after.at, after.id))
    return session().execute(query.order_by(*(column.desc() for column in order)).limit(limit)).all()


def count(wanted: Filter) -> tuple[int, bool]:
    """How many there are, and whether that is exact: above 10,000 it is for all rows and for a service's."""
    if wanted.counted:
        kept = select(func.coalesce(func.sum(sources.c.collected), 0))
        if wanted.service is not None:
            kept = kept.where(sources.c.service == wanted.service)
        return int(session().execute(kept).scalar_one()), True
    some = _filtered(select(collected.c.id), wanted).limit(COUNTED + 1).subquery()
    found = session().execute(select(func.count()).select_from(some)).scalar_one()
    return (found, True) if found <= COUNTED else (COUNTED, False)


def progress() -> Sequence[Row[Any]]:
    """Each service, with the instant its rows were taken over last."""
    return session().execute(select(sources.c.service, sources.c.asked_at).order_by(sources.c.service)).all()


def _filtered(query: Select[Any], wanted: Filter) -> Select[Any]:
    columns = collected.c
    conditions: dict[str, Callable[[Any], ColumnElement[bool]]] = {
        "service": lambda value: columns.service == value,
        "actor": lambda value: columns.actor == value,
        "action": lambda value: columns.action.icontains(value, autoescape=True),
        "target": lambda value: columns.target.icontains(value, autoescape=True),
        "outcome": lambda value: columns.outcome == value,
        "trace_id": lambda value: columns.trace_id == value,
        "since": lambda value: columns.at >= value,
        "before": lambda value: columns.at < value,
    }
    for name, condition in conditions.items():
        value = getattr(wanted, name)
        if value is not None:
            query = query.where(condition(value))
    return query
