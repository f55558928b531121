"""Who changed which override or item, when, from what to what."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final
from zoneinfo import ZoneInfo

from hivematrix_common import clock
from hivematrix_common.domain.period import Period
from hivematrix_common.shown import NOTHING
from hivematrix_common.tables import Choice, Column, Listing, Table

from hivematrix_ledger import store
from hivematrix_ledger.clients import Codex
from hivematrix_ledger.store import rules

KINDS: Final = {
    "client_overrides": "Overrides",
    "asset_overrides": "Assets of Codex",
    "user_overrides": "Users of Codex",
    "manual_assets": "Manual assets",
    "manual_users": "Manual users",
    "line_items": "Line items",
    "prepaid_hours": "Prepaid hours",
    "tax_rates": "Taxes",
}
# What names a row to a reader; the rest is what it says.
_NAMES: Final = ("key", "asset_uid", "contact_uid", "hostname", "name", "category")
LISTED: Final = 200
FACTS_READ: Final = 1000
# What of a fact a bill is made of.
_BILLED_BY: Final = {
    "companies": {"billing_plan", "contract_term", "contract_start", "contract_end", "currency", "payment_terms_days"},
    "contacts": {"account_number", "active", "active_from", "active_to"},
    "assets": {"account_number", "billing_type", "backup_bytes", "active_from", "active_to"},
    "time_entries": {"account_number", "hours", "worked_on", "billable"},
}
_NONE: Final[set[str]] = set()
_HIDDEN: Final = {"account_number", "uid"}
TABLE = Table(
    name="history",
    caption="What changed, newest first",
    nouns=("change", "changes"),
    key="id",
    sort="-at",
    search=("actor", "before", "after"),
    choices=(Choice("rule", "Kind", tuple(KINDS.items())),),
    columns=(
        Column("at", "When", kind="instant"),
        Column("actor", "Who"),
        Column("rule", "Kind"),
        Column("what", "From what to what", sortable=False),
        Column("action", "Route or command", priority=2),
    ),
)


def page(account: str, rule: str | None, before: int | None, limit: int, *, internal: bool) -> dict[str, Any]:
    """A keyset page of an account's changes, newest first; without `internal` nobody is named."""
    session = store.session()
    found = rules.history(session, account, rule, before=before, limit=limit + 1, internal=internal)
    total = rules.count_history(session, account, rule)
    changes = [change | {"at": clock.instant_text(change["at"])} for change in found[:limit]]
    return {
        "changes": changes,
        "next": str(changes[-1]["id"]) if len(found) > limit else None,
        "total": min(total, rules.COUNTED),
        "total_exact": total <= rules.COUNTED,
    }


def newest(account: str, limit: int) -> list[dict[str, Any]]:
    """The last changes, each with `what` in words."""
    found = rules.history(store.session(), account, None, before=None, limit=limit, internal=True)
    return [change | {"what": told(change["before"], change["after"])} for change in found]


def changed_after(account: str, period: Period, zone: ZoneInfo) -> list[dict[str, Any]]:
    """What was changed after a month had ended and yet tells on its bill, newest first, each with `what` in words.

    A row says nothing of when it began to hold unless it names its months: an open month is billed as it stands today.
    """
    found = rules.changed_since(store.session(), account, period.bounds(zone)[1], LISTED)
    return [
        {name: change[name] for name in ("at", "actor", "rule")} | {"what": told(change["before"], change["after"])}
        for change in found
        if any(side and _holds_in(side, str(period)) for side in (change["before"], change["after"]))
    ]


def facts_changed_after(codex: Codex, account: str, period: Period, zone: ZoneInfo) -> list[dict[str, Any]]:
    """Codex's facts that were changed after a month had ended and may tell on its bill, newest first.

    Of a company that Codex met only since then nothing is said: all of it would be new.
    """
    found = codex.changed_since(account, period.bounds(zone)[1], FACTS_READ)
    is_new = any(change["kind"] == "companies" and change["before"] is None for change in found)
    return [
        {"at": clock.parse_instant(change["at"]), "actor": change["actor"], "rule": change["kind"]}
        | {"what": f"{change['key']} {told(change['before'], change['after'])}"}
        for change in found
        if not (is_new and change["before"] is None) and _BILLED_BY.get(change["kind"], _NONE) & change["after"].keys()
    ][:LISTED]


def listing(account: str) -> Listing:
    """All changes as a page's table."""
    found = TABLE.of_query(store.session(), rules.history_query(account))
    return replace(found, rows=[dict(row) | {"what": _what(row)} for row in found.rows])


def told(before: Mapping[str, Any] | None, after: Mapping[str, Any] | None) -> str:
    """A change in words: per_user: value 95 → 90; added and removed rows with all they say."""
    some = after or before or {}
    name = next((str(some[part]) for part in _NAMES if some.get(part)), "")
    if before and after:
        parts = [
            f"{part} {_word(before.get(part))} → {_word(after[part])}"
            for part in after
            if _differs(part, before, after)
        ]
        return f"{name}: {', '.join(parts)}".removeprefix(": ")
    said = ", ".join(
        f"{part} {value}" for part, value in some.items() if value is not None and value != name and part not in _HIDDEN
    )
    return f"{name} {'added' if after else 'removed'}: {said}".strip()


def _holds_in(row: Mapping[str, Any], period: str) -> bool:
    """Whether a row tells on a month's bill, as far as it names months."""
    if row.get("period") or row.get("month"):
        return row.get("period") == period or row.get("month") == int(period[5:])
    return (row.get("from_period") or period) <= period <= (row.get("to_period") or period)


def _differs(part: str, before: Mapping[str, Any], after: Mapping[str, Any]) -> bool:
    return bool(before.get(part) != after[part])


def _word(value: object) -> str:
    return NOTHING if value is None else str(value)


def _what(row: Mapping[str, Any]) -> str:
    sides = (rules.document_of(row[side], row[f"notes_{side}"]) for side in ("before", "after"))
    return told(*sides)
