"""Codex's queries for readers. Documents with parts are made by PostgreSQL itself, one statement a page."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import date
from typing import Any

import orjson
from hivematrix_common import database
from hivematrix_common.database import AnySession, only_own, own_account
from hivematrix_common.domain.period import Period
from hivematrix_common.domain.vocabulary import RATES
from hivematrix_common.prepared import Prepared
from sqlalchemy import ColumnElement, Connection, Row, Table, func, or_, select, text

from hivematrix_codex.domain.pages import Page
from hivematrix_codex.models import assets, companies, contacts, db, locations

COUNTED = 10_000
DECEMBER = 12
LISTS: dict[str, Table] = {"contacts": contacts, "assets": assets, "locations": locations}

_RATES = ", ".join(f"trim_scale({name})::text AS {name}" for name in RATES)
_PLAN = f"plan_name, term, valid_from, support_level, currency, {_RATES}, count_policy, features"
_PLANS = f"SELECT {_PLAN} FROM plan_versions ORDER BY plan_name, term, valid_from DESC"  # noqa: S608
_ENTRY = "uid, worked_on, trim_scale(hours)::text AS hours, billable, first_seen"
_TICKET = f"""
    SELECT t.uid, t.account_number, t.number, t.subject, t.status, t.opened_at, t.closed_at,
        (SELECT coalesce(trim_scale(sum(hours)), 0)::text FROM time_entries e WHERE e.ticket_uid = t.uid)
            AS total_hours_spent,
        (SELECT coalesce(json_agg(y), '[]') FROM (
            SELECT {_ENTRY} FROM time_entries e WHERE e.ticket_uid = t.uid ORDER BY worked_on, uid) y) AS time_entries
    FROM tickets t"""  # noqa: S608

# Row subselects with json_agg: the quickest of the forms that were measured. Money stays text. A ticket is looked up
# for each entry: joined, all tickets of all companies were read for each company.
_BILLING_INPUTS = f"""
WITH page AS MATERIALIZED ({{page}})
SELECT c.account_number,
    CASE WHEN c.n <= {{limit}} THEN (SELECT row_to_json(y)::text FROM (SELECT
        c.account_number, c.name, c.billing_plan, c.contract_term, c.contract_start, c.contract_end, c.currency,
        c.payment_terms_days, c.status,
        (SELECT coalesce(json_agg(y), '[]') FROM (
            SELECT uid, name, active, active_from, active_to
            FROM contacts WHERE account_number = c.account_number ORDER BY uid) y) AS contacts,
        (SELECT coalesce(json_agg(y), '[]') FROM (
            SELECT uid, hostname, billing_type, backup_bytes, active_from, active_to
            FROM assets WHERE account_number = c.account_number ORDER BY uid) y) AS assets,
        (SELECT coalesce(json_agg(y), '[]') FROM (
            SELECT e.uid, (SELECT coalesce(t.number, t.uid) FROM tickets t WHERE t.uid = e.ticket_uid) AS ticket,
                e.worked_on, trim_scale(e.hours)::text AS hours, e.billable, e.first_seen
            FROM (
                SELECT * FROM time_entries
                WHERE account_number = c.account_number AND worked_on BETWEEN {{since}} AND {{last}}
                UNION ALL SELECT * FROM time_entries
                WHERE account_number = c.account_number AND worked_on < {{since}} AND late) e
            ORDER BY e.worked_on, e.uid) y) AS entries
    ) y) END AS company,
    CASE WHEN c.n = 1 THEN (SELECT coalesce(json_agg(y), '[]')::text FROM ({_PLANS}) y) END AS plans
FROM page c ORDER BY c.n"""  # noqa: S608
_INPUTS_OF_PAGE = text(
    _BILLING_INPUTS.format(
        page="SELECT *, row_number() OVER (ORDER BY account_number) AS n FROM companies"
        " WHERE account_number > :cursor AND (:every OR account_number = ANY(:accounts))"
        " ORDER BY account_number LIMIT :limit + 1",
        limit=":limit",
        since=":since",
        last=":last",
    )
)
_INPUTS_OF_ONE = Prepared(
    "billing_inputs_of_one",
    ("text", "date", "date"),
    _BILLING_INPUTS.format(
        page="SELECT *, 1 AS n FROM companies WHERE account_number = $1", limit="1", since="$2", last="$3"
    ),
)

_BULK = f"""
SELECT c.account_number, row_to_json(c)::text AS company,
    (SELECT coalesce(json_agg(y), '[]')::text FROM (
        SELECT * FROM contacts WHERE account_number = c.account_number ORDER BY uid) y) AS contacts,
    (SELECT coalesce(json_agg(y), '[]')::text FROM (
        SELECT * FROM assets WHERE account_number = c.account_number ORDER BY uid) y) AS assets,
    (SELECT coalesce(json_agg(y), '[]')::text FROM (
        SELECT * FROM locations WHERE account_number = c.account_number ORDER BY uid) y) AS locations,
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


def list_companies(session: AnySession, cursor: str, limit: int, search: str) -> Page:
    """Companies by account number; `search` finds a part of the name, or the account number's beginning."""
    where = companies.c.account_number > cursor
    if not search:
        return _page(session, companies, where, companies.c.account_number, limit, total=count_companies(session))
    pattern = search.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    found = or_(companies.c.name.ilike(f"%{pattern}%"), companies.c.account_number.like(f"{pattern}%"))
    some = select(companies.c.account_number).where(found).limit(COUNTED + 1).subquery()
    total = session.scalar(select(func.count()).select_from(some)) or 0
    return _page(session, companies, where & found, companies.c.account_number, limit, total=total, counted=COUNTED)


def count_companies(session: AnySession) -> int:
    return session.scalar(select(func.count()).select_from(companies)) or 0


def find_company(session: AnySession, account_number: str) -> dict[str, Any] | None:
    mine = companies.c.account_number == account_number
    row = session.execute(select(companies).where(mine, only_own(companies.c.account_number))).one_or_none()
    return _plain(row) if row else None


def list_of_company(session: AnySession, kind: str, account_number: str, cursor: str, limit: int) -> Page:
    """A company's `contacts`, `assets` or `locations`, by uid."""
    table = LISTS[kind]
    mine = (table.c.account_number == account_number) & only_own(table.c.account_number)
    total = session.scalar(select(func.count()).select_from(table).where(mine)) or 0
    return _page(session, table, mine & (table.c.uid > cursor), table.c.uid, limit, total=total)


def list_tickets(session: AnySession, account_number: str, year: int | None, cursor: str, limit: int) -> Page:
    """A company's tickets with their time entries, by uid; of a `year`: opened or worked on in it."""
    where = "t.account_number = :account_number AND t.account_number = :own"
    where += " AND (:year = 0 OR extract(year FROM t.opened_at) = :year OR EXISTS ("
    where += "SELECT FROM time_entries e WHERE e.ticket_uid = t.uid AND extract(year FROM e.worked_on) = :year))"
    values = {"account_number": account_number, "year": year or 0, "cursor": cursor, "limit": limit + 1}
    values["own"] = own_account() or account_number
    query = text(f"{_TICKET} WHERE {where} AND t.uid > :cursor ORDER BY t.uid LIMIT :limit")
    total = session.scalar(text(f"SELECT count(*) FROM tickets t WHERE {where}"), values) or 0  # noqa: S608
    return _cut(session.execute(query, values).all(), "uid", limit, total)


def bulk(session: AnySession, cursor: str, limit: int, *, with_tickets: bool) -> Page:
    """Companies with their parts as ready JSON, in one statement."""
    values = {"cursor": cursor, "limit": limit, "with_tickets": with_tickets}
    rows = session.execute(text(_BULK), values).all()
    page = _cut(rows, "account_number", limit, count_companies(session))
    parts = ("company", "contacts", "assets", "locations", "tickets")
    items = [{part: orjson.Fragment(row[part]) for part in parts if row[part]} for row in page.items]
    return Page(items, page.next, page.total)


def billing_inputs(
    session: AnySession, period: Period, cursor: str, limit: int, accounts: Sequence[str]
) -> tuple[list[bytes], str | None]:
    """What Ledger bills by, one JSON line a company, the plans in the first; with the next page's cursor."""
    values = {
        "cursor": cursor,
        "limit": limit,
        "every": not accounts,
        "accounts": list(accounts),
        "last": period.last,
        "since": _eleven_months_before(period),
    }
    rows = session.execute(_INPUTS_OF_PAGE, values).all()
    return list(_lines(rows[:limit])), rows[limit - 1].account_number if len(rows) > limit else None


def billing_inputs_of_one(connection: Connection, period: Period, account: str) -> list[bytes]:
    """The same for one company; nothing when there is no such one."""
    since = _eleven_months_before(period)
    return list(_lines(_INPUTS_OF_ONE.on(connection, account, since, period.last)))


def _eleven_months_before(period: Period) -> date:
    if period.month == DECEMBER:
        return date(period.year, 1, 1)
    return date(period.year - 1, period.month + 1, 1)


def _lines(rows: Sequence[Row[Any]]) -> Iterator[bytes]:
    for row in rows:
        line = row.company if row.plans is None else f'{row.company[:-1]},"plans":{row.plans}}}'
        # json_agg breaks the line between elements; a break inside a text is escaped already.
        yield line.replace("\n", "").encode()


def list_plans(session: AnySession, name: str | None = None, term: str | None = None) -> list[dict[str, Any]]:
    """Every version of every plan, or of one, newest first."""
    some = "WHERE plan_name = :name AND term = :term" if name is not None else ""
    query = text(f"SELECT {_PLAN} FROM plan_versions {some} ORDER BY plan_name, term, valid_from DESC")  # noqa: S608
    return [_plain(row) for row in session.execute(query, {"name": name, "term": term} if some else {})]


def _page(
    session: AnySession,
    table: Table,
    where: ColumnElement[bool],
    key: ColumnElement[Any],
    limit: int,
    *,
    total: int,
    counted: int | None = None,
) -> Page:
    rows = session.execute(select(table).where(where).order_by(key).limit(limit + 1)).all()
    return _cut(rows, key.name, limit, total, counted)


def _cut(rows: Sequence[Row[Any]], key: str, limit: int, total: int, counted: int | None = None) -> Page:
    items = [_plain(row) for row in rows[:limit]]
    cursor = items[-1][key] if len(rows) > limit else None
    exact = counted is None or total <= counted
    return Page(items, cursor, total if exact else counted or 0, exact)


def _plain(row: Row[Any]) -> dict[str, Any]:
    # A table's column names are a subclass of str, which JSON keys may not be.
    return {str(name): value for name, value in row._mapping.items()}  # noqa: SLF001 - a public name of SQLAlchemy


def holdings(session: AnySession) -> dict[str, Any]:
    """How much of each kind there is; for a client, of its own company."""
    return _plain(session.execute(text(_HOLDINGS), {"own": own_account()}).one())


def newest_plans(session: AnySession) -> list[dict[str, Any]]:
    """Every plan in its newest version, with the number of its versions and of the companies it names."""
    return [_plain(row) for row in session.execute(text(_NEWEST_PLANS))]
