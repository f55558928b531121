"""The sentences of the billing rules that no worked vector shows, section by section."""

from datetime import date
from decimal import Decimal

import pytest
from hivematrix_common.domain.errors import DomainError
from hivematrix_ledger.domain.differences import differences
from hivematrix_ledger.domain.engines import NoBill, compute_bill
from hivematrix_ledger.domain.engines.v1.contract import contract_end, contract_state
from hivematrix_ledger.domain.engines.v1.counting import share
from hivematrix_ledger.domain.engines.v1.months import month_named
from hivematrix_ledger.domain.engines.v1.values import rounded
from hivematrix_ledger.domain.engines.v1.why import product

TB = 1024**4
OCTOBER = month_named("2025-10")


def lines(case, kind, period="2025-10"):
    return [line for line in case.body(period)["lines"] if line["kind"] == kind]


def one(case, kind, period="2025-10"):
    (line,) = lines(case, kind, period)
    return line


# 1. Money, quantities, time


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [("0.005", 2, "0.01"), ("-0.005", 2, "-0.01"), ("2.675", 2, "2.68"), ("-0.004", 2, "0.00"), ("28.5", 0, "29")],
)
def test_ties_are_rounded_away_from_zero_and_zero_has_no_sign(value, digits, text):
    assert str(rounded(Decimal(value), digits)) == text


def test_a_value_is_exact_whatever_its_size_until_its_one_rounding(new_case):
    case = new_case()
    case.plans = [case.plan(rates={"per_hour": "999999999999.9999"})]
    case.entry("99999999999.9999")
    assert one(case, "hours")["why"]["exact"] == "99999999999999890000000.00000001"


def test_a_value_that_does_not_end_is_written_as_a_fraction_in_lowest_terms(new_case):
    case = new_case()
    case.plans = [case.plan(count_policy="prorate_actual")]
    case.contact("Ann", active_from="2025-10-11")
    line = one(case, "user")
    assert (line["why"]["formula"], line["why"]["exact"]) == (product("100", "21 / 31"), "2100/31")
    assert (line["quantity"], line["rate"], line["amount"]) == ("1", "67.74", "67.74")


def test_each_line_is_rounded_once_and_totals_add_rounded_amounts(new_case):
    case = new_case()
    case.plans = [case.plan(rates={"per_user": "0.0050"})]
    case.contact("Ann")
    case.contact("Bob")
    assert case.totals()["user"] == "0.02"


def test_zero_amounts_have_their_line_too(new_case):
    case = new_case()
    case.contact("Ann")
    case.user_override("Ann", "Free")
    assert one(case, "user")["amount"] == "0.00"


def test_an_instant_is_converted_to_the_billing_zone_and_a_date_never(new_case):
    case = new_case()
    case.zone = type(case.zone)("America/Halifax")
    case.entry("1", worked_on="2025-11-01T02:30:00Z")
    case.entry("2", worked_on="2025-11-01")
    assert one(case, "hours", "2025-10")["quantity"] == "1"
    assert one(case, "hours", "2025-11")["quantity"] == "2"


def test_an_instant_without_an_offset_is_refused(new_case):
    case = new_case()
    case.entry("1", worked_on="2025-10-01T02:30:00")
    with pytest.raises(DomainError, match="offset"):
        case.inputs()


# 2. Plans and rates


def test_the_newest_version_valid_on_the_last_day_bills_the_month(case):
    case.plans += [
        case.plan(valid_from="2025-10-31", rates={"per_user": "110"}),
        case.plan(valid_from="2025-11-01", rates={"per_user": "120"}),
    ]
    assert [case.totals(period)["user"] for period in ("2025-09", "2025-10", "2025-11")] == [
        "200.00",
        "220.00",
        "240.00",
    ]
    assert case.body()["plan_version"] == "2025-10-31"


def test_two_versions_of_one_date_are_refused(case):
    inputs = case.inputs()
    outcome = compute_bill(inputs | {"plans": inputs["plans"] * 2})
    assert isinstance(outcome, NoBill)
    assert "two versions of 2020-01-01" in outcome.reason


def test_plan_names_are_trimmed_and_compared_by_case(case):
    case.facts["billing_plan"] = "  Gold "
    assert case.totals()["total"] == "912.50"
    case.facts["billing_plan"] = "gold"
    assert "no plan 'gold' with term '1 Year'" in case.reason()


@pytest.mark.parametrize(("term", "billed"), [("1-Year", True), ("1 years", True), ("", False), ("2 Year", False)])
def test_a_terms_spelling_is_normalised(case, term, billed):
    case.facts["contract_term"] = term
    assert isinstance(case.outcome(), NoBill) is not billed


def test_an_unknown_term_makes_the_company_unbillable_and_is_named(case):
    case.facts["contract_term"] = "Forever"
    assert "unknown contract term 'Forever'" in case.reason()


def test_a_client_override_wins_over_the_plan_and_zero_is_a_value(case):
    case.override("per_user", "0")
    case.plans = [case.plan(rates={"per_server": "0", "per_hour": None})]
    case.override("per_workstation", "")
    rates = {rate["name"]: (rate["value"], rate["source"]) for rate in case.body()["rates"]}
    assert rates["per_user"] == ("0", "client_override")
    assert rates["per_server"] == ("0", "plan")
    assert rates["per_hour"] == ("0", "default")
    assert rates["per_workstation"] == ("15", "plan")
    assert case.totals()["total"] == "87.50"


def test_the_included_volume_defaults_to_one_tb(case):
    case.plans = [case.plan(rates={"backup_included_tb": None})]
    rate = next(rate for rate in case.body()["rates"] if rate["name"] == "backup_included_tb")
    assert (rate["value"], rate["source"]) == ("1", "default")


def test_an_override_holds_from_its_first_to_its_last_period(case):
    case.override("per_user", "1", "2025-09", "2025-10")
    assert [case.totals(f"2025-{month:02}")["user"] for month in (8, 9, 10, 11)] == [
        "200.00",
        "2.00",
        "2.00",
        "200.00",
    ]


def test_an_overridden_plan_is_applied_before_its_rates(case):
    case.plans.append(case.plan(name="Silver", rates={"per_user": "50"}))
    case.override("billing_plan", "Silver")
    assert (case.body()["billing_plan"], case.totals()["user"]) == ("Silver", "100.00")


def test_support_level_and_features_are_labels_that_never_change_an_amount(case):
    case.plans = [case.plan(support_level="Unlimited", features={"soc": "X", "antivirus": "Y", "größe": "Z"})]
    case.override("support_level", "All Inclusive")
    case.override("feature:soc", "W")
    case.override("feature:sat", "V")
    body = case.body()
    assert body["support_level"] == "All Inclusive"
    assert [(feature["name"], feature["value"]) for feature in body["features"]] == [
        ("antivirus", "Y"),
        ("größe", "Z"),
        ("sat", "V"),
        ("soc", "W"),
    ]
    assert body["totals"]["total"] == "912.50"


@pytest.mark.parametrize("name", ["Inactive", " INACTIVE ", "inactive"])
def test_a_plan_named_inactive_is_skipped_without_a_plan_row(case, name):
    case.facts["billing_plan"] = name
    outcome = case.outcome()
    assert isinstance(outcome, NoBill)
    assert (outcome.status, outcome.account_number) == ("skipped", "620547")


@pytest.mark.parametrize("name", [None, "", "  "])
def test_a_company_without_a_plan_is_unbillable(case, name):
    case.facts["billing_plan"] = name
    assert case.reason() == "no billing plan is set"


def test_a_companys_status_never_affects_its_bill(case):
    before = case.bill().digest
    case.facts["status"] = "inactive"
    assert case.bill().digest == before


def test_a_plan_in_another_currency_makes_the_company_unbillable(case):
    case.plans = [case.plan(currency="EUR")]
    assert "priced in EUR, the company is billed in USD" in case.reason()
    case.facts["currency"] = "EUR"
    assert case.body()["currency"] == "EUR"


# 3. What is counted


def test_an_asset_override_wins_whole_then_the_own_type_then_workstation(new_case):
    case = new_case()
    case.asset("A", "Server")
    case.asset("B", None)
    case.asset("C", "Laptop")
    case.asset_override("A", "VM")
    case.asset_override("C", "Custom", "7.77")
    assert [(line["name"], line["amount"]) for line in lines(case, "asset")] == [
        ("A", "50.00"),
        ("B", "15.00"),
        ("C", "7.77"),
    ]


@pytest.mark.parametrize(
    ("kind", "amount"),
    [
        ("Workstation", "15.00"),
        ("Server", "125.00"),
        ("VM", "50.00"),
        ("Switch", "25.00"),
        ("Firewall", "30.00"),
        ("No Charge", "0.00"),
    ],
)
def test_each_type_has_its_rate(new_case, kind, amount):
    case = new_case()
    case.asset("A", kind)
    case.manual_asset("M", kind)
    assert [line["amount"] for line in lines(case, "asset")] == [amount, amount]


def test_custom_of_codex_without_an_override_makes_the_company_unbillable_when_it_counts(new_case):
    case = new_case()
    case.asset("OLD", "Custom", active_to="2025-09-30")
    assert case.totals()["asset"] == "0.00"
    case.asset("NEW", "Custom")
    assert "asset 'NEW' is Custom without a cost" in case.reason()


def test_every_item_that_cannot_be_billed_is_named(new_case):
    case = new_case()
    case.asset("A", "Laptop")
    case.contact("Ann")
    case.user_override("Ann", "Custom")
    assert case.reason() == (
        "asset 'A' has the unknown type 'Laptop'; known are Workstation, Server, VM, Switch, Firewall, Custom,"
        " No Charge; user 'Ann' is Custom without a cost"
    )


def test_a_negative_custom_cost_is_a_discount_that_stays_on_the_invoice(new_case):
    case = new_case()
    case.contact("Ann")
    case.user_override("Ann", "Custom", "-12.50")
    assert case.totals()["total"] == "-12.50"
    assert "User: Ann (Custom),1,-12.50,-12.50\r\n" in case.bill().csv


def test_no_charge_of_a_user_is_read_as_free(new_case):
    case = new_case()
    case.contact("Ann")
    case.user_override("Ann", "No Charge")
    case.manual_user("Bob", "No Charge")
    assert [line["description"] for line in lines(case, "user")] == ["User: Ann (Free)", "User: Bob (Free)"]


def test_manual_is_a_field_and_manual_items_count_in_full_without_dates_or_overrides(new_case):
    case = new_case()
    case.plans = [case.plan(count_policy="prorate_actual")]
    case.manual_asset("Printer", "Custom", "9", uid="a-X")
    case.asset_override("X", "Server")
    line = one(case, "asset")
    assert (line["amount"], line["why"]["basis"]["type_from"]) == ("9.00", "manual")


@pytest.mark.parametrize(
    ("policy", "active_from", "active_to", "expected"),
    [
        ("end_of_period", None, None, (1, 1)),
        ("end_of_period", "2025-10-31", "2025-10-31", (1, 1)),
        ("end_of_period", None, "2025-10-30", None),
        ("any_day", "2025-10-31", None, (1, 1)),
        ("any_day", None, "2025-10-01", (1, 1)),
        ("any_day", "2025-11-01", None, None),
        ("any_day", None, "2025-09-30", None),
        ("prorate_actual", "2025-10-12", None, (20, 31)),
        ("prorate_actual", "2025-10-01", "2025-10-31", (1, 1)),
        ("prorate_actual", "2025-11-01", None, None),
        ("prorate_30", "2025-10-12", None, (20, 30)),
        ("prorate_30", "2025-10-02", None, (1, 1)),
    ],
)
def test_a_policy_gives_the_share_of_the_month(policy, active_from, active_to, expected):
    part = share(policy, active_from, active_to, OCTOBER)
    assert (part and (part.part, part.whole)) == expected


@pytest.mark.parametrize(("active_to", "expected"), [("2025-02-27", (27, 30)), ("2025-02-28", (1, 1))])
def test_a_whole_february_counts_as_a_whole_month_of_thirty_days(active_to, expected):
    part = share("prorate_30", None, active_to, month_named("2025-02"))
    assert part
    assert (part.part, part.whole) == expected


def test_a_prorated_line_says_so_in_its_description(new_case):
    case = new_case()
    case.plans = [case.plan(count_policy="prorate_actual")]
    case.asset("SRV1", "Server", active_from="2025-10-12")
    assert one(case, "asset")["description"] == "Asset: SRV1 (Server), 20 of 31 days"


# 4. Hours


def test_entries_of_a_month_not_yet_accepted_wait_for_it(new_case):
    case = new_case()
    case.entry("2", worked_on="2025-09-10")
    assert lines(case, "hours") == []


def test_a_late_entry_goes_to_the_earliest_month_without_an_accepted_bill(new_case):
    case = new_case()
    case.accept("2025-08")
    case.accept("2025-09")
    case.entry("2", worked_on="2025-08-10")
    assert one(case, "hours", "2025-10")["name"] == "Late hours 2025-08"
    assert lines(case, "hours", "2025-11") == []


def test_a_month_without_a_bill_passes_a_late_entry_on(new_case):
    case = new_case()
    case.accept("2025-09")
    case.override("billing_plan", "Inactive", "2025-10", "2025-10")
    case.entry("2", worked_on="2025-09-10")
    assert one(case, "hours", "2025-11")["quantity"] == "2"


def test_late_hours_stand_one_line_a_month_oldest_first_at_the_billing_months_rate(new_case):
    case = new_case()
    for period in ("2025-08", "2025-09"):
        case.accept(period)
    case.override("per_hour", "10", "2025-10", "2025-10")
    case.entry("2", worked_on="2025-09-10")
    case.entry("1", worked_on="2025-08-10")
    case.entry("4", worked_on="2025-10-10")
    assert [(line["name"], line["amount"]) for line in lines(case, "hours")] == [
        ("Billable hours", "40.00"),
        ("Late hours 2025-08", "10.00"),
        ("Late hours 2025-09", "20.00"),
    ]


def test_late_hours_use_what_this_months_own_left_of_the_allowance(new_case):
    case = new_case()
    case.accept("2025-09")
    case.prepaid(monthly="5")
    case.entry("3", worked_on="2025-10-10")
    case.entry("4", worked_on="2025-09-10")
    assert [line["quantity"] for line in lines(case, "hours")] == ["0", "2"]


def test_an_accepted_entry_is_never_billed_again_even_when_it_moves(new_case):
    case = new_case()
    case.entry("2", worked_on="2025-10-10", uid="moving")
    case.accept("2025-10")
    case.facts["entries"][0]["worked_on"] = "2025-11-10"
    assert lines(case, "hours", "2025-11") == []


def test_a_negative_entry_makes_the_company_unbillable(new_case):
    case = new_case()
    case.entry("-1")
    assert "negative in entry e-1" in case.reason()


def test_non_billable_entries_are_listed_free_and_use_no_prepaid_hours(new_case):
    case = new_case()
    case.prepaid(monthly="5")
    case.entry("2", billable=False, uid="quiet")
    line = one(case, "hours")
    assert (line["quantity"], line["amount"], line["uids"]) == ("0", "0.00", ["quiet"])
    assert [entry["uid"] for entry in line["why"]["basis"]["non_billable"]] == ["quiet"]
    assert case.body()["counts"]["non_billable_hours"] == "2"
    assert case.body()["prepaid"]["monthly"]["used"] == "0"
    case.accept()
    assert "quiet" in case.billed


def test_the_monthly_allowance_is_used_first_and_lapses(new_case):
    case = new_case()
    case.prepaid(monthly="5", yearly="10")
    case.entry("2", worked_on="2025-09-10")
    case.entry("7", worked_on="2025-10-10")
    prepaid = case.body()["prepaid"]
    assert prepaid["monthly"]["used"] == "5"
    assert (prepaid["pool"]["taken"], prepaid["pool"]["left"]) == ("2", "8")


def test_only_hours_taken_from_the_pool_reduce_it(new_case):
    case = new_case()
    case.prepaid(monthly="5", yearly="10")
    for month in range(1, 10):
        case.entry("6", worked_on=f"2025-{month:02}-10")
    assert case.body()["prepaid"]["pool"]["left"] == "1"


def test_the_pool_starts_full_each_calendar_year(new_case):
    case = new_case()
    case.prepaid(yearly="10")
    case.entry("10", worked_on="2025-12-10")
    case.accept("2025-12")
    assert case.body("2026-01")["prepaid"]["pool"]["left"] == "10"


def test_a_contracts_pool_year_begins_in_the_month_it_began(new_case):
    case = new_case()
    case.facts["contract_start"] = "2023-09-17"
    case.prepaid(yearly="10", pool_year="contract")
    case.entry("4", worked_on="2025-08-31")
    case.entry("3", worked_on="2025-09-01")
    pool = case.body()["prepaid"]["pool"]
    assert (pool["first"], pool["last"], pool["used"], pool["left"]) == ("2025-09", "2026-08", "3", "7")


def test_a_contracts_pool_year_without_a_start_makes_the_company_unbillable(new_case):
    case = new_case()
    case.prepaid(yearly="10", pool_year="contract")
    assert "contract_start" in case.reason()


def test_skipped_and_unbillable_months_take_nothing(new_case):
    case = new_case()
    case.prepaid(yearly="10")
    case.override("billing_plan", "Inactive", "2025-08", "2025-08")
    case.override("billing_plan", "Nothing", "2025-09", "2025-09")
    for month in (7, 8, 9):
        case.entry("1", worked_on=f"2025-{month:02}-10")
    assert case.body()["prepaid"]["pool"]["left"] == "9"


def test_an_accepted_month_stays_as_accepted_when_the_allowance_changes(new_case):
    case = new_case()
    case.prepaid(yearly="10")
    case.entry("4", worked_on="2025-09-10")
    case.accept("2025-09")
    case.prepaid(monthly="4", yearly="10")
    assert case.body()["prepaid"]["pool"]["left"] == "6"


def test_rolled_over_hours_are_used_before_this_months_and_expire_in_time(new_case):
    case = new_case()
    case.prepaid(monthly="5", rollover_months=1)
    case.entry("3", worked_on="2025-09-10")
    case.entry("4", worked_on="2025-10-10")
    monthly = case.body()["prepaid"]["monthly"]
    # August's five paid September's three; September's five pay four of October and lose one.
    assert monthly["taken"] == [{"month": "2025-09", "hours": "4"}]
    assert (monthly["granted"], monthly["used"], monthly["expired"], monthly["left"]) == ("10", "4", "1", "5")


def test_hours_a_later_accepted_month_rolled_over_are_gone_for_an_open_one(new_case):
    case = new_case()
    case.prepaid(monthly="5", rollover_months=1)
    case.entry("8", worked_on="2025-11-10")
    case.accept("2025-11")
    case.entry("5", worked_on="2025-10-10")
    assert case.body()["prepaid"]["monthly"]["taken"] == [{"month": "2025-09", "hours": "5"}]
    case.entry("3", worked_on="2025-10-11")
    # November took October's five and three of its own.
    assert one(case, "hours")["quantity"] == "3"


# 5. Backup


def test_base_fees_are_counted_by_class_and_the_included_volume_is_pooled(new_case):
    case = new_case()
    case.asset("W", "Workstation", backup_bytes=TB // 2)
    case.asset("S", "Server", backup_bytes=2 * TB)
    case.asset("V", "VM", backup_bytes=TB)
    case.asset("N", "Firewall", backup_bytes=9 * TB)
    assert [(line["quantity"], line["amount"]) for line in lines(case, "backup")] == [
        ("1", "25.00"),
        ("2", "100.00"),
        ("0.5", "7.50"),
    ]


def test_the_overage_is_rounded_to_four_decimals_before_it_is_priced(new_case):
    case = new_case()
    case.asset("S", "Server", backup_bytes=TB + TB // 30000)
    assert lines(case, "backup")[0]["quantity"] == "1"
    assert len(lines(case, "backup")) == 1
    case.asset("T", "Server", backup_bytes=TB + TB // 15000)
    (overage,) = lines(case, "backup")[1:]
    assert (overage["quantity"], overage["amount"]) == ("0.0001", "0.00")


def test_a_custom_machine_keeps_its_own_class_and_a_free_one_loses_it(new_case):
    case = new_case()
    case.asset("C", "Server", backup_bytes=TB)
    case.asset("F", "Server", backup_bytes=TB)
    case.asset("D", None, backup_bytes=TB)
    case.asset_override("C", "Custom", "1")
    case.asset_override("D", "Custom", "1")
    case.asset_override("F", "No Charge")
    counts = case.body()["counts"]
    assert (counts["backup_workstation"], counts["backup_server"], counts["backup_tb"]) == (1, 1, "2")


def test_a_prorated_machine_counts_whole_for_backup_and_an_absent_one_not(new_case):
    case = new_case()
    case.plans = [case.plan(count_policy="prorate_actual")]
    case.asset("S", "Server", backup_bytes=TB, active_from="2025-10-31")
    case.asset("G", "Server", backup_bytes=TB, active_to="2025-09-30")
    assert [line["amount"] for line in lines(case, "backup")] == ["50.00"]


# 6. Line items


def test_recurring_and_yearly_items_honour_their_first_and_last_period(new_case):
    case = new_case()
    case.line_item("R", "recurring", "1", from_period="2025-09", to_period="2025-10")
    case.line_item("Y", "yearly", "10", month=10, to_period="2025-12")
    assert [case.totals(period)["item"] for period in ("2025-08", "2025-09", "2025-10", "2025-11", "2026-10")] == [
        "0.00",
        "1.00",
        "11.00",
        "0.00",
        "0.00",
    ]


# 7. Tax


def test_the_star_is_one_category_of_all_kinds_not_named(case):
    case.tax("user", "10")
    case.tax("*", "20")
    taxes = {line["name"]: (line["amount"], line["why"]["formula"]) for line in lines(case, "tax")}
    assert taxes == {
        "user": ("20.00", product("200", "10 / 100")),
        "*": ("142.50", product("(140 + 72.5 + 500)", "20 / 100")),
    }
    assert case.totals()["total"] == "1075.00"


def test_a_zero_base_has_no_tax_line_and_tax_is_not_taxed(new_case):
    case = new_case()
    case.line_item("A", "recurring", "5")
    case.line_item("B", "recurring", "-5")
    case.tax("item", "10")
    assert lines(case, "tax") == []


@pytest.mark.parametrize("categories", [["user", "user"], ["tax"], ["everything"]])
def test_a_category_twice_or_unknown_is_refused(case, categories):
    for category in categories:
        case.tax(category, "10")
    assert "tax_rates.category" in case.reason()


# 8. The bill


@pytest.mark.parametrize(
    ("start", "end", "term", "expected"),
    [
        ("2024-02-29", None, "1 Year", "2025-02-28"),
        ("2024-02-29", None, "2 Year", "2026-02-28"),
        ("2023-02-28", None, "1 Year", "2024-02-27"),
        ("2025-01-01", None, "3 Year", "2027-12-31"),
        ("2025-01-01", "2025-06-30", "3 Year", "2025-06-30"),
        ("2025-01-01", None, "Month to Month", None),
        (None, None, "1 Year", None),
    ],
)
def test_a_contract_ends_as_given_or_a_day_before_its_anniversary(start, end, term, expected):
    def day(text):
        return text and date.fromisoformat(text)

    assert contract_end(day(start), day(end), term) == day(expected)


@pytest.mark.parametrize(
    ("end", "state"),
    [("2025-10-30", "expired"), ("2025-10-31", "ending"), ("2025-11-30", "ending"), ("2025-12-01", "active")],
)
def test_a_contracts_state_is_that_of_the_invoice_date(end, state):
    assert contract_state(date.fromisoformat(end), "1 Year", date(2025, 10, 31)) == state


def test_a_bill_says_which_version_contract_and_counts_it_rests_on(case):
    case.facts["contract_start"] = "2025-01-15"
    body = case.body()
    assert body["contract"] == {"start": "2025-01-15", "end": "2026-01-14", "state": "active"}
    assert (body["counts"]["user"], body["counts"]["workstation"], body["counts"]["server"]) == (2, 1, 1)
    assert body["engine"] == {"name": "hivematrix-ledger", "version": 1}


# 9. Invoice


def test_the_invoice_is_dated_the_last_day_and_due_after_the_payment_terms(case):
    assert (case.body()["invoice_number"], case.body()["invoice_date"]) == ("620547-202510", "2025-10-31")
    assert case.body()["due_date"] == "2025-11-30"
    case.facts["payment_terms_days"] = 0
    assert case.body()["due_date"] == "2025-10-31"


def test_the_csv_of_the_worked_vector(case):
    case.line_item("=cmd|' /C calc'!A0", "recurring", "-5")
    case.line_item('A "quoted", name', "one_off", "1", period="2025-10")
    case.line_item("Nothing", "recurring", "0")
    case.facts["name"] = "@Acme, Ltd"
    header, *rows, rest = case.bill().csv.split("\r\n")
    assert header == "InvoiceNo,Customer,InvoiceDate,DueDate,Item(Product/Service),Description,Qty,Rate,Amount"
    head = '620547-202510,"\'@Acme, Ltd",2025-10-31,2025-11-30,'
    assert [row.removeprefix(head) for row in rows] == [
        "Managed Services,User: Ann (Paid),1,100.00,100.00",
        "Managed Services,User: Bob (Paid),1,100.00,100.00",
        "Managed Services,Asset: SRV1 (Server),1,125.00,125.00",
        "Managed Services,Asset: WS1 (Workstation),1,15.00,15.00",
        "Backup Services,Server Backup Base,1,50.00,50.00",
        "Backup Services,Backup Overage (TB),1.5,15.00,22.50",
        "Hourly Labor,Billable hours (3.3333 hrs),3.3333,150.00,500.00",
        "Custom Charge,'=cmd|' /C calc'!A0 (Recurring),1,-5.00,-5.00",
        'Custom Charge,"A ""quoted"", name (One-Off)",1,1.00,1.00',
    ]
    assert rest == ""


def test_a_rate_of_more_digits_than_the_currency_keeps_them_in_the_csv(new_case):
    case = new_case()
    case.override("per_user", "0.1255")
    case.contact("Ann")
    assert "User: Ann (Paid),1,0.1255,0.13\r\n" in case.bill().csv


# What no import lets through still gets no silent answer.


def test_words_the_engine_does_not_know_make_the_company_unbillable(case):
    inputs = case.inputs()
    unknown = {
        "count policy": {"plans": [plan | {"count_policy": "sometimes"} for plan in inputs["plans"]]},
        "line_items.kind": {"line_items": [{"uid": "i", "name": "I", "kind": "weekly", "fee": "1"}]},
        "pool year": {"prepaid": {"monthly": "1", "yearly": "1", "pool_year": "fiscal", "rollover_months": 0}},
        "company.contract": {"company": inputs["company"] | {"contract_start": "2025-02-30"}},
        "per_user": {"plans": [plan | {"rates": plan["rates"] | {"per_user": "1e5"}} for plan in inputs["plans"]]},
    }
    for word, change in unknown.items():
        outcome = compute_bill(inputs | change)
        assert isinstance(outcome, NoBill), word
        assert (outcome.status, word in outcome.reason) == ("unbillable", True), outcome.reason


def test_a_text_that_is_no_date_is_refused(new_case):
    case = new_case()
    case.entry("1", worked_on="31 October 2025")
    with pytest.raises(DomainError, match="expected a date or an instant"):
        case.inputs()


def test_differences_tell_items_of_one_name_apart(new_case):
    case = new_case()
    for number in range(2):
        case.line_item("Phone", "recurring", "1", uid=f"i{number}")
        case.manual_user("Temp", "Custom", "5", uid="m")
    before = case.body()
    case.rows.line_items.pop()
    case.rows.manual_users.pop()
    told = differences(before, case.body())
    assert told[0] == {"pointer": "/totals/total", "previewed": "12.00", "now": "6.00"}
    assert {"pointer": "/lines/item Phone", "previewed": "1.00", "now": None} in told
    assert {"pointer": "/lines/user Temp", "previewed": "5.00", "now": None} in told


def test_bills_that_differ_in_their_inputs_alone_say_so(case):
    before = case.body()
    case.contact("Free", uid="c-free")
    case.user_override("free", "Free")
    case.facts["contacts"].pop()
    case.entry("0", worked_on="2025-10-09", billable=False)
    case.facts["entries"].pop()
    case.facts["assets"][0]["backup_bytes"] = None
    told = differences(before, case.body())
    assert [difference["pointer"] for difference in told] == ["/inputs"]
