"""Overrides and items, row by row: read, set, added, changed, removed, each by the import's own rules.

Every change says who makes it before the first row is touched; the database keeps the history (store/rules.py).
"""

import getpass
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from decimal import Decimal
from itertools import chain, count
from typing import Any, Final, TypeVar

from flask import has_request_context, request
from hivematrix_common import audit, auth, clock, logs
from hivematrix_common.database import AnySession
from hivematrix_common.domain.money import decimal_text
from hivematrix_common.domain.vocabulary import RATES
from hivematrix_common.errors import FieldError, Problem
from hivematrix_common.importing import Table, checked
from sqlalchemy.exc import IntegrityError

from hivematrix_ledger import store
from hivematrix_ledger.import_tables import tables
from hivematrix_ledger.services import Ledger, no_company
from hivematrix_ledger.store import rules
from hivematrix_ledger.store.rules import Document, Key

# unique_violation, exclusion_violation: another row is in the way.
_BESIDE: Final = {"23505", "23P01"}
Result = TypeVar("Result")
# Whose uids an item's override bears, and how Codex calls them.
ITEMS: Final = {"asset_overrides": ("assets", "asset_uid"), "user_overrides": ("contacts", "contact_uid")}
# Rows without a uid of their own are named by what they say.
NAMED: Final = {
    "manual_assets": ("manual", "hostname"),
    "manual_users": ("manual", "name"),
    "line_items": ("item", "name"),
}
TITLES: Final = {
    "client_overrides": "override",
    "asset_overrides": "asset override",
    "user_overrides": "user override",
    "manual_assets": "manual asset",
    "manual_users": "manual user",
    "line_items": "line item",
    "prepaid_hours": "row of prepaid hours",
    "tax_rates": "tax rate",
}


def table_of(ledger: Ledger, stem: str) -> Table:
    return next(table for table in tables(ledger.defaults.zone) if table.stem == stem)


def columns_of(table: Table) -> list[str]:
    """A table's columns in the database: the file's, with the uid or the account that a file does not name."""
    names = [column.name for column in table.columns]
    if table.stem in NAMED:
        return [names[0], "uid", *names[1:]]
    return ["account_number", *names] if table.stem in ITEMS else names


def stored(stem: str, values: Mapping[str, Any]) -> Document:
    """A checked row as the database keeps it; rates always spelled alike."""
    row = {name: _cell(value) for name, value in values.items()}
    if stem == "client_overrides" and row["key"] in RATES:
        row["value"] = decimal_text(Decimal(row["value"]).normalize())
    return row


def free_uid(stem: str, row: Mapping[str, Any], taken: set[str]) -> str:
    prefix, name = NAMED[stem]
    uid = f"{prefix}:{row[name]}"
    return next(one for one in chain([uid], (f"{uid}#{n}" for n in count(2))) if one not in taken)


def overlap(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Whether two rows with from_period and to_period share a month."""
    return _begins_in_time(one, other) and _begins_in_time(other, one)


def read(ledger: Ledger, stem: str, account: str, *, internal: bool = True) -> list[Document]:
    """The account's rows; of single items each with its `name`, and whether it is `idle`: not the company's any more.

    Without `internal` the operator's notes are left out.
    """
    if stem in ITEMS:
        return with_names(ledger, stem, account, ledger.codex.items(ITEMS[stem][0], account))
    columns = [name for name in columns_of(table_of(ledger, stem)) if internal or name != "notes"]
    return rules.of_account(store.session(), stem, columns, account)


def with_names(ledger: Ledger, stem: str, account: str, names: Mapping[str, str]) -> list[Document]:
    """The account's rows of single items, `names` being those that the company has."""
    rows = rules.of_account(store.session(), stem, columns_of(table_of(ledger, stem)), account, list(names))
    item = ITEMS[stem][1]
    return [row | {"name": names.get(row[item]), "idle": row[item] not in names} for row in rows]


def find(ledger: Ledger, stem: str, key: Key) -> Document:
    """One row; Problem(not_found) when there is none."""
    row = rules.find(store.session(), stem, columns_of(table_of(ledger, stem)), key)
    if row is None:
        raise _missing(stem, key)
    return row


def put(ledger: Ledger, stem: str, record: Mapping[str, object]) -> tuple[Document, bool]:
    """Set the row that the record's key names; returns it, and whether it is new."""
    return put_all(ledger, stem, [record])[0]


def put_all(ledger: Ledger, stem: str, records: Sequence[Mapping[str, object]]) -> list[tuple[Document, bool]]:
    """Set several rows of one account together, or none."""
    found = [_row(ledger, stem, record) for record in records]

    def write(session: AnySession) -> list[tuple[Document, bool]]:
        return [(row, _set(ledger, session, stem, row)) for row in found]

    return _write(stem, write, rows=found)


def add(ledger: Ledger, stem: str, record: Mapping[str, object]) -> Document:
    """Add a row; refused when one with its key is there already. Rows of a kind that is named get a uid."""
    row = _row(ledger, stem, record)
    if stem in NAMED:
        row["uid"] = free_uid(stem, row, set())

    def write(session: AnySession) -> Document:
        if stem in NAMED:
            held = rules.of_account(session, stem, ["uid"], row["account_number"])
            row["uid"] = free_uid(stem, row, {one["uid"] for one in held})
        elif rules.find(session, stem, rules.KEYS[stem], rules.key_of(stem, row)):
            raise _taken(stem)
        rules.insert(session, stem, row)
        return row

    return _write(stem, write, rows=[row])


def change(ledger: Ledger, stem: str, key: Key, record: Mapping[str, object]) -> Document:
    """Give the row of `key` other values, of its key too; Problem(not_found) when it is gone."""
    row = _row(ledger, stem, record)
    if stem in NAMED:
        row["uid"] = key[-1]

    def write(session: AnySession) -> Document:
        wanted = rules.key_of(stem, row)
        if rules.find(session, stem, rules.KEYS[stem], key, locked=True) is None:
            raise _missing(stem, key)
        if wanted != key and rules.find(session, stem, rules.KEYS[stem], wanted):
            raise _taken(stem)
        rules.update(session, stem, key, row)
        return row

    return _write(stem, write, rows=[row], key=key)


def remove(ledger: Ledger, stem: str, key: Key) -> Document:
    """Remove one row, idle or not; returns what it was."""

    def write(session: AnySession) -> Document:
        row = rules.find(session, stem, columns_of(table_of(ledger, stem)), key, locked=True)
        if row is None:
            raise _missing(stem, key)
        rules.delete(session, stem, key)
        return row

    return _write(stem, write, key=key)


def remove_override(ledger: Ledger, account: str, name: str, from_period: str | None) -> Document:
    """Remove the override of a key that begins with `from_period` ("" for an open one), or the only one it has."""
    columns = columns_of(table_of(ledger, "client_overrides"))
    rows = rules.of_account(store.session(), "client_overrides", columns, account)
    found = [row for row in rows if row["key"] == name and from_period in {None, row["from_period"] or ""}]
    if not found:
        raise _missing("client_overrides", (account, name, from_period or None))
    if len(found) > 1:
        raise _refused("from_period", f"which of them: {', '.join(map(described, found))}", "conflict")
    return remove(ledger, "client_overrides", rules.key_of("client_overrides", found[0]))


def remove_all(ledger: Ledger, account: str) -> list[Document]:
    """Remove every override of an account, none of its items'."""
    columns = columns_of(table_of(ledger, "client_overrides"))

    def write(session: AnySession) -> list[Document]:
        rows = rules.of_account(session, "client_overrides", columns, account)
        for row in rows:
            rules.delete(session, "client_overrides", rules.key_of("client_overrides", row))
        return rows

    return _write("client_overrides", write, key=(account,))


@contextmanager
def changing(command: str) -> Iterator[AnySession]:
    """The session, told who changes rows: the request's caller, or who runs the `command`. Commits once at the end."""
    session = store.session()
    caller = auth.signed_in()
    try:
        rules.begin(
            session,
            actor=caller.name if caller else getpass.getuser(),
            kind=caller.kind if caller else "command",
            action=f"{request.method} {request.url_rule}" if has_request_context() else command,
            trace_id=logs.trace_id() or None,
            at=clock.now(),
        )
        yield session
        session.commit()
    except BaseException:
        session.rollback()
        raise


def described(row: Mapping[str, Any]) -> str:
    """An override in words: per_user 95 (2025-01 to 2025-09)."""
    begin, end = row["from_period"] or "the beginning", row["to_period"] or "no end"
    return f"{row['key']} {row['value']} ({begin} to {end})"


def _row(ledger: Ledger, stem: str, record: Mapping[str, object]) -> Document:
    """The record checked as an import checks it, known to Codex, ready to be kept."""
    values, faults = checked(table_of(ledger, stem), record)
    if faults:
        fields = [FieldError(name, message) for name, message in faults]
        raise Problem("invalid", "; ".join(f"{field.field}: {field.message}" for field in fields), fields=fields)
    row = stored(stem, values)
    if stem in ITEMS:
        row["account_number"] = _owner(ledger, stem, row, record.get("account_number"))
    elif ledger.codex.company(row["account_number"]) is None:
        raise no_company(row["account_number"])
    return row


def _owner(ledger: Ledger, stem: str, row: Document, account: object) -> str:
    """The company whose item it is; only that of `account` is asked for when it is given."""
    kind, item = ITEMS[stem]
    uid = row[item]
    if account:
        owner = str(account) if uid in ledger.codex.items(kind, str(account)) else None
    else:
        owner = next(
            (owned.account_number for of, owned in ledger.codex.owners() if (of, owned.uid) == (kind, uid)), None
        )
    if owner is None:
        raise Problem(
            "not_found", f"There is no {uid} in Codex.", fields=[FieldError(item, f"there is no {uid} in Codex")]
        )
    return owner


def _set(ledger: Ledger, session: AnySession, stem: str, row: Document) -> bool:
    key = rules.key_of(stem, row)
    if rules.find(session, stem, columns_of(table_of(ledger, stem)), key, locked=True) is None:
        rules.insert(session, stem, row)
        return True
    rules.update(session, stem, key, row)
    return False


def _write(stem: str, write: Callable[[AnySession], Result], *, rows: Sequence[Document] = (), key: Key = ()) -> Result:
    """Do it in one transaction; `rows` are those to be written, `key` that of the row removed or given other values."""
    named = [rules.key_of(stem, row) for row in rows] or [key]
    # A uid made of a name may have to be forgotten, and audit rows stay for ever; the row's history has the same trace.
    told = dict.fromkeys(one[:1] for one in named) if stem in NAMED else named
    about = ", ".join(" ".join(str(part) for part in one if part) for one in told)
    audit.done(store.session(), "ledger rules", f"{stem} {about}")
    try:
        with changing("ledger rules") as session:
            if not rules.keep_imports_out(session):
                raise Problem("busy", "An import is changing these rows; try again.", headers={"Retry-After": "5"})
            return write(session)
    except IntegrityError as error:
        if getattr(error.orig, "pgcode", None) not in _BESIDE:
            raise
        raise _contradiction(stem, rows, key) from None


def _contradiction(stem: str, rows: Sequence[Document], replaced: Key) -> Problem:
    """The database refused a row: another one is in its place, seen here or written at the same moment."""
    if stem == "client_overrides":
        for row in rows:
            columns = ("account_number", "key", "value", "from_period", "to_period")
            own = {replaced, rules.key_of(stem, row)}
            for other in rules.of_account(store.session(), stem, columns, row["account_number"]):
                if other["key"] == row["key"] and rules.key_of(stem, other) not in own and overlap(other, row):
                    return _refused("from_period", f"{described(row)} overlaps {described(other)}", "conflict")
    return Problem("conflict", "Somebody changed these rows at the same moment; look again.")


def _taken(stem: str) -> Problem:
    field = rules.KEYS[stem][-1]
    return _refused(field, f"there is such a {TITLES[stem]} already; change that one", "conflict")


def _missing(stem: str, key: Key) -> Problem:
    named = " ".join(str(part) for part in key if part)
    return Problem("not_found", f"There is no {TITLES[stem]} {named}.")


def _refused(field: str, message: str, code: str) -> Problem:
    return Problem(code, f"{field}: {message}.", fields=[FieldError(field, message)])


def _begins_in_time(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """`one` begins before `other` has ended."""
    return one["from_period"] is None or other["to_period"] is None or bool(one["from_period"] <= other["to_period"])


def _cell(value: Any) -> Any:
    return value if value is None or isinstance(value, str | int | Decimal) else str(value)
