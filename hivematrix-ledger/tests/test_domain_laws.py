"""What holds for every bill, whatever the company looks like."""

import csv
import random
from decimal import Decimal
from fractions import Fraction
from io import StringIO

import orjson
import pytest
from hivematrix_common.domain.canonical import canonical, digest, parse_strict
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.money import minor_digits, round_half_up
from hivematrix_ledger.domain.engines import compute_bill
from hivematrix_ledger.domain.engines.v1 import why
from hivematrix_ledger.domain.engines.v1.counting import share
from hivematrix_ledger.domain.engines.v1.months import month_named
from hivematrix_ledger.domain.engines.v1.prepaid import Bank, Settings
from hypothesis import given, settings
from hypothesis import strategies as st

KINDS = ("user", "asset", "backup", "hours", "item", "tax")


def rows_of(bill):
    return list(csv.DictReader(StringIO(bill.csv, newline="")))


@given(data=st.data())
@settings(max_examples=60, deadline=None)
def test_a_bill_adds_up_explains_itself_and_comes_out_again(any_company, data):
    case = data.draw(any_company)
    inputs = case.inputs()
    bill = compute_bill(inputs)
    check_sums(bill)
    check_csv(bill)
    for line in bill.body["lines"]:
        assert why.replay(line["why"]) == Decimal(line["amount"])
    assert bill.data == canonical(bill.body)
    assert bill.digest == digest(bill.data)
    assert bill.body["inputs_digest"] == digest(canonical(bill.body["inputs"]))
    assert bill.body["csv_sha256"] == digest(bill.csv.encode())
    assert compute_bill(parse_strict(bill.data)["inputs"]) == bill


def check_sums(bill):
    totals = {kind: Decimal(0) for kind in KINDS}
    for line in bill.body["lines"]:
        totals[line["kind"]] += Decimal(line["amount"])
    stated = {kind: Decimal(amount) for kind, amount in bill.body["totals"].items()}
    assert stated == totals | {"total": sum(totals.values())}
    assert sum((Decimal(row["Amount"]) for row in rows_of(bill)), Decimal(0)) == stated["total"]


def check_csv(bill):
    digits = minor_digits(bill.body["currency"])
    for row in rows_of(bill):
        assert round_half_up(Decimal(row["Qty"]) * Decimal(row["Rate"]), digits) == Decimal(row["Amount"])
        assert Decimal(row["Amount"]) != 0
        assert not row["Description"].startswith(("=", "+", "-", "@", "\t", "\r"))
        assert not row["Customer"].startswith(("=", "+", "-", "@", "\t", "\r"))


@given(data=st.data(), seed=st.integers(0, 2**32))
@settings(max_examples=40, deadline=None)
def test_the_order_of_the_input_does_not_matter(any_company, data, seed):
    inputs = data.draw(any_company).inputs()
    bill = compute_bill(inputs)
    shuffled = dict(inputs)
    for name, rows in inputs.items():
        if isinstance(rows, list):
            shuffled[name] = random.Random(seed).sample(rows, len(rows))
    assert compute_bill(shuffled) == bill


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_every_granted_hour_is_used_expired_or_left(any_company, data):
    prepaid = data.draw(any_company).body()["prepaid"]
    for account in (prepaid or {}).values():
        if account:
            amounts = {name: Decimal(account[name]) for name in ("granted", "used", "expired", "left")}
            assert amounts["granted"] == amounts["used"] + amounts["expired"] + amounts["left"]
            assert min(amounts.values()) >= 0


@given(
    takes=st.lists(st.tuples(st.integers(0, 11), st.decimals(0, 30, places=4)), max_size=20),
    rollover=st.integers(0, 11),
)
def test_a_bank_never_gives_more_than_it_holds(takes, rollover):
    bank = Bank(Settings(Decimal(5), Decimal(40), rollover, 24000), 24011)
    taken = [bank.take(24000 + month, hours) for month, hours in sorted(takes, key=lambda take: take[0])]
    assert sum((part.pool for part in taken), Decimal(0)) == 40 - bank.pool_left
    assert sum((sum(hours for _, hours in part.monthly) for part in taken), Decimal(0)) == sum(
        bank.granted.values()
    ) - sum(bank.left.values())
    assert min(bank.left.values()) >= 0
    assert bank.pool_left >= 0
    assert all(wanted >= part.hours for (_, wanted), part in zip(sorted(takes, key=lambda t: t[0]), taken, strict=True))


@given(st.integers(1, 31), st.integers(1, 31), st.integers(1, 31), st.decimals(0, 1000, places=4))
def test_proration_of_two_parts_is_that_of_the_whole_before_rounding(a, b, c, rate):
    first, middle, last = sorted((a, b, c))
    month = month_named("2025-10")

    def cost(begin, end):
        part = share("prorate_actual", f"2025-10-{begin:02}", f"2025-10-{end - 1:02}", month) if begin < end else None
        return Fraction(rate) * part.part / part.whole if part else Fraction(0)

    assert cost(first, middle) + cost(middle, last) == cost(first, last)


@pytest.mark.parametrize(
    "formula",
    ["", "1 +", "1 + 1", "(1", "(1 +)", "1 × × 2", "1 / 0", "abc", "1 2", "--1", "1e5"],  # noqa: RUF001
)
def test_a_formula_that_cannot_be_read_is_refused(formula):
    with pytest.raises(DomainError, match=r"why\.formula"):
        why.evaluate(formula)


@pytest.mark.parametrize("change", [{"exact": "1"}, {"rounding": "half_even 2"}, {"rounding": "half_up x"}])
def test_a_why_that_contradicts_itself_is_refused(case, change):
    (line, *_) = case.body()["lines"]
    with pytest.raises(DomainError, match=r"why\."):
        why.replay(line["why"] | change)


def test_the_sealed_inputs_are_plain_json_without_floats(case):
    assert parse_strict(case.bill().data) == orjson.loads(case.bill().data)
