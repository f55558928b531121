"""Facts by hand: added, changed, retired, each by the import's own rules; nothing is ever deleted.

A change says of which state of the row it is (`If-Match`), so that nobody overwrites what another just wrote. The
database keeps the history; who it was is said before the first row is touched.
"""

import getpass
from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import Any, Final
from uuid import uuid4
from zoneinfo import ZoneInfo

from flask import has_request_context, request
from hivematrix_common import audit, auth, clock, logs
from hivematrix_common.database import AnySession
from hivematrix_common.errors import FieldError, Problem
from hivematrix_common.importing import Table, checked
from sqlalchemy.exc import IntegrityError

from hivematrix_codex import store
from hivematrix_codex.import_tables import edited
from hivematrix_codex.store import changes
from hivematrix_codex.store.changes import Document, Key

TITLES: Final = {
    "companies": "company",
    "contacts": "contact",
    "assets": "asset",
    "locations": "location",
    "tickets": "ticket",
    "time_entries": "time entry",
    "plans": "plan version",
}
STORED: Final = {"plans": "plan_versions"}
MANUAL: Final = "manual"
_REFERENCES: Final = {"account_number": "companies", "ticket_uid": "tickets"}


def begin(session: AnySession, command: str) -> None:
    """Say who changes facts in this transaction: the request's caller, or whoever runs the command."""
    if has_request_context():
        caller, rule = auth.caller(), request.url_rule
        who = {"actor": caller.name, "kind": caller.kind, "action": f"{request.method} {rule}"}
    else:
        who = {"actor": getpass.getuser(), "kind": "command", "action": command}
    changes.begin(session, **who, trace_id=logs.trace_id() or None, at=clock.now())


def add(kind: str, record: Mapping[str, object], zone: ZoneInfo) -> Key:
    """Add a fact; Problem(conflict) when there is one of its key. What has no uid is given one. Returns the key."""
    table = edited(zone)[kind]
    said = dict(record)
    if table.key == ("uid",) and not said.get("uid"):
        said["uid"] = f"{MANUAL}:{uuid4().hex[:12]}"
    values = _acceptable(table, said)
    session = store.session()
    begin(session, "")
    row = values | _derived(session, kind, values, zone) | ({} if kind == "plans" else {"source": MANUAL})
    key = tuple(row[name] for name in table.key)
    _check_references(session, kind, row)
    if changes.held(session, STORED.get(kind, kind), key):
        raise Problem("conflict", f"The {TITLES[kind]} {_named(key)} is there already; change it.")
    audit.about(f"{TITLES[kind]} {_named(key)}")
    _save(session, lambda: changes.add(session, STORED.get(kind, kind), row))
    return key


def change(kind: str, key: Key, record: Mapping[str, object], zone: ZoneInfo, match: str | None) -> None:
    """Give a fact other values; what is not sent stays. Problem(precondition_failed) when it is no longer as read."""
    table = edited(zone)[kind]
    session = store.session()
    begin(session, "")
    row = _matched(session, kind, key, match)
    values = _acceptable(table, _pinned(kind, record), row)
    _check_references(session, kind, row | values)
    audit.about(f"{TITLES[kind]} {_named(key)}", members=", ".join(sorted(values)))
    _save(session, lambda: changes.change(session, STORED.get(kind, kind), key, values) if values else None)


def retire(kind: str, key: Key, on: date, zone: ZoneInfo, match: str | None) -> None:
    """Say that a fact counts no longer after a day; it stays, for bills and histories refer to it."""
    said: dict[str, dict[str, object]] = {
        "companies": {"status": "inactive", "contract_end": on.isoformat()},
        "contacts": {"active_to": on.isoformat()},
        "assets": {"active_to": on.isoformat()},
    }
    if kind != "locations":
        change(kind, key, said[kind], zone, match)
        return
    session = store.session()
    begin(session, "")
    _matched(session, kind, key, match)
    audit.about(f"location {_named(key)}")
    _save(session, lambda: changes.change(session, kind, key, {"retired_on": on}))


def assign(asset: str, people: list[str], match: str | None) -> None:
    """Say whose machine it is."""
    session = store.session()
    begin(session, "")
    row = _matched(session, "assets", (asset,), match)
    strange = changes.assign(session, asset, row["account_number"], people)
    if strange:
        raise _refused([("contacts", f"{row['account_number']} has no contact {strange[0]}")])
    audit.about(f"asset {asset}")
    session.commit()


def _matched(session: AnySession, kind: str, key: Key, match: str | None) -> Document:
    found = changes.held(session, STORED.get(kind, kind), key, locked=True)
    if found is None:
        raise Problem("not_found", f"There is no {TITLES[kind]} {_named(key)}.")
    row, digest = found
    if match is None:
        raise Problem("precondition_required", "Send If-Match with the ETag of what you read, so that nothing is lost.")
    if match.strip() not in {"*", f'"{digest}"'}:
        detail = f"The {TITLES[kind]} was changed since you read it; read it again, then decide."
        raise Problem("precondition_failed", detail, headers={"ETag": f'"{digest}"'})
    return row


def _acceptable(table: Table, record: Mapping[str, object], held: Document | None = None) -> Document:
    """The record's values; with `held`, of the members that were sent, checked together with those that stay."""
    names = {column.name for column in table.columns}
    faults = [(name, "unknown member") for name in sorted(record.keys() - names)]
    if held is not None:
        fixed = [name for name in (*table.key, "ticket_uid") if name in record and str(held[name]) != record[name]]
        faults += [(name, "stays as it is") for name in fixed]
    sent = replace(table, columns=tuple(c for c in table.columns if held is None or c.name in record), checks=())
    values, wrong = checked(sent, {name: _cell(value) for name, value in record.items()})
    faults += wrong
    if not faults:
        together = (held or {}) | values
        faults = [found for check in table.checks if (found := check(together))]
    if faults:
        raise _refused(faults)
    return {name: value for name, value in values.items() if held is None or held[name] != value}


def _cell(value: object) -> object:
    """A JSON member as a file's cell."""
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _pinned(kind: str, record: Mapping[str, object]) -> Mapping[str, object]:
    """A billing type that a person sets is theirs: no sync changes it before it is let go."""
    if kind != "assets" or "billing_type" not in record or "billing_type_pinned" in record:
        return record
    return {**record, "billing_type_pinned": bool(record["billing_type"])}


def _derived(session: AnySession, kind: str, values: Document, zone: ZoneInfo) -> Document:
    if kind != "time_entries":
        return {}
    ticket = changes.held(session, "tickets", (values["ticket_uid"],))
    if ticket is None:
        raise _refused([("ticket_uid", f"there is no {values['ticket_uid']} in tickets")])
    today = clock.now().astimezone(zone).date()
    return {"account_number": ticket[0]["account_number"], "first_seen": today}


def _check_references(session: AnySession, kind: str, row: Document) -> None:
    faults = [
        (name, f"there is no {row[name]} in {other}")
        for name, other in _REFERENCES.items()
        if name in row and other != kind and changes.held(session, other, (row[name],)) is None
    ]
    if faults:
        raise _refused(faults)


def _save(session: AnySession, write: Any) -> None:
    """Write and commit; who came first in the same moment is told as a conflict."""
    try:
        write()
        session.commit()
    except IntegrityError as error:
        session.rollback()
        constraint = getattr(getattr(error.orig, "diag", None), "constraint_name", None)
        raise Problem("conflict", f"It contradicts what is there ({constraint}); read it again.") from None


def _refused(faults: list[tuple[str, str]]) -> Problem:
    fields = [FieldError(name, message) for name, message in faults]
    return Problem("invalid", "; ".join(f"{name}: {message}" for name, message in faults[:5]), fields=fields)


def _named(key: Key) -> str:
    return " / ".join(map(str, key))
