"""Facts as forms: their fields, what stands in them, and how a form's text becomes what `services.facts` takes."""

import json
from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Any, Final

from hivematrix_common.domain.money import decimal_text
from hivematrix_common.domain.vocabulary import ASSET_TYPES, COUNT_POLICIES, RATES, TERMS
from hivematrix_common.errors import Problem

from hivematrix_codex import store
from hivematrix_codex.services.company_page import RATE_WORDS
from hivematrix_codex.services.facts import STORED, TITLES
from hivematrix_codex.store import changes
from hivematrix_codex.store.changes import Document, Key


@dataclass(frozen=True, slots=True)
class Field:
    name: str
    label: str
    kind: str = "text"
    help: str = ""
    options: tuple[str, ...] = ()
    required: bool = False


_FROM_TO: Final = (
    Field("active_from", "Counts from", "date"),
    Field("active_to", "Counts to", "date", "The last day. Who or what is gone stays here."),
)
FIELDS: Final[dict[str, tuple[Field, ...]]] = {
    "companies": (
        Field("name", "Name", required=True),
        Field("billing_plan", "Plan"),
        Field("contract_term", "Term", options=TERMS),
        Field("contract_start", "Contract from", "date"),
        Field("contract_end", "Contract to", "date"),
        Field("currency", "Currency", help="Such as USD. Empty: the one that is configured."),
        Field("payment_terms_days", "Payment within days"),
        Field("email", "Mail", "email"),
        Field("status", "Status", help="active, or another word"),
        Field("phone_number", "Phone"),
        Field("address", "Address"),
        Field("domains", "Domains"),
        Field("compliance_level", "Compliance", options=("standard", "cjis", "hipaa")),
        Field("description", "Description"),
    ),
    "contacts": (
        Field("name", "Name", required=True),
        Field("email", "Mail", "email"),
        Field("title", "Title"),
        Field("active", "Active", options=("true", "false")),
        *_FROM_TO,
        Field("mobile_phone_number", "Mobile"),
        Field("work_phone_number", "Phone"),
        Field("person_uid", "Person", help="The same for one person in several companies."),
    ),
    "assets": (
        Field("hostname", "Host name", required=True),
        Field(
            "billing_type", "Type", help="What you choose is pinned: no sync changes it.", options=("", *ASSET_TYPES)
        ),
        Field("backup_bytes", "Backup, bytes"),
        Field("operating_system", "System"),
        *_FROM_TO,
        Field("description", "Description"),
    ),
    "tickets": (
        Field("number", "Number"),
        Field("subject", "Subject"),
        Field("status", "Status"),
        Field("priority", "Priority", options=("", "low", "medium", "high", "urgent")),
        Field("opened_at", "Opened", help="A day, or an instant such as 2025-11-01T02:00:00Z"),
        Field("closed_at", "Closed"),
    ),
    "plans": (
        Field("valid_from", "Valid from", "date", required=True),
        Field("support_level", "Support level"),
        Field("currency", "Currency", help="Such as USD. Empty: the one that is configured."),
        *(Field(rate, RATE_WORDS[rate]) for rate in RATES),
        Field("count_policy", "What counts", options=COUNT_POLICIES),
        Field("features", "Features", help='As JSON, such as {"antivirus": "SentinelOne"}'),
    ),
}
NEW: Final[dict[str, tuple[Field, ...]]] = {
    "companies": (Field("account_number", "Account number", required=True),),
    "contacts": (Field("uid", "Uid", help="Empty: one is made."),),
    "assets": (Field("uid", "Uid", help="Empty: one is made."),),
    "tickets": (Field("uid", "Uid", help="Empty: one is made."),),
    "plans": (
        Field("plan_name", "Plan", required=True),
        Field("term", "Term", options=TERMS),
    ),
}


def opened(kind: str, key: Key) -> tuple[Document, str, dict[str, str]]:
    """A fact with the state of it, and its fields' texts; Problem(not_found) when there is none."""
    found = changes.held(store.session(), STORED.get(kind, kind), key)
    if found is None:
        raise Problem("not_found", f"There is no {TITLES[kind]} {' / '.join(map(str, key))}.")
    row, digest = found
    return row, f'"{digest}"', {field.name: _text(row[field.name]) for field in FIELDS[kind]}


def changed(row: Document, said: dict[str, str]) -> dict[str, object]:
    """Of a form's texts those that were changed: what stays is not said again, so that it stays whatever it is."""
    return {name: text or None for name, text in said.items() if text != _text(row[name])}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return decimal_text(value.normalize())
    if isinstance(value, dict):
        return json.dumps(value, ensure_ascii=False) if value else ""
    return value.isoformat() if isinstance(value, date | datetime) else str(value)
