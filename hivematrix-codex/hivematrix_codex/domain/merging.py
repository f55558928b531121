"""What a sync does to one row: three versions of it, and which of them holds.

`row` is what Codex has, `said` what the provider said last, `new` what it says now, all in plain form (`plain`). What
differs between `row` and `said` was set by a person, and stays.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

from hivematrix_common.domain.money import decimal_text

Plain = dict[str, Any]
# What a record that is gone says of itself from then on; the row stays.
GONE = {"companies": "status", "contacts": "active_to", "assets": "active_to", "tickets": "status"}


@dataclass(frozen=True, slots=True)
class Kept:
    """A value that a person set, and what the provider would have it be."""

    column: str
    here: Any
    there: Any


@dataclass(frozen=True, slots=True)
class Merged:
    """`changes` are the columns to write, each with what stands there now."""

    values: Plain
    changes: dict[str, tuple[Any, Any]]
    kept: tuple[Kept, ...]


def plain(value: Any) -> Any:
    """A cell as JSON keeps it: the same value has one form."""
    if isinstance(value, Decimal):
        return decimal_text(value.normalize() + 0)
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    if isinstance(value, date):
        return value.isoformat()
    return value


def merge(row: Mapping[str, Any], said: Mapping[str, Any] | None, new: Mapping[str, Any]) -> Merged:
    """Take what the provider changed, leave what a person changed, name what both did.

    Without `said` the row is older than the provider: what it has stays, what it lacks is taken.
    """
    changes: dict[str, tuple[Any, Any]] = {}
    kept = []
    for column, value in new.items():
        here = row.get(column)
        if here == value:
            continue
        if row.get(f"{column}_pinned") or _is_ours(here, column, said):
            kept.append(Kept(column, here, value))
        else:
            changes[column] = (here, value)
    return Merged({**row, **{column: value for column, (_, value) in changes.items()}}, changes, tuple(kept))


def _is_ours(here: Any, column: str, said: Mapping[str, Any] | None) -> bool:
    """Whether a person, and not the provider, put this value there."""
    if said is None or column not in said:
        return here is not None
    return bool(here != said[column])


def left_since(said: Mapping[str, Any] | None, new: Plain) -> Plain:
    """Who left is gone since the day on which that was first said, however often the record changes afterwards."""
    if said and said.get("active_to") and new.get("active_to"):
        return {**new, "active_to": said["active_to"]}
    return new


def gone(kind: str, row: Mapping[str, Any], today: date) -> Plain:
    """What the provider says by no longer telling of a row: it ended today. Hours of an entry that is gone are none."""
    if kind == "time_entries":
        return {"hours": "0"}
    if kind in {"companies", "tickets"}:
        return {"status": "retired" if kind == "companies" else "deleted"}
    return {"active_to": max(today.isoformat(), row.get("active_from") or "")}


def too_many(gone_now: int, known: int, percent: int, free: int) -> bool:
    """Whether so many vanish at once that a person has to say that it is true. `free` ones are never too many."""
    return gone_now > free and gone_now * 100 > known * percent
