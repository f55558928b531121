"""Rows that a file states whole: an account whose rows differ gets new ones, every other account is left alone."""

from collections.abc import Sequence
from typing import Any

from hivematrix_common.database import AnySession, advisory_xact_lock, copy_lines, copy_rows
from sqlalchemy import text

from . import listed

Cells = tuple[Any, ...]
# Overrides belong to one item, whichever account it had when they were stated.
_ITEMS = {"asset_overrides": "asset_uid", "user_overrides": "contact_uid"}


def begin(session: AnySession) -> None:
    """One import at a time, with the time a large one takes; both end with the transaction."""
    session.execute(text("SET LOCAL statement_timeout = '5min'"))
    advisory_xact_lock(session, "ledger-import")


def replace(session: AnySession, table: str, columns: Sequence[str], stated: dict[str, list[Cells]]) -> int:
    """Make `stated` (rows by account, the account in front) all that `table` holds of its accounts.

    Returns how many rows are new, different or gone.
    """
    found = {
        tuple(row)
        for row in session.execute(text(_query(f"SELECT {', '.join(columns)}", table)), _values(table, columns, stated))
    }
    wanted = {row for rows in stated.values() for row in rows}
    differing = {row[0] for row in found ^ wanted}
    changed = {account: rows for account, rows in stated.items() if account in differing}
    if changed:
        session.execute(text(_query("DELETE", table)), _values(table, columns, changed))
        copy_rows(session, table, columns, copy_lines(row for rows in changed.values() for row in rows))
    return max(len(wanted - found), len(found - wanted))


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
