"""Codex's queries for readers. Documents with parts are made by PostgreSQL itself, one statement a page."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import orjson
from hivematrix_common import database
from hivematrix_common.database import AnySession, only_own, own_account
from sqlalchemy import Connection, Row, func, select, text

from hivematrix_codex.domain.pages import Page
from hivematrix_codex.models import assets, companies, contacts, db, locations, seen, tickets
from hivematrix_codex.store.billing import PLAN
from hivematrix_codex.store.lists import ENTRIES, HOURS

_CONTACT, _ASSET, _LOCATION = (", ".join(seen(table)) for table in (contacts, assets, locations))
_TICKET = f"""
    SELECT {", ".join(f"t.{name}" for name in seen(tickets))}, {HOURS} AS total_hours_spent, {ENTRIES} AS time_entries
    FROM tickets t"""  # noqa: S608

_BULK = f"""
SELECT c.account_number,
    (SELECT row_to_json(y)::text FROM (SELECT {", ".join(f"c.{name}" for name in seen(companies))}) y) AS company,
    (SELECT coalesce(json_agg(y), '[]')::text FROM (
        SELECT {_CONTACT} FROM contacts WHERE account_number = c.account_number ORDER BY uid) y) AS contacts,
    (SELECT coalesce(json_agg(y), '[]')::text FROM (
        SELECT {_ASSET} FROM assets WHERE account_number = c.account_number ORDER BY uid) y) AS assets,
    (SELECT coalesce(json_agg(y), '[]')::text FROM (
        SELECT {_LOCATION} FROM locations WHERE account_number = c.account_number ORDER BY uid) y) AS locations,
    CASE WHEN :with_tickets THEN (SELECT coalesce(json_agg(y), '[]')::text FROM (
        {_TICKET} WHERE t.account_number = c.account_number ORDER BY t.uid) y) END AS tickets
FROM companies c WHERE c.account_number > :cursor ORDER BY c.account_number LIMIT :limit + 1"""  # noqa: S608

# A client may cause this one too: every part is held to its own account.
_OWN = "(CAST(:own AS text) IS NULL OR account_number = :own)"
_HOLDINGS = f"""
SELECT
    (SELECT json_build_object('all', count(*), 'active', count(*) FILTER (WHERE lower(status) = 'active'))
        FROM companies WHERE {_OWN}) AS companies,
    (SELECT max(contract_start) FROM companies WHERE {_OWN}) AS contract_from,
    (SELECT json_build_object('all', count(*), 'active', count(*) FILTER (WHERE active))
        FROM contacts WHERE {_OWN}) AS people,
    (SELECT max(active_from) FROM contacts WHERE {_OWN}) AS person_from,
    (SELECT coalesce(json_object_agg(kind, number), '{{}}') FROM (
        SELECT coalesce(billing_type, 'Unknown') AS kind, count(*) AS number
        FROM assets WHERE {_OWN} GROUP BY 1 ORDER BY 2 DESC, 1) y) AS machines,
    (SELECT max(active_from) FROM assets WHERE {_OWN}) AS machine_from,
    (SELECT json_build_object('all', count(*), 'open', count(*) FILTER (WHERE closed_at IS NULL))
        FROM tickets WHERE {_OWN}) AS tickets,
    (SELECT max(opened_at) FROM tickets WHERE {_OWN}) AS ticket_opened_at,
    (SELECT count(*) FROM time_entries WHERE {_OWN}) AS entries,
    (SELECT max(worked_on) FROM time_entries WHERE {_OWN}) AS worked_on
"""  # noqa: S608
_NEWEST_PLANS = """
SELECT DISTINCT ON (plan_name, term) plan_name, term, valid_from, support_level,
    count(*) OVER (PARTITION BY plan_name, term) AS versions,
    (SELECT count(*) FROM companies c WHERE c.billing_plan = p.plan_name AND c.contract_term = p.term) AS companies
FROM plan_versions p ORDER BY plan_name, term, valid_from DESC"""


def session() -> AnySession:
    """The request's (or the command's) session; a use case commits it once."""
    return db.session


@contextmanager
def single_reads() -> Iterator[Connection]:
    """A connection for an answer of a statement or two, each of which sees what is committed when it begins."""
    with database.single_reads(db) as connection:
        yield connection


def count_companies(session: AnySession) -> int:
    return session.scalar(select(func.count()).select_from(companies)) or 0


def find_company(session: AnySession, account_number: str) -> dict[str, Any] | None:
    mine = companies.c.account_number == account_number
    told = select(*(companies.c[name] for name in seen(companies)))
    row = session.execute(told.where(mine, only_own(companies.c.account_number))).one_or_none()
    return _plain(row) if row else None


def bulk(session: AnySession, cursor: str, limit: int, *, with_tickets: bool) -> Page:
    """Companies with their parts as ready JSON, in one statement."""
    values = {"cursor": cursor, "limit": limit, "with_tickets": with_tickets}
    rows = session.execute(text(_BULK), values).all()
    parts = ("company", "contacts", "assets", "locations", "tickets")
    items = [{part: orjson.Fragment(row[part]) for part in parts if row[part]} for row in map(_plain, rows[:limit])]
    following = rows[limit - 1].account_number if len(rows) > limit else None
    return Page(items, following, count_companies(session))


def list_plans(session: AnySession, name: str | None = None, term: str | None = None) -> list[dict[str, Any]]:
    """Every version of every plan, or of one, newest first."""
    some = "WHERE plan_name = :name AND term = :term" if name is not None else ""
    query = text(f"SELECT {PLAN} FROM plan_versions {some} ORDER BY plan_name, term, valid_from DESC")  # noqa: S608
    return [_plain(row) for row in session.execute(query, {"name": name, "term": term} if some else {})]


def _plain(row: Row[Any]) -> dict[str, Any]:
    # A table's column names are a subclass of str, which JSON keys may not be.
    return {str(name): value for name, value in row._mapping.items()}  # noqa: SLF001 - a public name of SQLAlchemy


def holdings(session: AnySession, account: str | None = None) -> dict[str, Any]:
    """How much of each kind there is, or of an account; for a client, of its own company."""
    return _plain(session.execute(text(_HOLDINGS), {"own": own_account() or account}).one())


def newest_plans(session: AnySession) -> list[dict[str, Any]]:
    """Every plan in its newest version, with the number of its versions and of the companies it names."""
    return [_plain(row) for row in session.execute(text(_NEWEST_PLANS))]
