"""What Freshservice's records say. Pure: a record in, facts out."""

from collections.abc import Mapping

from hivematrix_common.domain.errors import DomainError

from hivematrix_codex.domain.facts import Fact, Record, Told, billing_type, hours_of_clock, optional, required

STATUSES = {2: "open", 3: "pending", 4: "resolved", 5: "closed"}
_CLOSED = 5
_SUBJECT, _TEXT = 1000, 200


def told(kind: str, record: Record, fields: Mapping[str, str]) -> Told:
    """What one record says; `fields` names the departments' own fields, ours to theirs."""
    if kind == "companies":
        return Told((_company(record, fields),))
    if kind == "contacts":
        return Told((_contact(record),))
    if kind == "assets":
        return Told((_asset(record),))
    return _ticket(record)


def id_of(kind: str, record: Record) -> str:
    del kind
    return str(record.get("id") or "")


def _company(record: Record, fields: Mapping[str, str]) -> Fact:
    own = record.get("custom_fields")
    own = own if isinstance(own, dict) else {}
    cells: dict[str, object] = {"name": required(record, "name"), "status": "active"}
    cells |= {ours: optional(own, theirs, _TEXT) for ours, theirs in fields.items() if theirs in own}
    return Fact("companies", required(record, "id"), cells)


def _contact(record: Record) -> Fact:
    first, last = optional(record, "first_name") or "", optional(record, "last_name") or ""
    mail = optional(record, "primary_email", _TEXT)
    active = record.get("active", True) is not False
    cells: dict[str, object] = {
        "name": f"{first} {last}".strip()[:_TEXT] or mail,
        "email": mail,
        "active_from": optional(record, "created_at"),
        "active_to": None if active else required(record, "updated_at"),
    }
    return Fact("contacts", required(record, "id"), cells, _ids(record, "department_ids"))


def _asset(record: Record) -> Fact:
    cells: dict[str, object] = {
        "hostname": required(record, "name")[:_TEXT],
        "billing_type": billing_type(optional(record, "asset_type_name")),
        "active_from": optional(record, "created_at"),
        "active_to": None,
    }
    department = optional(record, "department_id")
    return Fact("assets", required(record, "id"), cells, (department,) if department else ())


def _ticket(record: Record) -> Told:
    id_, department = required(record, "id"), optional(record, "department_id")
    opened, closed = optional(record, "created_at"), _closed_at(record)
    cells: dict[str, object] = {
        "number": f"#{id_}",
        "subject": optional(record, "subject", _SUBJECT),
        "status": _status(record),
        "opened_at": opened,
        "closed_at": closed,
    }
    ticket = Fact("tickets", id_, cells, (department,) if department else ())
    entries = record.get("time_entries")
    if entries is None:
        return Told((ticket,))
    if not isinstance(entries, list):
        raise DomainError("time_entries", "expected a list")
    # A timer that runs has no hours yet that would stay.
    settled = tuple(_entry(entry, id_) for entry in entries if not entry.get("timer_running"))
    return Told((ticket, *settled), id_, "a timer runs" if len(settled) < len(entries) else "")


def _entry(record: Record, ticket: str) -> Fact:
    id_ = required(record, "id")
    worked = optional(record, "executed_at") or optional(record, "start_time") or required(record, "created_at")
    hours = hours_of_clock(required(record, "time_spent"), f"time entry {id_}: time_spent")
    billable = "false" if record.get("billable") is False else "true"
    return Fact("time_entries", id_, {"worked_on": worked, "hours": hours, "billable": billable}, parent=ticket)


def _status(record: Record) -> str:
    if record.get("spam"):
        return "spam"
    if record.get("deleted"):
        return "deleted"
    status = record.get("status")
    return STATUSES.get(status, f"status {status}") if isinstance(status, int) else "unknown"


def _closed_at(record: Record) -> str | None:
    stats = record.get("stats")
    closed = optional(stats, "closed_at") if isinstance(stats, dict) else None
    return closed or (optional(record, "updated_at") if record.get("status") == _CLOSED else None)


def _ids(record: Record, name: str) -> tuple[str, ...]:
    found = record.get(name) or []
    if not isinstance(found, list):
        raise DomainError(name, "expected a list of ids")
    return tuple(dict.fromkeys(str(one) for one in found))
