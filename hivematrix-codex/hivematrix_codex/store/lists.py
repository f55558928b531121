"""Pages of facts by key, as JSON that PostgreSQL made: whole rows, or the members that are asked for."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import orjson
from hivematrix_common.database import own_account
from hivematrix_common.prepared import Prepared
from sqlalchemy import Connection, Row

from hivematrix_codex.domain.pages import Page
from hivematrix_codex.models import FACTS, psa_agents, seen

COUNTED: Final = 10_000
_OLDER: Final = {
    "contract_term_length": "t.contract_term",
    "contract_start_date": "t.contract_start",
    "contract_end_date": "t.contract_end",
}
ENTRY: Final = "uid, worked_on, trim_scale(hours)::text AS hours, billable, first_seen"
HOURS: Final = """(SELECT coalesce(trim_scale(sum(hours)), 0)::text FROM time_entries e WHERE e.ticket_uid = t.uid)"""
ENTRIES: Final = f"""(SELECT coalesce(json_agg(y), '[]') FROM (
    SELECT {ENTRY} FROM time_entries e WHERE e.ticket_uid = t.uid ORDER BY worked_on, uid) y)"""  # noqa: S608
_TYPES: Final = {"limit": "integer", "offset": "integer", "year": "integer"}
_PARTS: Final = ("search", "named", "called")
_PARAMETER = re.compile(r"%\((\w+)\)s")


def _members(kind: str) -> dict[str, str]:
    table = psa_agents if kind == "psa_agents" else FACTS[kind]
    found = {name: f"t.{name}" for name in seen(table)}
    if kind == "companies":
        return found | _OLDER
    if kind == "tickets":
        return found | {"total_hours_spent": HOURS, "time_entries": ENTRIES}
    return found | ({"hours": "trim_scale(t.hours)::text"} if kind == "time_entries" else {})


MEMBERS: Final = {kind: _members(kind) for kind in (*FACTS, "psa_agents")}
"""What may be told of a fact: member to SQL."""
KEY: Final = {kind: "account_number" if kind == "companies" else "uid" for kind in MEMBERS}
_CONDITIONS: Final = {
    "account": "t.account_number = %(account)s",
    "own": "t.account_number = %(own)s",
    "search": "(t.name ILIKE %(search)s OR t.account_number LIKE %(beginning)s)",
    "named": "(t.name ILIKE %(search)s OR t.email ILIKE %(search)s)",
    "called": "t.hostname ILIKE %(search)s",
    "status": "t.status = %(status)s",
    "priority": "t.priority = %(priority)s",
    "source": "t.source = %(source)s",
    "online": "t.online = (%(online)s = 'yes')",
    "open": "t.closed_at IS NULL",
    "external": "t.external_id = %(external)s",
    "year": "(extract(year FROM t.opened_at) = %(year)s OR EXISTS (SELECT FROM time_entries e"
    " WHERE e.ticket_uid = t.uid AND extract(year FROM e.worked_on) = %(year)s))",
}
_prepared: dict[str, tuple[Prepared, list[str]]] = {}


@dataclass(frozen=True, slots=True)
class Wanted:
    """A page of `kind`; `having` are conditions with their values; no `fields` means all."""

    kind: str
    having: Mapping[str, Any]
    cursor: str = ""
    limit: int = 100
    offset: int = 0
    fields: tuple[str, ...] = ()


def page(connection: Connection, wanted: Wanted) -> Page:
    """The facts that fit, by key, each as JSON; a client's own alone."""
    values = _values(wanted)
    rows = _run(connection, _page_statement(wanted), values, prepare=not wanted.fields)
    if not rows and (wanted.cursor or wanted.offset):
        total = int(_run(connection, f"SELECT {_count(wanted)}", values, prepare=False)[0][0])
    else:
        total = rows[0].total if rows else 0
    exact = not _capped(wanted) or total <= COUNTED
    items = [orjson.Fragment(row.document) for row in rows[: wanted.limit]]
    following = rows[wanted.limit - 1].key if len(rows) > wanted.limit else None
    return Page(items, following, total if exact else COUNTED, exact)


def one(connection: Connection, kind: str, key: str, fields: Sequence[str] = ()) -> tuple[orjson.Fragment, str] | None:
    """A fact as JSON, and the digest by which a writer says which state of it was read."""
    own = f" AND {_CONDITIONS['own']}" if own_account() is not None else ""
    statement = f"SELECT {_document(kind, fields)}, md5(t::text) AS digest FROM {kind} t"  # noqa: S608
    statement += f" WHERE t.{KEY[kind]} = %(key)s{own}"
    rows = _run(connection, statement, {"key": key, "own": own_account()}, prepare=not fields)
    return (orjson.Fragment(rows[0].document), rows[0].digest) if rows else None


def _page_statement(wanted: Wanted) -> str:
    key = KEY[wanted.kind]
    beyond = f"t.{key} > %(cursor)s"
    where = " AND ".join([*_conditions(wanted), beyond])
    return (
        f"SELECT t.{key} AS key, {_document(wanted.kind, wanted.fields)}, {_count(wanted)} AS total"  # noqa: S608
        f" FROM {wanted.kind} t WHERE {where} ORDER BY t.{key} LIMIT %(limit)s OFFSET %(offset)s"
    )


def _document(kind: str, fields: Sequence[str]) -> str:
    told = ", ".join(f"{MEMBERS[kind][name]} AS {name}" for name in fields or MEMBERS[kind])
    return f"(SELECT row_to_json(y)::text FROM (SELECT {told}) y) AS document"  # noqa: S608


def _count(wanted: Wanted) -> str:
    where = " AND ".join(_conditions(wanted)) or "true"
    most = f" LIMIT {COUNTED + 1}" if _capped(wanted) else ""
    return f"(SELECT count(*) FROM (SELECT FROM {wanted.kind} t WHERE {where}{most}) c)"  # noqa: S608


def _capped(wanted: Wanted) -> bool:
    """Companies are few; an account's are counted by its index."""
    return "account" not in wanted.having and (wanted.kind != "companies" or "search" in wanted.having)


def _conditions(wanted: Wanted) -> list[str]:
    own = ["own"] if own_account() is not None else []
    return [_CONDITIONS[name] for name in (*wanted.having, *own)]


def _values(wanted: Wanted) -> dict[str, Any]:
    values = dict(wanted.having) | {"cursor": wanted.cursor, "limit": wanted.limit + 1, "offset": wanted.offset}
    if search := next((values[name] for name in _PARTS if name in values), None):
        pattern = search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
        values |= {"search": f"%{pattern}%", "beginning": f"{pattern}%"}
    return values | {"own": own_account()}


def _run(connection: Connection, statement: str, values: Mapping[str, Any], *, prepare: bool) -> Sequence[Row[Any]]:
    """Statements of which there are few are planned once a connection."""
    if not prepare:
        return connection.exec_driver_sql(statement, dict(values)).all()
    if statement not in _prepared:
        names = list(dict.fromkeys(_PARAMETER.findall(statement)))
        numbered = _PARAMETER.sub(lambda found: f"${names.index(found[1]) + 1}", statement)
        types = tuple(_TYPES.get(name, "text") for name in names)
        _prepared[statement] = (Prepared(f"facts_{len(_prepared)}", types, numbered), names)
    prepared, names = _prepared[statement]
    return prepared.on(connection, *(values[name] for name in names))
