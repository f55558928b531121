"""Import rows into the database: COPY into a temporary table, check references there, upsert what differs."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import date
from itertools import islice
from typing import Any

from hivematrix_common.database import AnySession, advisory_xact_lock, copy_lines, copy_rows
from hivematrix_common.importing import Row, Table
from sqlalchemy import text

BATCH = 5000


@dataclass(frozen=True, slots=True)
class Target:
    """Where a file's rows go. `derived` columns come from `joined` or from a parameter, not from the file."""

    table: str
    references: tuple[tuple[str, str, str], ...] = ()  # column, table, its key
    derived: tuple[tuple[str, str], ...] = ()
    joined: str = ""
    kept: tuple[str, ...] = ()  # what the first import said stays


TARGETS = {
    "plans": Target("plan_versions"),
    "companies": Target("companies"),
    "contacts": Target("contacts", (("account_number", "companies", "account_number"),)),
    "assets": Target("assets", (("account_number", "companies", "account_number"),)),
    "tickets": Target("tickets", (("account_number", "companies", "account_number"),)),
    "time_entries": Target(
        "time_entries",
        references=(("ticket_uid", "tickets", "uid"),),
        derived=(("account_number", "ticket.account_number"), ("first_seen", ":today")),
        joined="JOIN tickets ticket ON ticket.uid = incoming.ticket_uid",
        kept=("first_seen",),
    ),
}


def begin(session: AnySession) -> None:
    """One import at a time, with the time a large one takes; both end with the transaction."""
    session.execute(text("SET LOCAL statement_timeout = '5min'"))
    advisory_xact_lock(session, "codex-import")


def stage(session: AnySession, table: Table, rows: Iterable[Row]) -> int:
    """Put `rows` into the temporary table `incoming` with their place; returns how many."""
    names = [column.name for column in table.columns]
    session.execute(text("DROP TABLE IF EXISTS pg_temp.incoming"))
    columns = f"SELECT ''::text AS file, 0 AS line, {', '.join(names)} FROM {TARGETS[table.stem].table}"  # noqa: S608
    session.execute(text(f"CREATE TEMPORARY TABLE incoming ON COMMIT DROP AS {columns} WITH NO DATA"))
    staged, rest = 0, iter(rows)
    while batch := list(islice(rest, BATCH)):
        copy_rows(session, "incoming", ["file", "line", *names], copy_lines(_cells(batch)))
        staged += len(batch)
    return staged


def dangling(session: AnySession, table: Table) -> list[tuple[Row, str, str]]:
    """The staged rows that refer to nothing, with column and message; they are taken out of the stage."""
    found = []
    for column, other, key in TARGETS[table.stem].references:
        statement = text(
            f"DELETE FROM incoming WHERE NOT EXISTS (SELECT FROM {other} WHERE {other}.{key} = incoming.{column})"  # noqa: S608
            f" RETURNING file, line, {column}"
        )
        for file, line, value in session.execute(statement):
            found.append((Row(file, line, {column: value}), column, f"there is no {value} in {other}"))
    return found


def upsert(session: AnySession, table: Table, today: date) -> int:
    """Store the staged rows; returns how many were new or different."""
    target = TARGETS[table.stem]
    names = [column.name for column in table.columns]
    stored = [*names, *(name for name, _ in target.derived)]
    values = [*(f"incoming.{name}" for name in names), *(source for _, source in target.derived)]
    updated = [name for name in stored if name not in (*table.key, *target.kept)]
    mine, theirs = (", ".join(f"{prefix}.{name}" for name in updated) for prefix in (target.table, "excluded"))
    statement = text(
        f"INSERT INTO {target.table} ({', '.join(stored)})"  # noqa: S608
        f" SELECT {', '.join(values)} FROM incoming {target.joined}"
        f" ON CONFLICT ({', '.join(table.key)}) DO UPDATE SET ({', '.join(updated)}) = ROW({theirs})"
        f" WHERE ({mine}) IS DISTINCT FROM ({theirs})"
    )
    parameters = {"today": today} if ":today" in values else {}
    return session.execute(statement, parameters).rowcount  # type: ignore[attr-defined, no-any-return]


def unknown_plans(session: AnySession) -> list[tuple[Row, str]]:
    """The staged companies whose plan has no version yet, with a message; `Inactive` needs none."""
    statement = text(
        "SELECT file, line, billing_plan, contract_term FROM incoming"
        " WHERE lower(billing_plan) <> 'inactive' AND NOT EXISTS ("
        "  SELECT FROM plan_versions WHERE plan_name = incoming.billing_plan AND term = incoming.contract_term)"
        " ORDER BY file, line"
    )
    return [
        (Row(file, line, {}), f"there is no plan {plan} / {term}; the company is unbillable until there is one")
        for file, line, plan, term in session.execute(statement)
    ]


def _cells(rows: Iterable[Row]) -> Iterator[list[Any]]:
    for row in rows:
        values = (json.dumps(value) if isinstance(value, dict) else value for value in row.values.values())
        yield [row.file, row.line, *values]
