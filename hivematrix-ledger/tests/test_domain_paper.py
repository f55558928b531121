"""What an invoice says on paper: groups that a person reads, and that add up to the bill."""

from decimal import Decimal

import pytest
from hivematrix_common.domain.money import minor_digits, round_half_up
from hivematrix_ledger.domain.corrections import Order, Standing, credit_inputs
from hivematrix_ledger.domain.engines import CORRECTIONS, Bill, compute_bill
from hivematrix_ledger.domain.paper import Proof, grouped, net, taxes
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

ZERO = Decimal(0)


def told(body):
    return [(g.title, g.under, str(g.quantity), str(g.rate), str(g.amount)) for g in grouped(body)]


def test_people_and_machines_of_a_kind_stand_in_one_line(case):
    case.contact("Carol")
    case.asset("WS2", "Workstation")
    assert told(case.bill().body) == [
        ("Managed services, users", "Paid", "3", "100.00", "300.00"),
        ("Managed services, workstations", "", "2", "15.00", "30.00"),
        ("Managed services, servers", "", "1", "125.00", "125.00"),
        ("Backup, base server", "1 machine", "1", "50", "50.00"),
        ("Backup, above 1 TB included", "2.5000 TB stored", "1.5", "15", "22.50"),
        ("Hourly labor", "1 entry, 2025-10-05 to 2025-10-05", "3.3333", "150", "500.00"),
    ]


def test_another_share_of_the_month_is_another_line(case):
    case.plans = [case.plan(count_policy="prorate_actual")]
    case.contact("Carol", active_from="2025-10-12")
    case.contact("Dave", active_from="2025-10-12")
    assert told(case.bill().body)[:2] == [
        ("Managed services, users", "Paid", "2", "100.00", "200.00"),
        ("Managed services, users", "Paid, 20 of 31 days", "2", "64.52", "129.04"),
    ]


def test_who_has_a_price_of_their_own_is_named(case):
    for name in ("Bob", "Ann"):
        case.user_override(name, "Custom", "-7.5")
    for n in range(7):
        case.manual_asset(f"X{n}", "Custom", "5")
    lines = told(case.bill().body)
    assert lines[0] == ("Managed services, users", "Custom, Ann, Bob", "2", "-7.50", "-15.00")
    assert lines[3][1:] == ("X0, X1, X2, X3, X4 and 2 more", "7", "5.00", "35.00")


def test_what_comes_to_nothing_is_left_out_as_in_the_csv(case):
    case.asset("Spare", "No Charge")
    case.user_override("Bob", "Free")
    lines = told(case.bill().body)
    assert lines[0] == ("Managed services, users", "Paid", "1", "100.00", "100.00")
    assert "without charge" not in str(lines)
    assert "Free" not in str(lines)


def test_taxes_stand_beside_the_net_sum_and_say_what_they_are_on(case):
    case.tax("hours", "9.975")
    case.tax("*", "19")
    body = case.bill().body
    assert taxes(body) == [
        ("Tax on labor, 9.975 % of 500.00", Decimal("49.88")),
        ("Tax, 19 % of 412.50", Decimal("78.38")),
    ]
    assert net(body) == Decimal("912.50")


def test_prepaid_and_late_hours_say_so(case):
    case.prepaid("2")
    assert told(case.bill().body)[-1][:2] == (
        "Hourly labor",
        "1 entry, 2025-10-05 to 2025-10-05, 2 h of them prepaid",
    )


def test_a_credit_note_groups_what_it_takes_back(case):
    case.tax("*", "10")
    body = case.bill().body
    note = credit_note(body)
    assert [line[2] for line in told(note)] == ["-2", "-1", "-1", "-1", "-1.5", "-3.3333"]
    assert [line[:2] for line in told(note)] == [line[:2] for line in told(body)]
    assert taxes(note) == [("Tax, 10 %", Decimal("-91.25"))]


def test_a_proof_says_where_the_document_stands():
    note = "billing.example.com/archive/log\n117\nabc=\n\n— signature\n"
    receipt = {"body": "sha256:x", "log_index": 107, "sealed_at": "2025-11-02T10:00:00Z", "checkpoint": note}
    found = Proof.of(receipt)
    assert (found.origin, found.size, found.root) == ("billing.example.com/archive/log", "117", "abc=")


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_groups_and_taxes_add_up_to_the_total(any_company, data):
    outcome = data.draw(any_company).outcome()
    if not isinstance(outcome, Bill):
        return
    for body in (outcome.body, *([credit_note(outcome.body)] if has_charges(outcome.body) else [])):
        digits = minor_digits(body["currency"])
        groups = grouped(body)
        whole = sum((group.amount for group in groups), ZERO)
        assert whole == net(body)
        assert whole + sum((amount for _, amount in taxes(body)), ZERO) == Decimal(body["totals"]["total"])
        for group in groups:
            assert round_half_up(group.quantity * group.rate, digits) == group.amount, group


def has_charges(body):
    return any(line["kind"] != "tax" for line in body["lines"])


def credit_note(body):
    standing = Standing(body, "sha256:" + "0" * 64, 0)
    made = compute_bill(credit_inputs(standing, Order("credit", "billed in error", None)), CORRECTIONS)
    assert isinstance(made, Bill)
    return made.body


@pytest.mark.parametrize("currency", ["JPY", "BHD"])
def test_rates_have_the_digits_of_the_currency(case, currency):
    case.plans = [case.plan(currency=currency)]
    case.facts["currency"] = currency
    assert str(grouped(case.bill().body)[0].rate) == {"JPY": "100", "BHD": "100.000"}[currency]
