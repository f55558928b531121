"""Who changed which fact, when, from what to what."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any, Final

import orjson
from hivematrix_common import clock
from hivematrix_common.shown import NOTHING
from hivematrix_common.tables import Choice, Column, Listing, Table

from hivematrix_codex import store
from hivematrix_codex.store import changes

KINDS: Final = {
    "companies": "Company",
    "contacts": "Contact",
    "assets": "Asset",
    "asset_contacts": "Whose asset",
    "locations": "Location",
    "tickets": "Ticket",
    "time_entries": "Time entry",
    "rmm_site_links": "RMM site",
}
_HIDDEN: Final = {"uid", "source"}
TABLE = Table(
    name="history",
    caption="What changed, newest first",
    nouns=("change", "changes"),
    key="id",
    sort="-at",
    search=("actor", "what"),
    choices=(Choice("kind", "Kind", tuple(KINDS.items())),),
    columns=(
        Column("at", "When", kind="instant"),
        Column("actor", "Who"),
        Column("kind", "Kind"),
        Column("key", "Which", priority=2),
        Column("what", "From what to what", sortable=False),
        Column("action", "Route or command", priority=3),
    ),
)


def page(having: Mapping[str, Any], before: int | None, since: datetime | None, limit: int) -> dict[str, Any]:
    """A keyset page of changes, newest first; those since a moment alone, where it is named."""
    session = store.session()
    found = changes.history(session, having, before=before, since=since, limit=limit + 1)
    total = changes.count_history(session, having, since)
    told = [change | {"at": clock.instant_text(change["at"])} for change in found[:limit]]
    return {
        "changes": told,
        "next": str(told[-1]["id"]) if len(found) > limit else None,
        "total": min(total, changes.COUNTED),
        "total_exact": total <= changes.COUNTED,
    }


def newest(having: Mapping[str, Any], limit: int) -> list[dict[str, Any]]:
    """The last changes, each with `what` in words."""
    found = changes.history(store.session(), having, limit=limit)
    return [change | {"what": told(change["before"], change["after"])} for change in found]


def listing(account: str) -> Listing:
    """All changes of an account's facts as a page's table."""
    found = TABLE.of_query(store.session(), changes.history_query(account))
    return replace(found, rows=[dict(row) | {"what": _sides(row)} for row in found.rows])


def _sides(row: Mapping[str, Any]) -> str:
    return told(orjson.loads(row["was"] or "null"), orjson.loads(row["is_now"]))


def told(before: Mapping[str, Any] | None, after: Mapping[str, Any]) -> str:
    """A change in words: hostname WS1 → WS2; a fact that was added with all it says."""
    if before:
        return ", ".join(f"{name} {_word(before[name])} → {_word(value)}" for name, value in after.items())
    said = ", ".join(f"{name} {_word(value)}" for name, value in after.items() if name not in _HIDDEN)
    return f"added: {said}"


def _word(value: object) -> str:
    return NOTHING if value is None else {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)
