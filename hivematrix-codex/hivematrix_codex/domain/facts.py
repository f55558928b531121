"""What a provider's record says, in the words of the import files, and what its words mean here."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal, InvalidOperation
from typing import Any

from hivematrix_common.domain.errors import DomainError

KINDS = ("companies", "contacts", "assets", "tickets", "time_entries")
SITES = "sites"
Record = Mapping[str, Any]
_PLACES = Decimal("0.0001")
_SECONDS_AN_HOUR = 3600
# The first that stands in a device's description decides.
_TYPES = (
    ("No Charge", ("printer", "phone", "mobile", "camera", "monitor")),
    ("Firewall", ("firewall",)),
    ("Switch", ("switch",)),
    ("VM", ("virtual machine", "virtual server", "vm guest")),
    ("Server", ("server", "esxi host")),
    ("Workstation", ("workstation", "desktop", "laptop", "notebook", "computer", "pc")),
)


@dataclass(frozen=True, slots=True)
class Fact:
    """One row as a provider tells it. `cells` are the cells of the import files; a cell that is not there is not said.

    `companies` are the provider's own ids of the companies it belongs to; `parent` is the ticket's of an entry. `uid`
    stands only where the provider has our uid already.
    """

    kind: str
    id: str
    cells: dict[str, object]
    companies: tuple[str, ...] = ()
    parent: str = ""
    uid: str = ""


@dataclass(frozen=True, slots=True)
class Told:
    """What one record says. `unsettled` is why a ticket has to be looked at again whether it changes or not.

    `entries_of` is the ticket whose time entries stand here whole: one that is missing is gone.
    """

    facts: tuple[Fact, ...]
    entries_of: str = ""
    unsettled: str = ""


def required(record: Record, name: str) -> str:
    """A member's text; DomainError names it when it is missing or empty."""
    value = record.get(name)
    if value is None or isinstance(value, dict | list) or not str(value).strip():
        raise DomainError(name, "a value is required")
    return str(value).strip()


def optional(record: Record, name: str, limit: int = 0) -> str | None:
    """A member's text, cut to `limit`; None when it is missing or empty."""
    value = record.get(name)
    if value is None or isinstance(value, dict | list) or not str(value).strip():
        return None
    text = str(value).strip().replace("\0", "")
    return text[:limit] if limit else text


def instant_of_milliseconds(value: object, field: str) -> str | None:
    """An instant from milliseconds since 1970, as ISO 8601."""
    if value in (None, "", 0, "0"):
        return None
    try:
        return datetime.fromtimestamp(int(str(value)) / 1000, UTC).isoformat()
    except (ValueError, OverflowError, OSError):
        raise DomainError(field, f"expected milliseconds since 1970, got {str(value)[:40]!r}") from None


def hours_of_clock(text: str, field: str) -> str:
    """Hours from `HH:MM` or `HH:MM:SS`, to four decimals."""
    parts = text.split(":")
    if not 2 <= len(parts) <= 3 or not all(part.isascii() and part.isdigit() for part in parts):  # noqa: PLR2004
        raise DomainError(field, f"expected HH:MM, got {text[:40]!r}")
    hours, minutes, seconds = (int(part) for part in [*parts, "0"][:3])
    return hours_of_seconds(hours * _SECONDS_AN_HOUR + minutes * 60 + seconds)


def hours_of_seconds(seconds: int) -> str:
    return format((Decimal(seconds) / _SECONDS_AN_HOUR).quantize(_PLACES, ROUND_HALF_UP), "f")


def hours_of_number(value: object, field: str) -> str:
    """Hours to four decimals from a number of hours."""
    try:
        return format(Decimal(str(value)).quantize(_PLACES, ROUND_HALF_UP), "f")
    except InvalidOperation:
        raise DomainError(field, f"expected hours such as 1.5, got {str(value)[:40]!r}") from None


def billing_type(*words: str | None) -> str | None:
    """The billing type that a device's description names; None when it names none."""
    said = " ".join(word for word in words if word).lower()
    for kind, names in _TYPES:
        if any(name in said for name in names):
            return kind
    return None
