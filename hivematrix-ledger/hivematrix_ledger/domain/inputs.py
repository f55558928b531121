"""What the engine is given: Codex's facts and Ledger's own rows as one plain document, reduced to what can matter.

The document is described in engines/v1/README.md. It is sealed with the bill, so nothing gets in that the month's bill
could not depend on.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final
from zoneinfo import ZoneInfo

from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.period import Period
from hivematrix_common.domain.vocabulary import normalise_term

from hivematrix_ledger.domain.engines.v1.line_items import is_due
from hivematrix_ledger.domain.engines.v1.months import Month, index_of, month_named, month_of
from hivematrix_ledger.domain.engines.v1.plan import RATES, in_force
from hivematrix_ledger.domain.engines.v1.prepaid import WINDOW, pool_first

Document = dict[str, Any]

FORMAT: Final = "hivematrix.inputs/1"
_COMPANY: Final = (
    *("account_number", "name", "billing_plan", "contract_start", "contract_end", "currency", "payment_terms_days"),
)
_ENTRY: Final = ("uid", "ticket", "worked_on", "hours", "billable")
_PLAN: Final = ("valid_from", "support_level", "currency", "count_policy")
_DATE_LENGTH: Final = len("2025-10-31")


@dataclass(frozen=True, slots=True)
class Defaults:
    """What the configuration says for companies that say nothing."""

    zone: ZoneInfo
    currency: str = "USD"
    payment_terms_days: int = 30


class PlanBook:
    """Every plan version of a feed page, by trimmed name and term."""

    def __init__(self, plans: list[Document]) -> None:
        self._versions: dict[tuple[str, str], list[Document]] = {}
        for plan in sorted(plans, key=lambda plan: plan["valid_from"]):
            version = _version(plan)
            self._versions.setdefault((version["plan_name"], version["term"]), []).append(version)

    def in_force(self, name: str, term: str, day: str) -> Document | None:
        """The newest version that bills on `day`."""
        valid = [version for version in self._versions.get((name, term), ()) if version["valid_from"] <= day]
        return valid[-1] if valid else None


@dataclass(frozen=True, slots=True)
class Page:
    """What the companies of one feed page share."""

    plans: PlanBook
    defaults: Defaults
    asset_overrides: Mapping[str, Document]
    """By asset uid; `user_overrides` by contact uid."""
    user_overrides: Mapping[str, Document]
    billed: Collection[str]
    """Uids of entries that an accepted bill holds."""


@dataclass(slots=True)
class Rows:
    """One account's rows in Ledger, each a document as the engine takes it; `accepted` by period."""

    overrides: list[Document] = field(default_factory=list)
    manual_assets: list[Document] = field(default_factory=list)
    manual_users: list[Document] = field(default_factory=list)
    line_items: list[Document] = field(default_factory=list)
    tax_rates: list[Document] = field(default_factory=list)
    prepaid: Document | None = None
    accepted: dict[str, Document] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Candidates:
    """A company's entries that a month's bill might see, before those billed already are dropped."""

    replay_from: str | None
    """The first month whose use of prepaid hours matters."""
    entries: list[Document]


def candidates(period: Period, facts: Document, rows: Rows, zone: ZoneInfo) -> Candidates:
    """The period's own entries, those of accepted months (late ones), and those of open months the bank replays."""
    month, start = str(period), _replay_from(period, facts, rows.prepaid)
    entries = []
    for row in facts["entries"]:
        day = local_day(row["worked_on"], zone) or ""
        worked = day[:7]
        if worked == month or (worked < month and (worked in rows.accepted or (start and start <= worked))):
            entries.append({name: row[name] for name in _ENTRY} | {"worked_on": day})
    return Candidates(start, entries)


def build_inputs(period: Period, facts: Document, rows: Rows, found: Candidates, page: Page) -> Document:
    month = month_named(str(period))
    entries = [entry for entry in found.entries if entry["uid"] not in page.billed]
    months = _months(month, found.replay_from, entries, rows.accepted)
    needed = [*(row["period"] for row in months if row["state"] == "open"), month.text]
    company = {name: facts[name] for name in _COMPANY} | {"contract_term": _term(facts["contract_term"])}
    overrides = [row for row in rows.overrides if _is_needed(row, needed)]
    first, last = f"{min(needed)}-01", month.last
    zone = page.defaults.zone
    contacts = (_user(row, zone) for row in facts["contacts"] if row["active"])
    users = [row for row in contacts if _is_around(row, first, last)]
    assets = [row for row in (_asset(row, zone) for row in facts["assets"]) if _is_around(row, first, last)]
    return {
        "format": FORMAT,
        "period": month.text,
        "zone": str(zone),
        "defaults": {
            "currency": page.defaults.currency,
            "payment_terms_days": page.defaults.payment_terms_days,
        },
        "company": company,
        "plans": _plans(company, overrides, needed, page.plans),
        "overrides": overrides,
        "users": users + rows.manual_users,
        "user_overrides": _of(page.user_overrides, users),
        "assets": assets + rows.manual_assets,
        "asset_overrides": _of(page.asset_overrides, assets),
        "line_items": [row for row in rows.line_items if is_due(row, month)],
        "prepaid": rows.prepaid,
        "tax_rates": rows.tax_rates,
        "entries": entries,
        "months": months,
    }


def local_day(text: str | None, zone: ZoneInfo) -> str | None:
    """A date as it stands; an instant with an offset is the date it falls on in the billing zone."""
    if text is None or len(text) == _DATE_LENGTH:
        return text
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise DomainError("date", f"expected a date or an instant, got {text!r}") from None
    if moment.tzinfo is None:
        raise DomainError("date", f"expected a date, or an instant with its offset, got {text!r}")
    return moment.astimezone(zone).date().isoformat()


def _replay_from(period: Period, facts: Document, prepaid: Document | None) -> str | None:
    if prepaid is None:
        return None
    month = index_of(str(period))
    starts = []
    if prepaid["rollover_months"]:
        starts.append(month - WINDOW + 1)
    if prepaid["yearly"]:
        starts.append(pool_first(prepaid["pool_year"], facts["contract_start"], month) or month)
    return month_of(min(starts)) if starts else None


def _months(
    month: Month, replay_from: str | None, entries: list[Document], accepted: Mapping[str, Document]
) -> list[Document]:
    """The months whose state this bill depends on: those replayed, those a late entry passes, later accepted ones."""
    worked = [entry["worked_on"][:7] for entry in entries]
    first = min([month.text, *([replay_from] if replay_from else []), *(of for of in worked if of in accepted)])
    earlier = map(month_of, range(index_of(first), month.ordinal))
    rows = [accepted.get(of) or {"period": of, "state": "open"} for of in earlier]
    if replay_from:
        # Rolled-over hours of months before the first replayed one may have been taken by accepted bills.
        oldest, newest = month_of(month.ordinal - 2 * WINDOW), month_of(month.ordinal + WINDOW)
        rows += [accepted[of] for of in sorted(accepted) if oldest < of < first or month.text < of < newest]
    return rows


def _is_needed(override: Document, months: list[str]) -> bool:
    """A past month's replay asks for its plan's name only."""
    if override["key"] == "billing_plan":
        return any(in_force(override, month) for month in months)
    return in_force(override, months[-1])


def _user(row: Document, zone: ZoneInfo) -> Document:
    return {
        "uid": row["uid"],
        "source": "codex",
        "name": row["name"],
        "active": row["active"],
        "active_from": local_day(row["active_from"], zone),
        "active_to": local_day(row["active_to"], zone),
    }


def _asset(row: Document, zone: ZoneInfo) -> Document:
    return {
        "uid": row["uid"],
        "source": "codex",
        "hostname": row["hostname"],
        "billing_type": row["billing_type"],
        "backup_bytes": row["backup_bytes"],
        "active_from": local_day(row["active_from"], zone),
        "active_to": local_day(row["active_to"], zone),
    }


def _is_around(item: Document, first: str, last: str) -> bool:
    """Active on some day of [first, last]."""
    begin, end = item["active_from"], item["active_to"]
    return (not begin or begin <= last) and (not end or end >= first)


def _of(overrides: Mapping[str, Document], items: list[Document]) -> list[Document]:
    return [overrides[item["uid"]] for item in items if item["uid"] in overrides] if overrides else []


def _term(text: str | None) -> str | None:
    """An unknown term stays as it is, for the engine to name."""
    try:
        return normalise_term(text)
    except DomainError:
        return text


def _plans(company: Document, overrides: list[Document], months: list[str], plans: PlanBook) -> list[Document]:
    """The versions that the months ask for, each once."""
    found: dict[tuple[str, str], Document] = {}
    for month in months:
        names = [row["value"] for row in overrides if row["key"] == "billing_plan" and in_force(row, month)]
        name = ((names[0] if names else company["billing_plan"]) or "").strip()
        version = plans.in_force(name, company["contract_term"], month_named(month).last)
        if version:
            found[name, version["valid_from"]] = version
    return list(found.values())


def _version(plan: Document) -> Document:
    """A feed's plan with its features as an array: their names may be any text, keys of sealed documents are ASCII."""
    features = plan["features"] or {}
    return {name: plan[name] for name in _PLAN} | {
        "plan_name": plan["plan_name"].strip(),
        "term": _term(plan["term"]),
        "rates": {name: plan[name] for name in RATES},
        "features": [{"name": name, "value": features[name]} for name in sorted(features)],
    }
