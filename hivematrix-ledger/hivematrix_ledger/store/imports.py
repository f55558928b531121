"""Rows that a file states whole: of the accounts it names, those that differ change; every other one is left alone."""

from collections.abc import Callable, Sequence
from typing import Any

from hivematrix_common.database import AnySession, advisory_xact_lock, copy_lines, copy_rows
from sqlalchemy import text

from . import listed, rules

Cells = tuple[Any, ...]
# Overrides belong to one item, whichever account it had when they were stated.
_ITEMS = {"asset_overrides": "asset_uid", "user_overrides": "contact_uid"}


def begin(session: AnySession) -> None:
    """One import at a time, with the time a large one takes; both end with the transaction."""
    session.execute(text("SET LOCAL statement_timeout = '5min'"))
    advisory_xact_lock(session, rules.IMPORT_LOCK)


def replace(session: AnySession, table: str, columns: Sequence[str], stated: dict[str, list[Cells]]) -> int:
    """Make `stated` (rows by account, the account in front) all that `table` holds of its accounts.

    A row that stays as it was is not touched: nothing happened to it. Returns how many rows are new, different or gone.
    """
    rows = session.execute(text(_query(f"SELECT {', '.join(columns)}", table)), _values(table, columns, stated))
    key = _key_of(table, columns)
    found = {key(row): tuple(row) for row in rows}
    wanted = {key(row): row for rows in stated.values() for row in rows}
    gone = [row for name, row in found.items() if name not in wanted]
    changed = [row for name, row in wanted.items() if name in found and found[name] != row]
    added = [row for name, row in wanted.items() if name not in found]
    rules.replace_many(session, table, columns, _documents(columns, gone), _documents(columns, changed))
    if added:
        copy_rows(session, table, columns, copy_lines(added))
    return max(len(added) + len(changed), len(gone) + len(changed))


def _key_of(table: str, columns: Sequence[str]) -> Callable[[Sequence[Any]], Cells]:
    places = [columns.index(name) for name in rules.KEYS[table]]
    return lambda row: tuple(row[at] for at in places)


def _documents(columns: Sequence[str], rows: list[Cells]) -> list[rules.Document]:
    return [dict(zip(columns, row, strict=True)) for row in rows]


def _query(verb: str, table: str) -> str:
    item = _ITEMS.get(table)
    items = f" OR {item} IN (SELECT json_array_elements_text(:items))" if item else ""
    return f"{verb} FROM {table} WHERE account_number IN (SELECT json_array_elements_text(:accounts)){items}"


def _values(table: str, columns: Sequence[str], stated: dict[str, list[Cells]]) -> dict[str, str]:
    values = {"accounts": listed(list(stated))}
    if table in _ITEMS:
        at = columns.index(_ITEMS[table])
        values["items"] = listed([row[at] for rows in stated.values() for row in rows])
    return values
