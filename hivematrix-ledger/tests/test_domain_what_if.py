"""A bill supposed otherwise: the same engine on changed inputs, and the inputs stay as they are."""

import copy
from decimal import Decimal

import pytest
from hivematrix_common.domain.errors import DomainError
from hivematrix_ledger.domain.engines import NoBill, compute_bill
from hivematrix_ledger.domain.inputs import PlanBook
from hivematrix_ledger.domain.what_if import COUNTED, Supposed, supposing
from hypothesis import given, settings
from hypothesis import strategies as st


@pytest.fixture
def suppose(case):
    def made(*plans, **supposed):
        inputs = case.inputs()
        before = copy.deepcopy(inputs)
        changed = supposing(inputs, Supposed(**supposed), PlanBook([*case.plans, *plans]))
        assert inputs == before
        return compute_bill(changed)

    return made


def total(bill):
    return bill.body["totals"]["total"]


def test_nothing_supposed_is_the_bill(case, suppose):
    assert suppose() == case.bill()


def test_another_plan(case, suppose):
    assert total(suppose(case.plan(name="Silver", rates={"per_user": "80"}), plan="Silver")) == "872.50"


def test_another_plan_goes_before_one_of_the_company_s_own(case, suppose):
    case.override("billing_plan", "Gold")
    assert suppose(case.plan(name="Silver", rates={"per_user": "80"}), plan="Silver").body["billing_plan"] == "Silver"


def test_a_plan_that_is_not_there_is_told(suppose):
    outcome = suppose(plan="Bronze")
    assert isinstance(outcome, NoBill)
    assert outcome.reason == "no plan 'Bronze' with term '1 Year' is valid on 2025-10-31"


def test_another_term(case, suppose):
    assert total(suppose(case.plan(term="3 Year", rates={"per_user": "90"}), term="3-year")) == "892.50"


def test_more_and_fewer_of_a_type(suppose):
    assert total(suppose(counts={"user": 5})) == "1212.50"
    assert total(suppose(counts={"workstation": 3, "server": 0})) == "745.00"  # and its backup goes with the server
    assert [line["name"] for line in suppose(counts={"user": 1}).body["lines"] if line["kind"] == "user"] == ["Ann"]


def test_a_rate_of_its_own_and_one_taken_away(case, suppose):
    case.override("per_user", "50")
    assert total(suppose(overrides={"per_hour": "100"})) == "645.83"
    assert total(suppose(overrides={"per_user": None})) == "912.50"
    assert total(suppose(overrides={"per_user": "0"})) == "712.50"


def test_more_hours(suppose):
    assert total(suppose(hours="1")) == "1062.50"


@pytest.mark.parametrize(
    ("supposed", "message"), [({"term": "4 Year"}, "4 Year"), ({"counts": {"printer": 1}}, "expected one of user")]
)
def test_what_cannot_be_is_refused(suppose, supposed, message):
    with pytest.raises(DomainError, match=message):
        suppose(**supposed)


@given(data=st.data(), counts=st.dictionaries(st.sampled_from(sorted(COUNTED)), st.integers(0, 12)))
@settings(max_examples=60, deadline=None)
def test_as_many_are_billed_as_were_supposed(any_company, data, counts):
    case = data.draw(any_company)
    bill = compute_bill(supposing(case.inputs(), Supposed(counts=counts), PlanBook(case.plans)))
    names = {"user": "user_paid"}
    found = {name: bill.body["counts"][names.get(name, name)] for name in counts}
    assert found == counts
    assert sum(Decimal(line["amount"]) for line in bill.body["lines"]) == Decimal(total(bill))
