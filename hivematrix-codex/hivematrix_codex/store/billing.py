"""What Ledger bills by, one statement a page; later pages of a run tell what the first one could see.

Facts that were changed since are told as they were: their changes are undone (`_WAS`). A page says by itself which
companies that concerns, so that one whose facts stand as they stood costs nothing more.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import date
from typing import Any, Final

import orjson
from hivematrix_common.database import AnySession
from hivematrix_common.domain.period import Period
from hivematrix_common.domain.vocabulary import RATES
from hivematrix_common.prepared import Prepared
from sqlalchemy import Connection, Row, text

from hivematrix_codex.domain.run import Run

_DECEMBER = 12
_RATES = ", ".join(f"trim_scale({name})::text AS {name}" for name in RATES)
PLAN: Final = f"plan_name, term, valid_from, support_level, currency, {_RATES}, count_policy, features"
_TABLES = ("companies", "contacts", "assets", "tickets", "time_entries", "plan_versions")
# Row subselects with json_agg: the quickest of the forms that were measured. Money stays text. A ticket is looked up
# for each entry: joined, all tickets of all companies were read for each company.
_BILLING_INPUTS = f"""
WITH {{was}}page AS MATERIALIZED ({{page}})
SELECT c.account_number,
    CASE WHEN c.n <= {{limit}} THEN (SELECT row_to_json(y)::text FROM (SELECT
        c.account_number, c.name, c.billing_plan, c.contract_term, c.contract_start, c.contract_end, c.currency,
        c.payment_terms_days, c.status,
        (SELECT coalesce(json_agg(y), '[]') FROM (
            SELECT uid, name, active, active_from, active_to
            FROM {{contacts}} WHERE account_number = c.account_number ORDER BY uid) y) AS contacts,
        (SELECT coalesce(json_agg(y), '[]') FROM (
            SELECT uid, hostname, billing_type, backup_bytes, active_from, active_to
            FROM {{assets}} WHERE account_number = c.account_number ORDER BY uid) y) AS assets,
        (SELECT coalesce(json_agg(y), '[]') FROM (
            SELECT e.uid, (SELECT coalesce(t.number, t.uid) FROM {{tickets}} t WHERE t.uid = e.ticket_uid) AS ticket,
                e.worked_on, trim_scale(e.hours)::text AS hours, e.billable, e.first_seen
            FROM (
                SELECT * FROM {{time_entries}}
                WHERE account_number = c.account_number AND worked_on BETWEEN {{since}} AND {{last}}
                UNION ALL SELECT * FROM {{time_entries}}
                WHERE account_number = c.account_number AND worked_on < {{since}} AND late) e
            ORDER BY e.worked_on, e.uid) y) AS entries
    ) y) END AS company,
    CASE WHEN c.n = 1 THEN (SELECT coalesce(json_agg(y), '[]')::text FROM (
        SELECT {PLAN} FROM {{plan_versions}} ORDER BY plan_name, term, valid_from DESC) y) END AS plans,
    {{more}}
FROM page c ORDER BY c.n"""  # noqa: S608
# What a reader of the moment did not see. Own changes are not yet anybody's; those that another cluster counted, before
# a restore, lie beyond this one's end.
_UNSEEN = """
    xid >= pg_snapshot_xmin(CAST(:snapshot AS pg_snapshot))::text::bigint
    AND xid < pg_snapshot_xmax(pg_current_snapshot())::text::bigint
    AND xid IS DISTINCT FROM pg_current_xact_id_if_assigned()::text::bigint
    AND NOT pg_visible_in_snapshot(xid::text::xid8, CAST(:snapshot AS pg_snapshot))"""
_TOUCHED = f"""
    CASE WHEN c.n = 1 THEN (SELECT coalesce(json_agg(DISTINCT coalesce(account_number, '')), '[]')::text
        FROM fact_changes WHERE kind = ANY(:kinds) AND {_UNSEEN}) END AS touched"""  # noqa: S608
_OF_PAGE = (
    "SELECT *, row_number() OVER (ORDER BY account_number) AS n FROM companies"
    " WHERE account_number > :cursor AND (:every OR account_number = ANY(:accounts))"
    " ORDER BY account_number LIMIT :limit + 1"
)
_AS_THEY_ARE = {table: table for table in _TABLES}
_NAMED = {"limit": ":limit", "since": ":since", "last": ":last"}
_SNAPSHOT = "pg_current_snapshot()::text AS snapshot"
INPUTS_OF_PAGE = text(_BILLING_INPUTS.format(was="", page=_OF_PAGE, more=_SNAPSHOT, **_NAMED, **_AS_THEY_ARE))
INPUTS_OF_LATER_PAGE = text(_BILLING_INPUTS.format(was="", page=_OF_PAGE, more=_TOUCHED, **_NAMED, **_AS_THEY_ARE))
INPUTS_OF_ONE = Prepared(
    "billing_inputs_of_one",
    ("text", "date", "date"),
    _BILLING_INPUTS.format(
        was="",
        page="SELECT *, 1 AS n FROM companies WHERE account_number = $1",
        more="NULL",
        limit="1",
        since="$2",
        last="$3",
        **_AS_THEY_ARE,
    ),
)


def _was(table: str, key: str, mine: str) -> str:
    """A table's rows of the accounts as they were: the newest change undone first, what was added since left out."""
    return f"""
was_{table} AS MATERIALIZED (
    SELECT then_.* FROM {table} now_ LEFT JOIN undo ON undo.kind = '{table}' AND undo.key = {key}
    CROSS JOIN LATERAL jsonb_populate_record(now_, coalesce(undo.before, '{{}}')) then_
    WHERE undo.added IS NOT TRUE AND ({mine})),"""  # noqa: S608


_MINE = "now_.account_number = ANY(:accounts) OR now_.uid IN (SELECT key FROM undo WHERE kind = '{}')"
_WAS = (
    f"""
unseen AS MATERIALIZED (SELECT id, kind, key, before FROM fact_changes WHERE kind = ANY(:kinds) AND {_UNSEEN}),
undo AS MATERIALIZED (
    SELECT kind, key, bool_or(unseen.before IS NULL) AS added,
        jsonb_object_agg(member.key_, member.value_ ORDER BY id DESC) FILTER (WHERE member.key_ IS NOT NULL) AS before
    FROM unseen LEFT JOIN LATERAL jsonb_each(unseen.before) member (key_, value_) ON true GROUP BY kind, key),"""  # noqa: S608
    + _was("companies", "now_.account_number", "now_.account_number = ANY(:accounts)")
    + "".join(_was(one, "now_.uid", _MINE.format(one)) for one in ("contacts", "assets", "tickets"))
    + _was("time_entries", "now_.uid", _MINE.format("time_entries")).replace("was_time_entries", "once_entries")
    + """
was_time_entries AS MATERIALIZED (
    SELECT uid, account_number, ticket_uid, worked_on, hours, billable, first_seen,
        first_seen >= date_trunc('month', worked_on::timestamp) + interval '1 month' AS late FROM once_entries),"""
    + _was("plan_versions", "concat_ws(' / ', now_.plan_name, now_.term, now_.valid_from)", "true")
)
INPUTS_AS_THEY_WERE = text(
    _BILLING_INPUTS.format(
        was=_WAS,
        page="SELECT *, row_number() OVER (ORDER BY account_number) AS n FROM was_companies",
        more="NULL",
        limit="cardinality(:accounts)",
        since=":since",
        last=":last",
        **{table: f"was_{table}" for table in _TABLES},
    )
)
_PLANS_AS_THEY_WERE = text(
    f"WITH {_WAS}told AS (SELECT {PLAN} FROM was_plan_versions ORDER BY plan_name, term, valid_from DESC)"  # noqa: S608
    " SELECT coalesce(json_agg(told), '[]')::text FROM told"
)


def billing_inputs(
    session: AnySession, period: Period, run: Run, limit: int, accounts: Sequence[str]
) -> tuple[list[bytes], Run, str | None]:
    """One JSON line a company, the plans in the first; the run they belong to, and the cursor of its next page."""
    span = {"last": period.last, "since": _eleven_months_before(period)}
    wanted = {"cursor": run.after, "limit": limit, "every": not accounts, "accounts": list(accounts)}
    values: dict[str, Any] = wanted | span
    if not run.snapshot:
        rows = session.execute(INPUTS_OF_PAGE, values).all()
        run = replace(run, snapshot=rows[0].snapshot) if rows else run
        found, plans = [row.company for row in rows[:limit]], rows[0].plans if rows else None
    else:
        since = {"snapshot": run.snapshot, "kinds": list(_TABLES)}
        rows = session.execute(INPUTS_OF_LATER_PAGE, values | since).all()
        found, plans = _as_they_were(session, rows[:limit], span | since)
    following = run.cursor(rows[limit - 1].account_number) if len(rows) > limit else None
    return list(_lines(found, plans)), run, following


def billing_inputs_of_one(connection: Connection, period: Period, account: str) -> list[bytes]:
    """The same for one company; nothing when there is no such one."""
    rows = INPUTS_OF_ONE.on(connection, account, _eleven_months_before(period), period.last)
    return list(_lines([row.company for row in rows], rows[0].plans if rows else None))


def _as_they_were(
    session: AnySession, rows: Sequence[Row[Any]], values: dict[str, Any]
) -> tuple[list[str], str | None]:
    """The companies and plans as the run's first page could see them; those that came since left out."""
    if not rows:
        return [], None
    touched, plans = set(orjson.loads(rows[0].touched)), rows[0].plans
    concerned = [row.account_number for row in rows if row.account_number in touched]
    then: dict[str, str] = {}
    if concerned:
        were = session.execute(INPUTS_AS_THEY_WERE, values | {"accounts": concerned})
        then = {row.account_number: row.company for row in were}
    if "" in touched:
        plans = session.scalar(_PLANS_AS_THEY_WERE, values | {"accounts": []})
    told = (then.get(row.account_number) if row.account_number in touched else row.company for row in rows)
    return [company for company in told if company is not None], plans


def _eleven_months_before(period: Period) -> date:
    if period.month == _DECEMBER:
        return date(period.year, 1, 1)
    return date(period.year - 1, period.month + 1, 1)


def _lines(companies: Sequence[str], plans: str | None) -> Iterator[bytes]:
    for place, company in enumerate(companies):
        line = f'{company[:-1]},"plans":{plans}}}' if place == 0 else company
        # json_agg breaks the line between elements; a break inside a text is escaped already.
        yield line.replace("\n", "").encode()
