"""The worked vectors of the billing rules, §10."""

from decimal import Decimal

import pytest
from hivematrix_common.domain.canonical import canonical, digest
from hivematrix_ledger.domain.engines import NoBill
from hivematrix_ledger.domain.engines.v1.months import month_named
from hivematrix_ledger.domain.engines.v1.tax import charge_tax
from hivematrix_ledger.domain.engines.v1.values import Money


def amounts(body, kind):
    return [line["amount"] for line in body["lines"] if line["kind"] == kind]


def test_v1_bills_users_assets_backup_and_hours(case):
    assert case.totals() == {
        "user": "200.00",
        "asset": "140.00",
        "backup": "72.50",
        "hours": "500.00",
        "item": "0.00",
        "tax": "0.00",
        "total": "912.50",
    }
    assert amounts(case.body(), "backup") == ["50.00", "22.50"]
    assert case.body()["lines"][-1]["why"]["exact"] == "499.995"


def test_v2_an_asset_overridden_to_no_charge_costs_nothing_and_has_no_backup(case):
    case.asset_override("SRV1", "No Charge")
    assert (case.totals()["asset"], case.totals()["backup"], case.totals()["total"]) == ("15.00", "0.00", "715.00")


def test_v3_an_earlier_years_hours_leave_this_years_pool_alone(case):
    case.prepaid(yearly="40")
    case.entry("40", worked_on="2023-05-05")
    body = case.body()
    assert body["totals"]["hours"] == "0.00"
    assert body["prepaid"]["pool"]["left"] == "36.6667"


def test_v4_an_included_tb_of_zero_is_a_value(case):
    case.override("backup_included_tb", "0")
    assert amounts(case.body(), "backup") == ["50.00", "37.50"]


def test_v5_three_tenths_of_an_hour_are_three_tenths(new_case):
    case = new_case()
    for _ in range(3):
        case.entry("0.1")
    (line,) = case.body()["lines"]
    assert (line["quantity"], line["amount"]) == ("0.3", "45.00")


def test_v6_the_last_half_second_of_october_is_in_october(new_case):
    case = new_case()
    case.entry("1", worked_on="2025-10-31T23:59:59.5Z")
    assert case.totals("2025-10")["hours"] == "150.00"
    assert case.totals("2025-11")["hours"] == "0.00"


def test_v7_an_unknown_type_makes_the_company_unbillable_and_is_named(case):
    case.asset("LT1", "Laptop")
    outcome = case.outcome()
    assert isinstance(outcome, NoBill)
    assert outcome.status == "unbillable"
    assert "LT1" in outcome.reason
    assert "Laptop" in outcome.reason


def test_v8_line_items_of_each_kind_are_added(case):
    case.line_item("Monitoring", "recurring", "10.00")
    case.line_item("Goodwill", "one_off", "-5.00", period="2025-10")
    case.line_item("Licence", "yearly", "120.00", month=10)
    assert case.totals()["item"] == "125.00"
    assert case.totals()["total"] == "1037.50"


@pytest.mark.parametrize(
    ("policy", "total"), [("end_of_period", "0.00"), ("any_day", "100.00"), ("prorate_actual", "48.39")]
)
def test_v9_a_leaver_counts_by_the_plans_policy(new_case, policy, total):
    case = new_case()
    case.plans = [case.plan(count_policy=policy)]
    case.contact("Leaver", active_to="2025-10-15")
    case.contact("Inactive", active=False)
    assert case.totals()["user"] == total


@pytest.mark.parametrize(
    ("base", "percent", "tax"),
    [
        ("8180.00", "9.975", "815.96"),
        ("1091.50", "15", "163.73"),
        ("696.22", "25", "174.06"),
        ("-2.50", "7", "-0.18"),
    ],
)
def test_v10_tax_is_rounded_once_on_its_category(base, percent, tax):
    totals = dict.fromkeys(("user", "asset", "backup", "hours", "item"), Decimal(0)) | {"item": Decimal(base)}
    taxes = charge_tax(
        {"tax_rates": [{"category": "item", "percent": percent}]},
        totals,
        month_named("2025-10"),
        Money.of("USD"),
    )
    assert taxes.lines[0]["amount"] == tax


def test_v10_two_lines_are_taxed_as_one_sum(new_case):
    case = new_case()
    case.line_item("One", "recurring", "348.11")
    case.line_item("Two", "recurring", "348.11")
    case.tax("item", "25")
    assert case.totals()["tax"] == "174.06"


def test_v11_yen_have_no_decimals_and_dinars_three(new_case):
    yen = new_case()
    yen.facts["currency"] = "JPY"
    yen.plans = [yen.plan(currency="JPY")]
    yen.line_item("Fee", "recurring", "400")
    yen.tax("*", "7.125")
    assert yen.totals()["tax"] == "29"
    dinar = new_case()
    dinar.facts["currency"] = "BHD"
    dinar.plans = [dinar.plan(currency="BHD", rates={"per_hour": "10.000"})]
    dinar.entry("0.0333")
    assert dinar.totals()["hours"] == "0.333"


def test_v12_an_entry_after_acceptance_is_billed_late_and_october_stays(case):
    october = case.accept("2025-10")
    case.entry("1.5", worked_on="2025-10-30", uid="late")
    (line,) = [line for line in case.body("2025-11")["lines"] if line["kind"] == "hours"]
    assert (line["quantity"], line["amount"], line["uids"]) == ("1.5", "225.00", ["late"])
    assert digest(canonical(case.rows.accepted["2025-10"])) == digest(
        canonical({"period": "2025-10", "state": "accepted", "monthly": "0", "taken": [], "pool": "0"})
    )
    assert october["totals"]["hours"] == "500.00"


def test_v13_late_hours_of_december_use_januarys_new_pool(new_case):
    case = new_case()
    case.prepaid(yearly="10")
    case.entry("10", worked_on="2025-12-03")
    assert case.accept("2025-12")["prepaid"]["pool"]["left"] == "0"
    case.entry("2", worked_on="2025-12-30", uid="late")
    body = case.body("2026-01")
    (line,) = [line for line in body["lines"] if line["kind"] == "hours"]
    assert (line["uids"], line["amount"]) == (["late"], "0.00")
    assert body["prepaid"]["pool"]["left"] == "8"


def test_v14_what_an_accepted_november_took_is_gone_for_an_open_october(new_case):
    case = new_case()
    case.prepaid(yearly="10")
    case.entry("5", worked_on="2025-11-03")
    case.accept("2025-11")
    case.entry("10", worked_on="2025-10-03")
    body = case.body("2025-10")
    assert body["prepaid"]["pool"]["taken"] == "5"
    assert body["lines"][0]["quantity"] == "5"
