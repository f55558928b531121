"""The statement of prepaid hours: every hour is somewhere, after every row."""

from decimal import Decimal

import pytest
from hivematrix_ledger.domain.engines import Bill
from hivematrix_ledger.domain.hours_statement import statement
from hypothesis import given, settings
from hypothesis import strategies as st

MONTHS = [f"2025-{month:02}" for month in range(1, 13)]


def made(case, months, *, accepted=True):
    bodies = []
    for month in months:
        outcome = case.outcome(month)
        assert isinstance(outcome, Bill)
        bodies.append(outcome.body)
        if accepted:
            case.accept(month)
    rows = statement(bodies)
    for row in rows:
        for account in row["balance"].values():
            amounts = {name: Decimal(hours) for name, hours in account.items()}
            assert amounts["granted"] == amounts["used"] + amounts["expired"] + amounts["left"]
            assert min(amounts.values()) >= 0
    return bodies, rows


@pytest.fixture
def customer(new_case):
    case = new_case()
    case.contact("Ann")
    return case


def test_each_entry_says_where_its_hours_came_from(customer):
    customer.prepaid("2", "5")
    customer.entry("1.5", worked_on="2025-01-10", uid="a")
    customer.entry("1", worked_on="2025-01-11", uid="b")
    customer.entry("6", worked_on="2025-01-20", uid="c")
    customer.entry("1", worked_on="2025-01-21", uid="d", billable=False)
    _, rows = made(customer, MONTHS[:1])
    told = [(row["what"], row.get("uid"), row["monthly"], row["pool"], row.get("billed")) for row in rows]
    assert told == [
        ("granted", None, "0", "5", None),
        ("granted", None, "2", "0", None),
        ("used", "a", "-1.5", "0", "0"),
        ("used", "b", "-0.5", "-0.5", "0"),
        ("used", "c", "0", "-4.5", "1.5"),
        ("used", "d", "0", "0", "0"),
    ]
    assert rows[-1]["balance"]["pool"] == {"granted": "5", "used": "5", "expired": "0", "left": "0"}


def test_unused_hours_end_with_their_month_or_later(customer):
    customer.prepaid("2", None, rollover_months=1)
    customer.entry("3", worked_on="2025-02-10", uid="a")
    _, rows = made(customer, MONTHS[:3])
    told = [(row["day"], row["what"], row["monthly"], row["balance"]["monthly"]["left"]) for row in rows]
    assert told == [
        ("2025-01-01", "granted", "2", "2"),
        ("2025-02-01", "granted", "2", "4"),
        ("2025-02-10", "used", "-3", "1"),
        ("2025-03-01", "granted", "2", "3"),
        ("2025-03-31", "expired", "-1", "2"),
    ]


def test_a_late_entry_uses_the_later_month_s_hours(customer):
    customer.prepaid("2", None)
    customer.accept("2025-01")
    customer.entry("1", worked_on="2025-01-30", uid="late")
    _, rows = made(customer, ["2025-02"])
    [used] = [row for row in rows if row["what"] == "used"]
    assert (used["told"], used["monthly"], used["invoice_number"]) == ("Late hours 2025-01", "-1", "620547-202502")


def test_a_new_year_has_a_new_pool(customer):
    customer.prepaid(None, "4")
    customer.entry("1", worked_on="2024-12-10", uid="a")
    _, rows = made(customer, ["2024-12", "2025-01"])
    told = [(row["what"], row["pool"], row["balance"]["pool"]["left"]) for row in rows]
    assert told == [("granted", "4", "4"), ("used", "-1", "3"), ("expired", "-3", "0"), ("granted", "4", "4")]


@given(
    worked=st.lists(st.tuples(st.sampled_from(MONTHS[:6]), st.decimals(0, 9, places=2)), max_size=8),
    monthly=st.integers(0, 4),
    yearly=st.integers(0, 12),
    rollover=st.integers(0, 3),
)
@settings(max_examples=60, deadline=None)
def test_every_hour_is_conserved_and_billed_as_the_bills_say(new_case, worked, monthly, yearly, rollover):
    case = new_case()
    case.contact("Ann")
    case.prepaid(str(monthly), str(yearly), rollover_months=rollover)
    for month, hours in worked:
        case.entry(format(hours, "f"), worked_on=f"{month}-15")
    bodies, rows = made(case, MONTHS[:6])
    billed = sum((Decimal(row["billed"]) for row in rows if row["what"] == "used"), Decimal(0))
    assert billed == sum((Decimal(body["counts"]["billable_hours"]) for body in bodies), Decimal(0))
    last = bodies[-1]["prepaid"]
    assert Decimal(rows[-1]["balance"]["monthly"]["left"] if rows else 0) == Decimal(last["monthly"]["left"])
    if last["pool"]:
        assert rows[-1]["balance"]["pool"]["left"] == last["pool"]["left"]
