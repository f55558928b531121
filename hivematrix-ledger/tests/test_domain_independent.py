"""The engine against the calculation that was written from the rules alone (tests/independent)."""

import sys
from decimal import Decimal
from fractions import Fraction
from pathlib import Path
from zoneinfo import ZoneInfo

import orjson
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tests"))

from independent.calculate import calculate_months
from independent.facts import RATES, random_facts

PERIODS = ("2025-10", "2025-11", "2025-12", "2026-01")
KINDS = ("user", "asset", "backup", "hours", "item", "tax")
ZONE = "America/Halifax"


def normal(cell):
    return None if cell in (None, "") else format(Decimal(cell), "f")


def optional(row, *names):
    return {name: row.get(name) or None for name in names}


def load(case, facts, account):
    """The import rows as Codex would feed them and Ledger would keep them."""
    (company,) = facts.of("companies", account)
    case.zone = ZoneInfo(ZONE)
    case.facts |= optional(
        company, "name", "billing_plan", "contract_term", "contract_start", "contract_end", "currency"
    )
    terms = company["payment_terms_days"]
    case.facts |= {"account_number": account, "payment_terms_days": int(terms) if terms else None}
    case.plans = [
        optional(row, "plan_name", "term", "valid_from", "support_level", "currency", "count_policy")
        | {name: normal(row[name]) for name in RATES}
        | {"features": orjson.loads(row["features"] or "{}")}
        for row in facts.tables["plans"]
    ]
    for row in facts.of("contacts", account):
        case.contact(row["name"], **optional(row, "uid", "active_from", "active_to"), active=row["active"] != "false")
    for row in facts.of("assets", account):
        size = int(row["backup_bytes"] or 0)
        dates = optional(row, "uid", "active_from", "active_to")
        case.asset(row["hostname"], row["billing_type"] or None, backup_bytes=size, **dates)
    for row in facts.of("asset_overrides", account):
        case.asset_overrides[row["asset_uid"]] = row | {"custom_cost": normal(row["custom_cost"])}
    for row in facts.of("user_overrides", account):
        case.user_overrides[row["contact_uid"]] = row | {"custom_cost": normal(row["custom_cost"])}
    load_rows(case, facts, account)


def load_rows(case, facts, account):
    for row in facts.of("client_overrides", account):
        case.override(row["key"], row["value"], row["from_period"] or None, row["to_period"] or None)
    for n, row in enumerate(facts.of("manual_assets", account)):
        case.manual_asset(row["hostname"], row["billing_type"], normal(row["custom_cost"]), uid=f"m{n}")
    for n, row in enumerate(facts.of("manual_users", account)):
        case.manual_user(row["name"], row["billing_type"], normal(row["custom_cost"]), uid=f"m{n}")
    for row in facts.of("line_items", account):
        if row.get("kind"):
            more = optional(row, "period", "from_period", "to_period")
            month = int(row["month"]) if row["month"] else None
            case.line_item(row["name"], row["kind"], normal(row["fee"]), month=month, **more)
    for row in facts.of("prepaid_hours", account):
        if len(row) > 1:
            amounts = (normal(row["monthly"]), normal(row["yearly"]))
            case.prepaid(*amounts, row["pool_year"] or "calendar", int(row["rollover_months"] or 0))
    for row in facts.of("tax_rates", account):
        case.tax(row["category"], row["percent"])


def load_entries(case, facts, account):
    case.facts["entries"] = []
    for row in facts.of("time_entries", account):
        case.entry(row["hours"], row["worked_on"], row["uid"], billable=row["billable"] != "false")


def check(outcome, expected):
    if expected["status"] != "bill":
        assert outcome.status == expected["status"]
        assert any(word in outcome.reason for word in expected["words"]), outcome.reason
        return
    body = outcome.body
    assert body["totals"] == expected["totals"]
    counts = {kind: sum(line["kind"] == kind for line in body["lines"]) for kind in KINDS}
    assert counts == expected["counts"]
    assert sorted((line["kind"], line["amount"]) for line in body["lines"]) == sorted(
        (kind, amount) for kind, _, amount in expected["rows"]
    )
    rates = {rate["name"]: (Fraction(rate["value"]), rate["source"]) for rate in body["rates"]}
    assert rates == expected["rates"]
    stated = (body["support_level"], body["currency"], body["due_date"], body["contract"]["end"])
    assert stated == tuple(expected[name] for name in ("support_level", "currency", "due_date", "contract_end"))
    if body["prepaid"]:
        check_prepaid(body["prepaid"], expected["prepaid"])


def check_prepaid(stated, expected):
    monthly, pool = stated["monthly"], stated["pool"] or {"taken": "0", "left": "0"}
    assert sum((Fraction(taken["hours"]) for taken in monthly["taken"]), Fraction(0)) == expected["used_monthly"]
    assert Fraction(monthly["expired"]) + Fraction(monthly["left"]) == expected["left_monthly"]
    assert (Fraction(pool["taken"]), Fraction(pool["left"])) == (expected["used_pool"], expected["left_pool"])


@pytest.mark.parametrize(
    ("seed", "companies", "order"),
    [
        (1, 60, PERIODS),
        (2, 40, ("2025-11", "2025-10", "2026-01", "2025-12")),
        pytest.param(3, 300, PERIODS, marks=pytest.mark.slow),
        pytest.param(4, 300, ("2025-12", "2025-10", "2025-11", "2026-01"), marks=pytest.mark.slow),
    ],
)
def test_random_companies_are_billed_as_an_independent_calculation_says(new_case, seed, companies, order):
    facts = random_facts(seed, companies, ZONE)
    for account in facts.accounts:
        case, now = new_case(), facts
        load(case, now, account)
        expected = calculate_months(facts, account, order)
        for period in order:
            load_entries(case, now, account)
            outcome = case.outcome(period)
            check(outcome, expected[period])
            if expected[period]["status"] == "bill":
                case.accept(period)
            now = now.after(period)
