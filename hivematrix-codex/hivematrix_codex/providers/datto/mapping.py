"""What Datto's records say. Pure: a record in, facts out."""

import re
from dataclasses import dataclass

from hivematrix_common.domain.errors import DomainError

from hivematrix_codex.domain.facts import (
    SITES,
    Fact,
    Record,
    Told,
    billing_type,
    instant_of_milliseconds,
    optional,
    required,
)

_TEXT = 200
_WHOLE = re.compile(r"[0-9]{1,16}")


@dataclass(frozen=True, slots=True)
class Fields:
    """Which user-defined fields hold the backed-up bytes and, where the category does not say it, the billing type."""

    backup: str
    billing_type: str


def told(kind: str, record: Record, fields: Fields) -> Told:
    return Told((_site(record) if kind == SITES else _device(record, fields),))


def id_of(kind: str, record: Record) -> str:
    del kind
    return str(record.get("uid") or "")


def _site(record: Record) -> Fact:
    cells: dict[str, object] = {
        "name": required(record, "name"),
        "account_number": optional(record, "account_number", _TEXT),
    }
    return Fact(SITES, required(record, "uid"), cells)


def _device(record: Record, fields: Fields) -> Fact:
    own = record.get("udf")
    own = own if isinstance(own, dict) else {}
    gone = bool(record.get("deleted"))
    last = instant_of_milliseconds(record.get("lastSeen"), "lastSeen")
    cells: dict[str, object] = {
        "hostname": required(record, "hostname")[:_TEXT],
        "billing_type": _type(record, own, fields),
        "backup_bytes": _bytes(optional(own, fields.backup), fields.backup),
        "operating_system": optional(record, "operatingSystem", _TEXT),
        "active_from": instant_of_milliseconds(record.get("creationDate"), "creationDate"),
        "active_to": last if gone else None,
    }
    return Fact("assets", required(record, "uid"), cells, (required(record, "siteUid"),))


def _type(record: Record, own: Record, fields: Fields) -> str | None:
    kind = record.get("deviceType")
    kind = kind if isinstance(kind, dict) else {}
    words = (optional(kind, "category"), optional(kind, "type"), optional(record, "deviceClass"))
    return billing_type(optional(own, fields.billing_type)) or billing_type(*words)


def _bytes(text: str | None, field: str) -> str:
    """Whole bytes, as they are; nothing there means nothing is backed up."""
    if text is None:
        return "0"
    if not _WHOLE.fullmatch(text):
        raise DomainError(f"udf {field}", f"expected whole bytes, got {text[:40]!r}")
    return text
