"""What changed from one month to another: classed, told, and adding up to the change of the total."""

import os
from decimal import Decimal

import pytest
from hivematrix_common.domain.errors import DomainError
from hivematrix_ledger.domain.change import Cause, by_cause, changes
from hivematrix_ledger.domain.engines import Bill, compute_bill
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

TB = 1024**4


@pytest.fixture
def months(new_case):
    """Two months of the worked vector; a test changes the second, or both."""
    return new_case().worked_vector(), new_case().worked_vector()


def found(was, now):
    told = changes(was.body(), now.body())
    moved = Decimal(now.body()["totals"]["total"]) - Decimal(was.body()["totals"]["total"])
    assert sum((change.amount for change in told), Decimal(0)) == sum(by_cause(told).values()) == moved
    return {(str(change.cause), change.name): str(change.amount) for change in told}


def test_nothing_changed(months):
    assert found(*months) == {}


def test_who_came_and_who_went(months):
    was, now = months
    now.contact("Cat")
    now.facts["assets"].pop(0)
    assert found(was, now) == {("item added", "Cat"): "100.00", ("item removed", "WS1"): "-15.00"}


def test_a_machine_of_another_type_takes_its_backup_along(months):
    was, now = months
    now.facts["assets"][1]["billing_type"] = "Workstation"
    assert found(was, now) == {
        ("type changed", "SRV1"): "-110.00",
        ("backup volume", "Server Backup Base"): "-50.00",
        ("backup volume", "Workstation Backup Base"): "25.00",
    }


def test_a_price_that_the_plan_changed(months):
    was, now = months
    now.plans = [now.plan(valid_from="2020-01-01"), now.plan(valid_from="2025-10-01", rates={"per_server": "140"})]
    assert found(was, now) == {("rate changed", "SRV1"): "15.00"}


def test_another_plan(months):
    was, now = months
    now.plans = [now.plan(name="Silver", rates={"per_user": "80", "backup_included_tb": "2"})]
    now.facts["billing_plan"] = "Silver"
    assert found(was, now) == {
        ("plan changed", "Ann"): "-20.00",
        ("plan changed", "Bob"): "-20.00",
        ("plan changed", "Backup Overage (TB)"): "-15.00",
    }


def test_a_rate_of_the_company_s_own(months):
    was, now = months
    now.override("per_user", "90")
    assert found(was, now) == {("override changed", "Ann"): "-10.00", ("override changed", "Bob"): "-10.00"}


def test_more_hours_at_another_rate_with_other_prepaid_ones(months):
    was, now = months
    was.prepaid("1", None)
    now.prepaid("2", None)
    now.entry("1.6667")
    now.override("per_hour", "100")
    # Before: 2.3333 h at 150 = 350.00. Now: 5 h, 2 of them prepaid, at 100 = 300.00.
    assert found(was, now) == {
        ("hours", "Billable hours"): "250.00",
        ("prepaid", "Billable hours"): "-150.00",
        ("override changed", "Billable hours"): "-150.00",
    }


def test_hours_that_were_prepaid_and_are_not_worked_any_more_are_no_change_of_prepaid(months):
    was, now = months
    was.prepaid("3", None)
    now.facts["entries"].clear()
    assert found(was, now) == {("hours", "Billable hours"): "-50.00"}


def test_a_part_of_a_month_and_then_the_whole(months):
    was, now = months
    for case in months:
        case.plans = [case.plan(count_policy="prorate_actual")]
    was.facts["contacts"][0]["active_from"] = "2025-10-17"
    now.override("per_user", "110")
    told = changes(was.body(), now.body())
    ann = {change.cause: (str(change.amount), change.before, change.after) for change in told if change.name == "Ann"}
    assert ann == {
        Cause.PRORATION: ("51.61", "15 days", "the whole month"),
        Cause.OVERRIDE: ("10.00", "Paid at 100", "Paid at 110"),
    }


def test_more_is_backed_up(months):
    was, now = months
    now.facts["assets"][0]["backup_bytes"] = 3 * TB
    assert found(was, now) == {
        ("backup volume", "Workstation Backup Base"): "25.00",
        ("backup volume", "Backup Overage (TB)"): "30.00",
    }


def test_items_and_tax(months):
    was, now = months
    was.line_item("Line", "recurring", "10", uid="i1")
    now.line_item("Line", "recurring", "12.50", uid="i1")
    now.tax("item", "10")
    assert found(was, now) == {("line item", "Line"): "2.50", ("tax", "item"): "1.25"}


def test_a_month_without_a_bill_began_or_ended_everything(months):
    was, _ = months
    sums = {str(cause): str(amount) for cause, amount in by_cause(changes(None, was.body())).items()}
    assert sums == {"item added": "340.00", "hours": "500.00", "backup volume": "72.50"}
    assert sum(by_cause(changes(was.body(), None)).values()) == Decimal("-912.50")
    assert changes(None, None) == []


def test_two_currencies_cannot_be_compared(months):
    was, now = months
    now.facts["currency"] = "JPY"
    now.plans = [now.plan(currency="JPY")]
    with pytest.raises(DomainError, match="billed in USD then and in JPY now"):
        changes(was.body(), now.body())


@given(data=st.data())
# A loaded machine is slow.
@settings(
    max_examples=int(os.environ.get("PROOF_PAIRS", "150")), deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
def test_the_classes_sum_exactly_to_the_change(any_company, data):
    was, now = (data.draw(any_company) for _ in range(2))
    now.facts["currency"] = was.facts["currency"]
    now.plans[0]["currency"] = was.plans[0]["currency"]
    outcomes = (compute_bill(case.inputs()) for case in (was, now))
    bodies = [bill.body if isinstance(bill, Bill) else None for bill in outcomes]
    told = changes(*bodies)
    totals = [Decimal(body["totals"]["total"]) if body else Decimal(0) for body in bodies]
    assert sum(by_cause(told).values(), Decimal(0)) == totals[1] - totals[0]
    assert all(change.amount for change in told)
