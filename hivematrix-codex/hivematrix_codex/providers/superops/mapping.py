"""What SuperOps' records say. Pure: a record in, facts out."""

from hivematrix_common.domain.errors import DomainError

from hivematrix_codex.domain.facts import (
    Fact,
    Record,
    Told,
    billing_type,
    hours_of_number,
    hours_of_seconds,
    optional,
    required,
)

_TEXT, _SUBJECT = 200, 1000
_IDS = {"companies": "accountId", "contacts": "userId", "assets": "assetId", "tickets": "ticketId"}
_GONE = {"DELETED", "ARCHIVED", "INACTIVE"}
# The clients' own fields, ours to theirs.
_FIELDS = {
    "account_number": "accountNumber",
    "billing_plan": "billingPlan",
    "contract_term": "contractTerm",
    "contract_start": "contractStart",
}


def told(kind: str, record: Record) -> Told:
    if kind == "companies":
        return Told((_client(record),))
    if kind == "contacts":
        return Told((_user(record),))
    if kind == "assets":
        return Told((_asset(record),))
    return _ticket(record)


def id_of(kind: str, record: Record) -> str:
    return str(record.get(_IDS[kind]) or "")


def _client(record: Record) -> Fact:
    own = record.get("customFields")
    own = own if isinstance(own, dict) else {}
    cells: dict[str, object] = {"name": required(record, "name"), "status": "active"}
    cells |= {ours: optional(own, theirs, _TEXT) for ours, theirs in _FIELDS.items() if theirs in own}
    return Fact("companies", required(record, "accountId"), cells)


def _user(record: Record) -> Fact:
    mail = optional(record, "email", _TEXT)
    first, last = optional(record, "firstName") or "", optional(record, "lastName") or ""
    name = optional(record, "name", _TEXT) or f"{first} {last}".strip()[:_TEXT] or mail
    cells: dict[str, object] = {"name": name, "email": mail, "active_to": None}
    return Fact("contacts", required(record, "userId"), cells, _client_of(record))


def _asset(record: Record) -> Fact:
    kind = record.get("assetClass")
    kind = kind if isinstance(kind, dict) else {}
    words = (optional(kind, "name"), optional(record, "platformFamily"), optional(record, "platform"))
    gone = str(record.get("status") or "").upper() in _GONE
    cells: dict[str, object] = {
        "hostname": (optional(record, "hostName") or required(record, "name"))[:_TEXT],
        "billing_type": billing_type(*words),
        "operating_system": optional(record, "platform", _TEXT),
        "active_to": _instant(required(record, "lastCommunicatedTime")) if gone else None,
    }
    return Fact("assets", required(record, "assetId"), cells, _client_of(record))


def _ticket(record: Record) -> Told:
    id_ = required(record, "ticketId")
    cells: dict[str, object] = {
        "number": optional(record, "displayId", _TEXT),
        "subject": optional(record, "subject", _SUBJECT),
        "status": (optional(record, "status", _TEXT) or "unknown").lower(),
        "opened_at": _instant(optional(record, "createdTime")),
        "closed_at": _instant(optional(record, "resolutionTime")),
    }
    entries = record.get("worklogEntries")
    if entries is None:
        total = record.get("worklogTimespent")
        more = {} if total in {None, ""} else {"total_hours": _minutes(total, "worklogTimespent")}
        return Told((Fact("tickets", id_, cells | more, _client_of(record)),))
    if not isinstance(entries, list):
        raise DomainError("worklogEntries", "expected a list")
    return Told((Fact("tickets", id_, cells, _client_of(record)), *(_entry(one, id_) for one in entries)), id_)


def _entry(record: Record, ticket: str) -> Fact:
    id_ = required(record, "itemId")
    cells: dict[str, object] = {
        "worked_on": _instant(optional(record, "billDateTime") or required(record, "createdTime")),
        "hours": hours_of_number(required(record, "qty"), f"worklog {id_}: qty"),
        "billable": "false" if record.get("billable") is False else "true",
    }
    return Fact("time_entries", id_, cells, parent=ticket)


def _minutes(value: object, field: str) -> str:
    """Hours out of a number of minutes."""
    text = str(value)
    if not text.isascii() or not text.isdigit():
        raise DomainError(field, f"expected whole minutes, got {text[:40]!r}")
    return hours_of_seconds(int(text) * 60)


def _client_of(record: Record) -> tuple[str, ...]:
    client = record.get("client")
    found = optional(client, "accountId") if isinstance(client, dict) else None
    return (found,) if found else ()


def _instant(text: str | None) -> str | None:
    """SuperOps' instants are UTC and do not say so."""
    if text is None or text.endswith("Z") or "+" in text:
        return text
    return f"{text}+00:00"
