"""Money as others publish it: each case with its source and what it has to come to, through the whole engine."""

from decimal import Decimal

import pytest
from hivematrix_ledger.domain.corrections import Order, credit_inputs, standings
from hivematrix_ledger.domain.engines import CORRECTIONS, compute_bill

PRORATION = {
    # Kill Bill, TestProRation (monthly, in advance, billing day 1): the share of 1000 that is billed.
    "Kill Bill: ChangeBCDTo31, 1 to 13 February 2011, 13/28": ("2011-02", ("01", "13"), "1000", "464.29"),
    "Kill Bill: PlanChange, 1 to 14 February 2011, a half": ("2011-02", ("01", "14"), "1000", "500.00"),
    "Kill Bill: LeapYearFebruary, 1 to 14 February 2012, 14/29": (*("2012-02", ("01", "14"), "1000", "482.76"),),
    "Kill Bill: TrailingProRation, 8/31": ("2010-07", ("01", "08"), "1000", "258.06"),
    "Kill Bill: PlanChange_AfterBillingDay, 3/31": ("2011-03", ("07", "09"), "1000", "96.77"),
    # Lago, guide "Upgrades and downgrades": plan A (100) to 14 January, then plan B (200), billed by calendar.
    "Lago: plan A, 14/31 of 100": ("2025-01", ("01", "14"), "100", "45.16"),
    "Lago: plan B, 17/31 of 200": ("2025-01", ("15", "31"), "200", "109.68"),
    # Stripe, "Prorations": half a period at 10 and half at 20.
    "Stripe: half of 10": ("2025-06", ("01", "15"), "10", "5.00"),
    "Stripe: half of 20": ("2025-06", ("16", "30"), "20", "10.00"),
}
TAX = {
    # EN 16931, BR-CO-17: a category's tax = its taxable amount x rate / 100, rounded once to the currency's digits.
    "EN 16931: three lines of 33.33 at 21 %, rounded once": (["33.33"] * 3, "21", "21.00"),
    "EN 16931: one line of 33.33 at 21 %": (["33.33"], "21", "7.00"),
    "EN 16931: two lines of 348.11 at 25 %, not 2 x 87.03": (["348.11"] * 2, "25", "174.06"),
    # Stripe Tax, "Refunds and credit notes": lines of 60 and 40 at 25 %.
    "Stripe: 60 and 40 at 25 %": (["60", "40"], "25", "25.00"),
    # The Quebec sales tax of two invoices as its revenue agency rounds it.
    "QST: 8180.00 at 9.975 %": (["8180"], "9.975", "815.96"),
    "half up, away from zero: -2.50 at 7 %": (["-2.50"], "7", "-0.18"),
    "a tie: 0.50 at 5 %": (["0.50"], "5", "0.03"),
    "a tie below zero: -0.50 at 5 %": (["-0.50"], "5", "-0.03"),
    "lines that cancel out": (["10", "-10"], "20", None),
}
CURRENCIES = {
    # ISO 4217: JPY has no minor unit, BHD has 1000 fils.
    "JPY: 400 at 7.125 % is 28.5, up": ("JPY", "400", "7.125", "29"),
    "JPY: -400 at 7.125 %, away from zero": ("JPY", "-400", "7.125", "-29"),
    "BHD: 10.000 at 3.335 % is 0.3335, up": ("BHD", "10", "3.335", "0.334"),
    "USD: 8.875 % of 100.40 is 8.9105": ("USD", "100.40", "8.875", "8.91"),
}
HOURS = {
    "three tenths of an hour, exactly": (["0.1", "0.1", "0.1"], "150", "0.3", "45.00"),
    "499.995 is a tie": (["3.3333"], "150", "3.3333", "500.00"),
    "1.0005 h at 10": (["1.0005"], "10", "1.0005", "10.01"),
    "1.0004 h at 10": (["1.0004"], "10", "1.0004", "10.00"),
}


@pytest.mark.parametrize(("month", "days", "price", "expected"), PRORATION.values(), ids=PRORATION)
def test_a_part_of_a_month(new_case, month, days, price, expected):
    begin, end = (f"{month}-{day}" for day in days)
    case = new_case()
    case.plans = [case.plan(valid_from="2000-01-01", count_policy="prorate_actual", rates={"per_user": price})]
    case.contact("Ann", active_from=begin, active_to=end)
    assert case.totals(month)["user"] == expected


@pytest.mark.parametrize(("amounts", "percent", "expected"), TAX.values(), ids=TAX)
def test_tax_of_a_category(new_case, amounts, percent, expected):
    case = new_case()
    for number, amount in enumerate(amounts):
        case.line_item(f"Item {number}", "recurring", amount, uid=f"i{number}")
    case.tax("item", percent)
    lines = [line["amount"] for line in case.body()["lines"] if line["kind"] == "tax"]
    assert lines == ([expected] if expected else [])


@pytest.mark.parametrize(("currency", "amount", "percent", "expected"), CURRENCIES.values(), ids=CURRENCIES)
def test_the_digits_of_a_currency(new_case, currency, amount, percent, expected):
    case = new_case()
    case.plans = [case.plan(currency=currency)]
    case.facts["currency"] = currency
    case.line_item("Item", "recurring", amount, uid="i")
    case.tax("*", percent)
    assert case.totals()["tax"] == expected


@pytest.mark.parametrize(("worked", "rate", "quantity", "expected"), HOURS.values(), ids=HOURS)
def test_hours_are_exact_and_rounded_once(new_case, worked, rate, quantity, expected):
    case = new_case()
    case.override("per_hour", rate)
    for hours in worked:
        case.entry(hours)
    [line] = case.body()["lines"]
    assert (line["quantity"], line["amount"]) == (quantity, expected)


def test_a_credited_line_takes_its_tax_along(new_case):
    """Stripe Tax, "Refunds and credit notes": of 60 and 40 at 25 %, the first line is worth 75 with its tax."""
    case = new_case()
    case.line_item("First", "recurring", "60", uid="i1")
    case.line_item("Second", "recurring", "40", uid="i2")
    case.tax("item", "25")
    bill = case.bill()
    standing = standings([(bill.body, bill.digest)])[-1]
    note = compute_bill(credit_inputs(standing, Order("credit", "billed in error", (0,))), CORRECTIONS)
    assert [line["amount"] for line in note.body["lines"]] == ["-60.00", "-15.00"]
    assert note.body["totals"]["total"] == "-75.00"


def test_a_discount_stays_on_the_invoice(new_case):
    case = new_case()
    case.contact("Ann")
    case.manual_user("Discount", "Custom", "-25")
    assert case.totals()["user"] == "75.00"
    assert sum(Decimal(line["amount"]) for line in case.body()["lines"]) == Decimal("75.00")
