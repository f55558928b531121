"""The plan editor: versions with the day from which each holds, export and import, and what features may say."""

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from io import BytesIO
from itertools import groupby
from typing import Any, Final
from zoneinfo import ZoneInfo

import orjson
from hivematrix_common.domain.vocabulary import normalise_term
from hivematrix_common.errors import Problem
from hivematrix_common.importing import Source
from hivematrix_common.imports import Imported

from hivematrix_codex import services, store
from hivematrix_codex.services import facts, history
from hivematrix_codex.services.company_page import RATE_WORDS, prices
from hivematrix_codex.store import changes, plans
from hivematrix_codex.store.changes import Document, Key

# How the first HiveMatrix's exports call them.
_OLDER: Final = {
    "term_length": "term",
    "per_user_cost": "per_user",
    "per_workstation_cost": "per_workstation",
    "per_server_cost": "per_server",
    "per_vm_cost": "per_vm",
    "per_switch_cost": "per_switch",
    "per_firewall_cost": "per_firewall",
    "per_hour_ticket_cost": "per_hour",
    "backup_base_fee_workstation": "backup_base_workstation",
    "backup_base_fee_server": "backup_base_server",
    "backup_per_tb_fee": "backup_per_tb",
}
_NO_COLUMNS: Final = ("id", "feature_display_names", "valid_to")


def key_of(name: str, term: str, valid_from: date) -> Key:
    return name.strip(), normalise_term(term), valid_from


def version(key: Key) -> tuple[Document, str]:
    """One version, and the state of it that a change names."""
    found = changes.held(store.session(), "plan_versions", key)
    listed = store.list_plans(store.session(), *key[:2])
    told = next((one for one in listed if one["valid_from"] == key[2]), None)
    if found is None or told is None:
        raise Problem("not_found", f"There is no version of {key[0]} / {key[1]} from {key[2]}.")
    return told, found[1]


def add(record: Mapping[str, object], zone: ZoneInfo) -> Key:
    return facts.add("plans", record, zone)


def of_page(name: str, term: str, today: date) -> dict[str, Any]:
    """A plan as its page shows it: its versions with their last day, the prices they had, what was changed."""
    versions = store.list_plans(store.session(), name, term)
    if not versions:
        raise Problem("not_found", f"There is no plan {name} / {term}.")
    in_force = next((one for one in versions if one["valid_from"] <= today), None)
    lately = plans.history(store.session(), name, term)
    return {
        "versions": with_last_days(versions),
        "in_force": in_force,
        "prices": prices(versions),
        "rate_words": RATE_WORDS,
        "lately": [one | {"what": history.told(one["before"], one["after"])} for one in lately],
        "bearers": plans.bearers(store.session(), name, term),
    }


def with_last_days(versions: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Versions, the newest first, each with the day before the next one begins."""
    lasts = [None, *(one["valid_from"] - timedelta(days=1) for one in versions)]
    return [{**one, "valid_to": last} for one, last in zip(versions, lasts, strict=False)]


def exported() -> dict[str, Any]:
    """Every version of every plan and all feature options, as `imported` takes them."""
    session = store.session()
    options = [{name: one[name] for name in plans.OPTION} for one in plans.options(session)]
    return {"plans": store.list_plans(session), "feature_options": options}


def imported(document: Mapping[str, Any], zone: ZoneInfo, valid_from: date | None, *, skip_existing: bool) -> Imported:
    """Take a document of `exported`, of the first HiveMatrix too, in one transaction and by the import files' rules.

    Versions that are there already are set to what is said, or passed over. A fault's line is the plan's place in it.
    """
    rows = [_row(plan, valid_from) for plan in document.get("plans", ())]
    if skip_existing:
        there = {(one["plan_name"], one["term"], one["valid_from"].isoformat()) for one in exported()["plans"]}
        rows = [row for row in rows if _named(row) not in there]
    session = store.session()
    facts.begin(session, "codex plans")
    for option in document.get("feature_options", ()):
        plans.keep_option(session, option)
    lines = b"\n".join(orjson.dumps(row) for row in rows)
    return services.import_files([Source("plans.jsonl", lambda: BytesIO(lines))], zone)


def grouped_options() -> dict[str, list[Document]]:
    """What each feature may say, by category."""
    found = plans.options(store.session())
    return {category: list(some) for category, some in groupby(found, key=lambda one: str(one["feature_category"]))}


def keep_option(record: Mapping[str, Any]) -> None:
    session = store.session()
    facts.begin(session, "codex plans")
    plans.keep_option(session, record)
    session.commit()


def _row(plan: Mapping[str, Any], valid_from: date | None) -> dict[str, Any]:
    row = {_OLDER.get(name, name): _text(value) for name, value in plan.items() if name not in _NO_COLUMNS}
    return row if row.get("valid_from") or valid_from is None else row | {"valid_from": valid_from.isoformat()}


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, int | float) and not isinstance(value, bool) else value


def _named(row: Mapping[str, Any]) -> tuple[str, str, str]:
    return str(row.get("plan_name")), normalise_term(str(row.get("term") or "")), str(row.get("valid_from"))
