"""Corrections: credits take back what was billed, to the cent and no further; every hour is on one bill at a time."""

import csv
from decimal import Decimal
from fractions import Fraction
from io import StringIO

import pytest
from hivematrix_common.domain.canonical import canonical, digest
from hivematrix_common.domain.credits import exceeded
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.money import minor_digits, round_half_up
from hivematrix_ledger.domain import corrections
from hivematrix_ledger.domain.acceptance import entry_uids
from hivematrix_ledger.domain.corrections import ExceededError, Order, standings
from hivematrix_ledger.domain.engines import CORRECTIONS, compute_bill
from hivematrix_ledger.domain.engines.v1 import why
from hivematrix_ledger.domain.recurring import recurring
from hypothesis import assume, given, settings
from hypothesis import strategies as st

amounts = st.decimals(-500, 500, places=4).map(lambda value: format(value, "f"))
positive = st.decimals(0, 500, places=4).map(lambda value: format(value, "f"))
percents = st.decimals(0, 40, places=3).map(lambda value: format(value, "f"))


class Month:
    """A company's month as the archive would hold it: its documents in their order."""

    def __init__(self, bill):
        self.documents = [(bill.body, bill.digest)]

    @property
    def standing(self):
        return standings(self.documents)[-1]

    def credit(self, *lines, reason="billed in error"):
        return self._seal_note(Order("credit", reason, lines or None))

    def replace(self, inputs, reason="a newcomer was missing"):
        order = Order("replace", reason)
        standing, place = self.standing, 1
        if standing.left:
            self._seal_note(order)
            place = 2
        bill = compute_bill(inputs | {"correction": corrections.correction(standing, order, place)}, CORRECTIONS)
        return self._seal(bill)

    def _seal_note(self, order):
        note = compute_bill(corrections.credit_inputs(self.standing, order), CORRECTIONS)
        corrections.check_credit(self.standing, note.body)
        return self._seal(note)

    def _seal(self, bill):
        assert bill.body["invoice_number"] == f"{self.documents[0][0]['invoice_number']}-C{len(self.documents)}"
        assert bill.data == canonical(bill.body)
        assert bill.digest == digest(bill.data)
        self.documents.append((bill.body, bill.digest))
        return bill


def totals(body):
    return {kind: Decimal(amount) for kind, amount in body["totals"].items()}


def check_document(bill):
    """What holds for every document that the archive takes."""
    sums = dict.fromkeys(("user", "asset", "backup", "hours", "item", "tax"), Decimal(0))
    for line in bill.body["lines"]:
        sums[line["kind"]] += Decimal(line["amount"])
        assert why.replay(line["why"]) == Decimal(line["amount"])
    assert totals(bill.body) == sums | {"total": sum(sums.values())}
    digits = minor_digits(bill.body["currency"])
    rows = list(csv.DictReader(StringIO(bill.csv, newline="")))
    for row in rows:
        assert round_half_up(Decimal(row["Qty"]) * Decimal(row["Rate"]), digits) == Decimal(row["Amount"]) != 0
        assert row["InvoiceNo"] == bill.body["invoice_number"]
    assert sum((Decimal(row["Amount"]) for row in rows), Decimal(0)) == totals(bill.body)["total"]
    assert bill.body["csv_sha256"] == digest(bill.csv.encode())
    assert compute_bill(bill.body["inputs"], bill.body["engine"]["version"]) == bill


@pytest.fixture
def month(case):
    case.tax("user", "19")
    return Month(case.bill())


def test_a_credit_of_everything_is_the_exact_negation(month):
    note = month.credit()
    original = month.documents[0][0]
    assert note.body["kind"] == "credit_note"
    assert note.body["corrects"] == {"invoice_number": "620547-202510", "body": month.documents[0][1]}
    assert [(line["kind"], line["name"], line["uids"]) for line in note.body["lines"]] == [
        (line["kind"], line["name"], line["uids"]) for line in original["lines"]
    ]
    negated = [str(-Decimal(line["amount"])) for line in original["lines"]]
    assert [line["amount"] for line in note.body["lines"]] == negated
    assert note.body["totals"]["total"] == "-950.50"
    assert note.body["counts"] == {"user": 2, "asset": 2, "billable_hours": "-3.3333"}
    check_document(note)


def test_a_credited_line_takes_its_part_of_the_tax_with_it(month):
    note = month.credit(0)
    assert [(line["kind"], line["quantity"], line["rate"], line["amount"]) for line in note.body["lines"]] == [
        ("user", "-1", "100", "-100.00"),
        ("tax", "-1", "19.00", "-19.00"),
    ]
    assert note.body["lines"][1]["why"]["formula"] == "-1 \u00d7 38 \u00d7 100 / 200"
    assert note.body["lines"][1]["why"]["basis"] == {"invoice_number": "620547-202510", "line": 7}
    check_document(note)


def test_untaxed_lines_are_credited_without_tax(month):
    assert month.credit(2).body["totals"] | {"asset": ""} == {
        **dict.fromkeys(("user", "backup", "hours", "item", "tax"), "0.00"),
        "asset": "",
        "total": "-125.00",
    }


def test_the_reason_and_the_way_it_was_corrected_stand_in_the_body(month):
    body = month.credit(0, reason="Ann left in September").body
    assert body["reason"] == "Ann left in September"
    assert body["inputs"]["correction"]["mode"] == "credit"
    assert body["engine"] == {"name": "hivematrix-ledger", "version": 2}


def test_a_replacement_credits_what_is_left_and_is_the_recomputed_bill(month, case):
    month.credit(0)
    case.contact("Newcomer")
    month.replace(case.inputs())
    rest, replacement = month.documents[-2][0], month.documents[-1][0]
    assert 0 not in rest["inputs"]["lines"]
    assert totals(month.documents[0][0])["total"] + totals(month.documents[1][0])["total"] + totals(rest)["total"] == 0
    assert replacement["invoice_number"] == "620547-202510-C3"
    assert replacement["corrects"]["invoice_number"] == rest["corrects"]["invoice_number"] == "620547-202510"
    assert replacement["totals"] == case.totals()
    assert month.standing.invoice is replacement
    assert month.standing.credited == {}


def test_a_replacement_can_be_corrected_like_any_invoice(month, case):
    month.replace(case.inputs())
    note = month.credit()
    assert note.body["corrects"]["invoice_number"] == "620547-202510-C2"
    assert note.body["invoice_number"] == "620547-202510-C3"
    assert month.standing.is_void


def test_nothing_is_credited_twice(month):
    month.credit(0, 3)
    with pytest.raises(ExceededError, match="credited before are 0; left are 1, 2, 4, 5, 6"):
        month.credit(0, 1)
    with pytest.raises(ExceededError, match="credited before are 0, 3"):
        month.credit()
    month.credit(*month.standing.left)
    with pytest.raises(ExceededError, match="left are none"):
        month.credit()


def test_a_line_that_is_not_there_is_named(month):
    with pytest.raises(DomainError, match="has 8 lines, counted from 0; got 8"):
        month.credit(0, 8)


def test_tax_is_credited_with_the_lines_it_is_on(month):
    with pytest.raises(DomainError, match=r"line 7 is tax: it follows the lines it is on \(0, 1\)"):
        month.credit(0, 7)
    assert month.credit(0, 1, 7).body["totals"]["tax"] == "-38.00"


def test_a_line_that_others_offset_is_not_credited_alone(new_case):
    case = new_case()
    case.line_item("Project", "recurring", "1000")
    case.line_item("Goodwill", "recurring", "-900")
    month = Month(case.bill())
    at = [line["name"] for line in month.standing.lines].index("Project")
    with pytest.raises(ExceededError, match=r"item 100\.00 left, credited 1000\.00"):
        month.credit(at)
    with pytest.raises(ExceededError, match=r"item 100\.00 left, credited -900\.00"):
        month.credit(1 - at)
    assert month.credit(0, 1).body["totals"]["total"] == "-100.00"


def test_what_recurs_is_taken_back_with_its_lines(new_case):
    case = new_case()
    case.line_item("Line", "recurring", "10", uid="i1")
    case.line_item("Setup", "one_off", "500", uid="i2", period="2025-10")
    month = Month(case.bill())
    at = {line["name"]: place for place, line in enumerate(month.standing.lines)}
    assert recurring(month.credit(at["Setup"]).body) == 0
    assert recurring(month.credit(at["Line"]).body) == -10


def test_an_invoice_without_charges_has_nothing_to_credit_and_can_be_replaced(new_case):
    case = new_case()
    month = Month(case.bill())
    with pytest.raises(ExceededError, match="nothing to credit"):
        month.credit()
    case.contact("Forgotten")
    assert month.replace(case.inputs()).body["invoice_number"] == "620547-202510-C1"


def test_the_hours_of_a_void_invoice_are_nobodys(month):
    assert month.standing.settled().uids == ["e-1"]
    month.credit(0)
    assert month.standing.settled().uids == ["e-1"]
    month.credit(*month.standing.left)
    settled = month.standing.settled()
    assert (settled.entries, settled.prepaid_taken, settled.prepaid_pool) == ([], [], "0")


def test_what_was_asked_is_known_again_by_what_was_made(month, case):
    part, whole = Order("credit", "x", (0,)), Order("credit", "x")
    made = [month.credit(0, reason="x").body]
    assert corrections.is_same(part, made)
    assert not corrections.is_same(whole, made)
    assert not corrections.is_same(Order("credit", "y", (0,)), made)
    assert not corrections.is_same(Order("replace", "x"), made)
    month.replace(case.inputs(), reason="x")
    made = [body for body, _ in month.documents[-2:]]
    assert corrections.is_same(Order("replace", "x"), made)
    assert not corrections.is_same(whole, made)
    assert not corrections.is_same(whole, [])


@pytest.mark.parametrize(
    ("left", "credit", "found"),
    [("10", "-10", []), ("10", "-10.01", ["x"]), ("10", "0.01", ["x"]), ("-5", "5", []), ("-5", "5.01", ["x"]),
     ("0", "0", []), ("0", "-1", ["x"])],
)  # fmt: skip
def test_a_credit_leaves_between_nothing_and_what_was_left(left, credit, found):
    assert exceeded({"x": Decimal(left)}, {"x": Decimal(credit)}) == found


def test_a_credit_never_raises_what_is_owed(new_case):
    case = new_case()
    for name, fee in (("Licence", "100"), ("Support", "50"), ("Discount", "-20")):
        case.line_item(name, "recurring", fee)
    month = Month(case.bill())
    places = {line["name"]: at for at, line in enumerate(month.standing.lines)}
    month.credit(places["Licence"])
    with pytest.raises(ExceededError, match=r"item 30\.00 left, credited -20\.00"):
        month.credit(places["Discount"])
    month.credit(places["Discount"], places["Support"])
    assert month.standing.is_void


@st.composite
def bills(draw, new_case):
    """A month of any kinds of charges, discounts among them, with tax."""
    case = new_case()
    currency = draw(st.sampled_from(["USD", "USD", "JPY", "BHD"]))
    case.plans = [case.plan(currency=currency, rates={"per_user": draw(positive), "per_hour": draw(positive)})]
    case.facts["currency"] = currency
    for n in range(draw(st.integers(0, 4))):
        case.contact(f"P{n}")
    for n, fee in enumerate(draw(st.lists(amounts, max_size=4))):
        case.line_item(f"I{n}", "recurring", fee)
    for hours in draw(st.lists(positive, max_size=2)):
        case.entry(hours)
    for category in draw(st.sets(st.sampled_from(["user", "item", "*"]))):
        case.tax(category, draw(percents))
    return case.bill()


@pytest.fixture(scope="session")
def any_bill(new_case):
    return bills(new_case)


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_a_credit_of_all_lines_and_the_invoice_are_nothing_per_kind_and_in_tax(any_bill, data):
    bill = data.draw(any_bill)
    assume(bill.body["lines"])
    note = Month(bill).credit()
    check_document(note)
    assert {kind: totals(bill.body)[kind] + amount for kind, amount in totals(note.body).items()} == dict.fromkeys(
        totals(bill.body), 0
    )
    assert [-Decimal(line["amount"]) for line in note.body["lines"]] == [
        Decimal(line["amount"]) for line in bill.body["lines"]
    ]


@given(data=st.data())
@settings(max_examples=80, deadline=None)
def test_partial_credits_never_exceed_and_together_are_the_whole(any_bill, data):
    bill = data.draw(any_bill)
    month = Month(bill)
    for at in data.draw(st.permutations(month.standing.left)):
        try:
            note = month.credit(at)
        except ExceededError:
            continue
        check_document(note)
        check_within(bill.body, [body for body, _ in month.documents[1:]])
        check_proportion(bill.body, note.body)
    if month.standing.left:
        check_document(month.credit(*month.standing.left))
    credited = [totals(body) for body, _ in month.documents[1:]]
    for kind, amount in totals(bill.body).items():
        assert amount + sum(total[kind] for total in credited) == 0


def check_within(original, notes):
    for kind, billed in totals(original).items():
        left = billed + sum(totals(note)[kind] for note in notes)
        assert min(billed, 0) <= left <= max(billed, 0), kind


def check_proportion(original, note):
    """A part of a tax is at most a cent away from its exact share, whatever was credited before."""
    cent = Fraction(1, 10 ** minor_digits(original["currency"]))
    for line in note["lines"]:
        if line["kind"] == "tax":
            tax = original["lines"][line["why"]["basis"]["line"]]
            kinds = tax["why"]["basis"]["kinds"]
            base = [Fraction(one["amount"]) for one in original["lines"] if one["kind"] in kinds]
            part = sum(Fraction(one["amount"]) for one in note["lines"] if one["kind"] in kinds)
            share = Fraction(tax["amount"]) * part / sum(base)
            assert abs(Fraction(line["amount"]) - share) <= cent * len(base)


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_whatever_is_corrected_every_hour_is_on_one_bill_at_a_time(new_case, data):
    """Months are accepted, credited and replaced in any order; what was worked is billed once, or is still to come."""
    case = new_case()
    case.prepaid(monthly=data.draw(positive), yearly=data.draw(positive), rollover_months=data.draw(st.integers(0, 2)))
    periods = [f"2025-{number:02}" for number in range(1, 7)]
    months = {}
    for _ in range(data.draw(st.integers(1, 12))):
        period = data.draw(st.sampled_from(periods))
        if data.draw(st.booleans()):
            case.entry(data.draw(positive), worked_on=f"{period}-10", uid=f"e-{len(case.facts['entries'])}")
        if period not in months:
            months[period] = Month(case.bill(period))
        elif data.draw(st.booleans()) and months[period].standing.left:
            months[period].credit(*months[period].standing.left)
        else:
            case.billed -= set(months[period].standing.settled().uids)
            months[period].replace(case.inputs(period))
        note(case, months)
        check_hours(case, months)


def note(case, months):
    """What Ledger knows of the months: it is made from the sealed documents alone."""
    case.rows.accepted, case.billed = {}, set()
    for period, month in months.items():
        settled = month.standing.settled()
        case.rows.accepted[period] = {
            "period": period,
            "state": "accepted",
            "monthly": settled.prepaid_monthly,
            "taken": settled.prepaid_taken,
            "pool": settled.prepaid_pool,
        }
        assert not case.billed & set(settled.uids), "an hour is on two bills"
        case.billed |= set(settled.uids)


def check_hours(case, months):
    hours = {entry["uid"]: Decimal(entry["hours"]) for entry in case.facts["entries"]}
    for month in months.values():
        invoice, void = month.standing.invoice, month.standing.is_void
        assert set(entry_uids(invoice)) <= hours.keys()
        assert (month.standing.settled().entries == []) or not void
    in_force = [month.standing.invoice for month in months.values() if not month.standing.is_void]
    worked = sum(Decimal(body["counts"]["hours"]) + Decimal(body["counts"]["late_hours"]) for body in in_force)
    assert worked == sum(hours[uid] for uid in case.billed)
    taken = sum(Decimal(body["counts"]["prepaid_used"]) for body in in_force)
    billed = sum(Decimal(body["counts"]["billable_hours"]) for body in in_force)
    assert taken + billed == worked
    pool = sum(Decimal(row["pool"]) for row in case.rows.accepted.values())
    assert pool <= Decimal(case.rows.prepaid["yearly"])
    allowance: dict[str, Decimal] = {}
    for row in case.rows.accepted.values():
        for part in row["taken"]:
            allowance[part["month"]] = allowance.get(part["month"], Decimal(0)) + Decimal(part["hours"])
    assert all(used <= Decimal(case.rows.prepaid["monthly"]) for used in allowance.values())
