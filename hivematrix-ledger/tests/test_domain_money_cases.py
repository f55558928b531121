"""Money as others publish it: each case with its source and what it has to come to, through the whole engine."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hivematrix_ledger.domain.corrections import Order, credit_inputs, standings
from hivematrix_ledger.domain.engines import CORRECTIONS, compute_bill
from hivematrix_ledger.domain.engines.v1.values import rounded

PRORATION = {
    # Kill Bill, invoice/.../proRations/inAdvance/monthly/TestProRation.java and TestTrailingProRation.java: the share
    # of a period of 1000 that is billed. Its periods begin on any day, ours on the first: a month with as many days
    # stands for each.
    "Kill Bill: SinglePlan_WithPhaseChange, a half": ("2011-02", ("10", "23"), "1000", "500.00"),
    "Kill Bill: SinglePlan_WithPhaseChange, the other half": ("2011-02", ("01", "14"), "1000", "500.00"),
    "Kill Bill: SinglePlan_CrossingYearBoundary, a whole period": ("2010-12", ("01", "31"), "1000", "1000.00"),
    "Kill Bill: SinglePlan_LeapYear_IncludingAllOfFebruary": ("2012-02", ("01", "29"), "1000", "1000.00"),
    "Kill Bill: SinglePlan_ChangeBCDTo31, 13/28": ("2011-02", ("01", "13"), "1000", "464.29"),
    "Kill Bill: SinglePlan_ChangeBCDTo31, 14/31": ("2011-03", ("01", "14"), "1000", "451.61"),
    "Kill Bill: SinglePlan_ChangeBCD, 13/31": ("2011-03", ("15", "27"), "1000", "419.35"),
    "Kill Bill: SinglePlan_LeapYearFebruaryProRation, 14/29": ("2012-02", ("01", "14"), "1000", "482.76"),
    "Kill Bill: PlanChange_BeforeBillingDay, 8/28": ("2011-02", ("07", "14"), "1000", "285.71"),
    "Kill Bill: PlanChange_AfterBillingDay, 3/31": ("2011-03", ("07", "09"), "1000", "96.77"),
    "Kill Bill: PlanChange_AfterBillingDay, 5/28": ("2011-02", ("10", "14"), "1000", "178.57"),
    "Kill Bill: PlanChange_DoubleProRation, 7/31": ("2011-01", ("25", "31"), "1000", "225.81"),
    "Kill Bill: StartTargetEnd, 2/31": ("2011-03", ("15", "16"), "1000", "64.52"),
    "Kill Bill: TrailingProRation, 8/31": ("2010-07", ("01", "08"), "1000", "258.06"),
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
    "a discount lowers the base: 100 and -10 at 25 %": (["100", "-10"], "25", "22.50"),
    "more is taken off than billed: 10 and -40 at 19 %": (["10", "-40"], "19", "-5.70"),
    "just below a tie: 0.49 at 5 %": (["0.49"], "5", "0.02"),
}
CURRENCIES = {
    # ISO 4217: JPY has no minor unit, BHD has 1000 fils.
    "JPY: 400 at 7.125 % is 28.5, up": ("JPY", "400", "7.125", "29"),
    "JPY: -400 at 7.125 %, away from zero": ("JPY", "-400", "7.125", "-29"),
    "JPY: 999 at 10 % is 99.9": ("JPY", "999", "10", "100"),
    "JPY: 994 at 10 % is 99.4": ("JPY", "994", "10", "99"),
    "BHD: 10.000 at 3.335 % is 0.3335, up": ("BHD", "10", "3.335", "0.334"),
    "BHD: -10.000 at 3.335 %, away from zero": ("BHD", "-10", "3.335", "-0.334"),
    "BHD: 0.005 at 10 % is 0.0005, up": ("BHD", "0.005", "10", "0.001"),
    "USD: 8.875 % of 100.40 is 8.9105": ("USD", "100.40", "8.875", "8.91"),
}
CREDITS = {
    # Lago, spec/scenarios/credit_notes/credit_note_rounding_spec.rb: what was not used of a plan is credited with its
    # part of the tax; the line is in two here, used and not used.
    "Lago: 29/30 of 200 at 25 %": (["193.33", "6.67"], "25", "50.00", [("-193.33", "-48.33", "-241.66")]),
    "Lago: 29/30 of 160 at 25 %": (["154.67", "5.33"], "25", "40.00", [("-154.67", "-38.67", "-193.34")]),
    "Lago: 6/7 of 29.99 at 23.33 %": (["25.71", "4.28"], "23.33", "7.00", [("-25.71", "-6.00", "-31.71")]),
    "Lago: 769.00 at 20 %, in two credit notes": (
        *(["726.86", "42.14"], "20", "153.80"),
        [("-726.86", "-145.37", "-872.23"), ("-42.14", "-8.43", "-50.57")],
    ),
    # Stripe Tax, "Refunds and credit notes": of 60 and 40 at 25 %, the first line is worth 75 with its tax.
    "Stripe: 60 of 60 and 40 at 25 %": (["60", "40"], "25", "25.00", [("-60.00", "-15.00", "-75.00")]),
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


def test_a_part_of_a_quarter():
    """Lago, spec/scenarios/commitments/minimum/in_arrears/calendar/quarterly_spec.rb: from 12 March on, 20 of a
    quarter's 91 days, of a commitment of 10,000.00 less the plan's 100.00 and usage of 30.00, leave 2,145.82. We bill
    no quarters: the arithmetic is a line's.
    """
    minimum, fee = (rounded(Fraction(price) * 20 / 91, 2) for price in (10_000, 100))
    assert (minimum, fee) == (Decimal("2197.80"), Decimal("21.98"))
    assert minimum - fee - 30 == Decimal("2145.82")


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


@pytest.mark.parametrize(("amounts", "percent", "tax", "notes"), CREDITS.values(), ids=CREDITS)
def test_a_credited_line_takes_its_tax_along(new_case, amounts, percent, tax, notes):
    """Each line is credited by a note of its own, one after the other: what they come to is the invoice."""
    case = new_case()
    for number, amount in enumerate(amounts):
        case.line_item(f"Item {number}", "recurring", amount, uid=f"i{number}")
    case.tax("item", percent)
    bill = case.bill()
    assert bill.body["totals"]["tax"] == tax
    sealed, made = [(bill.body, bill.digest)], []
    for place in range(len(notes)):
        standing = standings(sealed)[-1]
        note = compute_bill(credit_inputs(standing, Order("credit", "billed in error", (place,))), CORRECTIONS)
        made.append(tuple(note.body["totals"][kind] for kind in ("item", "tax", "total")))
        sealed.append((note.body, note.digest))
    assert made == notes
    if len(notes) == len(amounts):
        assert sum(Decimal(total) for *_, total in made) == -Decimal(bill.body["totals"]["total"])


def test_a_discount_stays_on_the_invoice(new_case):
    case = new_case()
    case.contact("Ann")
    case.manual_user("Discount", "Custom", "-25")
    assert case.totals()["user"] == "75.00"
    assert sum(Decimal(line["amount"]) for line in case.body()["lines"]) == Decimal("75.00")
