"""What an operator adds to the facts, row by row, and the history that the database keeps of it.

A row is a document of text, numbers only where a column is an integer. Whoever changes rows says first who it is
(`begin`); the history itself is written by triggers.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import orjson
from hivematrix_common.database import AnySession, own_account
from hivematrix_common.domain.money import decimal_text
from sqlalchemy import DateTime, Text, text
from sqlalchemy.sql.selectable import TextualSelect

Document = dict[str, Any]
Key = tuple[Any, ...]

# What tells a table's rows from each other.
KEYS: Final[dict[str, tuple[str, ...]]] = {
    "client_overrides": ("account_number", "key", "from_period"),
    "asset_overrides": ("asset_uid",),
    "user_overrides": ("contact_uid",),
    "manual_assets": ("account_number", "uid"),
    "manual_users": ("account_number", "uid"),
    "line_items": ("account_number", "uid"),
    "prepaid_hours": ("account_number",),
    "tax_rates": ("account_number", "category"),
}
IMPORT_LOCK: Final = "ledger-import"
_NULLABLE = {"from_period"}
_TELL = text("SELECT set_config('hivematrix.change', :change, true)")
_NO_IMPORT = text("SELECT pg_try_advisory_xact_lock_shared(hashtextextended(:name, 0))")
_OWN = "(CAST(:own AS text) IS NULL OR account_number = :own)"
_CHANGES = f"""
    FROM rule_changes WHERE account_number = :account AND {_OWN} AND (CAST(:rule AS text) IS NULL OR rule = :rule)
"""
_SEEN = "id, at, rule, before::text AS before, after::text AS after"
_WHO = "actor, actor_kind, action, trace_id, notes_before, notes_after"
_CHANGED_SINCE = text(f"SELECT {_SEEN}, {_WHO}{_CHANGES}AND at >= :at ORDER BY id DESC LIMIT :limit")
COUNTED: Final = 10_000


def begin(session: AnySession, *, actor: str, kind: str, action: str, trace_id: str | None, at: datetime) -> None:
    """Say who changes rows in this transaction, and how."""
    told = {"actor": actor, "actor_kind": kind, "action": action, "trace_id": trace_id, "at": at.isoformat()}
    session.execute(_TELL, {"change": orjson.dumps(told).decode()})


def keep_imports_out(session: AnySession) -> bool:
    """No import begins before the transaction ends; False when one is running."""
    return bool(session.scalar(_NO_IMPORT, {"name": IMPORT_LOCK}))


def key_of(table: str, row: Mapping[str, Any]) -> Key:
    return tuple(row[name] for name in KEYS[table])


def of_account(
    session: AnySession, table: str, columns: Iterable[str], account: str, items: Sequence[str] = ()
) -> list[Document]:
    """The account's rows; where rows belong to one item each, also those of `items`, whosever they were."""
    item = KEYS[table][0] if len(KEYS[table]) == 1 and table != "prepaid_hours" else None
    also = f" OR {item} IN (SELECT json_array_elements_text(:items))" if item else ""
    statement = f"SELECT {', '.join(columns)} FROM {table} WHERE (account_number = :account{also}) AND {_OWN}"  # noqa: S608
    order = f" ORDER BY {', '.join(f'{name} NULLS FIRST' for name in KEYS[table])}"
    values = {"account": account, "own": own_account()} | ({"items": orjson.dumps(items).decode()} if item else {})
    return [_plain(dict(row)) for row in session.execute(text(statement + order), values).mappings()]


def find(session: AnySession, table: str, columns: Iterable[str], key: Key, *, locked: bool = False) -> Document | None:
    """One row; `locked` until the transaction ends."""
    lock = " FOR UPDATE" if locked else ""
    statement = f"SELECT {', '.join(columns)} FROM {table} held WHERE {_same(table)}{lock}"  # noqa: S608
    row = session.execute(text(statement), _keyed(table, key)).mappings().one_or_none()
    return None if row is None else _plain(dict(row))


def insert(session: AnySession, table: str, row: Mapping[str, Any]) -> None:
    values = ", ".join(f":{name}" for name in row)
    session.execute(text(f"INSERT INTO {table} ({', '.join(row)}) VALUES ({values})"), dict(row))  # noqa: S608


def update(session: AnySession, table: str, key: Key, row: Mapping[str, Any]) -> None:
    """Give the row of `key` the values of `row`, its key too."""
    given = ", ".join(f"{name} = :{name}" for name in row)
    session.execute(text(f"UPDATE {table} held SET {given} WHERE {_same(table)}"), dict(row) | _keyed(table, key))  # noqa: S608


def delete(session: AnySession, table: str, key: Key) -> None:
    session.execute(text(f"DELETE FROM {table} held WHERE {_same(table)}"), _keyed(table, key))  # noqa: S608


def replace_many(
    session: AnySession, table: str, columns: Sequence[str], gone: list[Document], changed: list[Document]
) -> None:
    """Delete rows and give others new values, by their keys."""
    same = _same(table, "r.")
    rows = f"json_populate_recordset(CAST(NULL AS {table}), CAST(:rows AS json)) AS r"
    given = ", ".join(f"{name} = r.{name}" for name in columns)
    for verb, documents in (
        (f"DELETE FROM {table} held USING {rows} WHERE {same}", gone),  # noqa: S608
        (f"UPDATE {table} held SET {given} FROM {rows} WHERE {same}", changed),  # noqa: S608
    ):
        if documents:
            session.execute(text(verb), {"rows": orjson.dumps(documents, default=str).decode()})


def history(
    session: AnySession, account: str, rule: str | None, *, before: int | None, limit: int, internal: bool
) -> list[Document]:
    """Changes of the account's rows, newest first, those with a smaller id than `before`.

    Who did it and the notes are only in what is `internal`.
    """
    names = f"{_SEEN}, {_WHO}" if internal else _SEEN
    place = "AND (CAST(:before AS bigint) IS NULL OR id < :before) ORDER BY id DESC LIMIT :limit"
    statement = f"SELECT {names}{_CHANGES}{place}"
    values = {"account": account, "own": own_account(), "rule": rule, "before": before, "limit": limit}
    return [_change(dict(row)) for row in session.execute(text(statement), values).mappings()]


def changed_since(session: AnySession, account: str, at: datetime, limit: int) -> list[Document]:
    """Changes of the account's rows from a moment on, newest first."""
    values = {"account": account, "at": at, "limit": limit, "own": own_account(), "rule": None}
    return [_change(dict(row)) for row in session.execute(_CHANGED_SINCE, values).mappings()]


def count_history(session: AnySession, account: str, rule: str | None) -> int:
    """How many changes there are, counted to one more than COUNTED."""
    statement = text(f"SELECT count(*) FROM (SELECT id{_CHANGES}LIMIT {COUNTED + 1}) AS counted")  # noqa: S608
    return session.scalar(statement, {"account": account, "own": own_account(), "rule": rule}) or 0


def history_query(account: str) -> TextualSelect:
    """The same for a table of a page."""
    statement = text(
        "SELECT lpad(id::text, 20, '0') AS id, at, actor, action, rule, before::text AS before, after::text AS after,"
        f" notes_before, notes_after{_CHANGES}"
    )
    bound = statement.bindparams(account=account, own=own_account(), rule=None)
    names = ("id", "actor", "action", "rule", "before", "after", "notes_before", "notes_after")
    return bound.columns(at=DateTime(timezone=True), **dict.fromkeys(names, Text))


def _same(table: str, other: str = ":held_") -> str:
    """The condition that a row has a key: a parameter's, or that of a row called `other`."""
    return " AND ".join(
        f"held.{name} {'IS NOT DISTINCT FROM' if name in _NULLABLE else '='} {other}{name}" for name in KEYS[table]
    )


def _keyed(table: str, key: Key) -> dict[str, Any]:
    return {f"held_{name}": value for name, value in zip(KEYS[table], key, strict=True)}


def _change(found: Document) -> Document:
    for side in ("before", "after"):
        found[side] = document_of(found[side], found.get(f"notes_{side}"))
    return {name: value for name, value in found.items() if not name.startswith("notes_")}


def document_of(json_text: str | None, notes: str | None = None) -> Document | None:
    """A row as the history keeps it: decimals as text."""
    if json_text is None:
        return None
    row: Document = json.loads(json_text, parse_float=lambda number: decimal_text(Decimal(number).normalize()))
    return row | ({"notes": notes} if notes is not None else {})


def _plain(row: Document) -> Document:
    """Decimals as the wire spells them, without empty digits."""
    return {
        name: decimal_text(value.normalize()) if isinstance(value, Decimal) else value for name, value in row.items()
    }
