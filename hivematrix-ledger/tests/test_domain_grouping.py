"""A bill's lines as people read them: every line in one group, and the groups come to the total."""

from decimal import Decimal

from hivematrix_ledger.domain.engines import Bill, compute_bill
from hivematrix_ledger.domain.grouping import group_at, sections
from hypothesis import assume, given
from hypothesis import strategies as st


def words(case):
    return {section.word: [group.word for group in section.groups] for section in sections(case.body())}


def test_what_is_alike_stands_together(case):
    case.asset("WS2", "Workstation")
    found = sections(case.body())
    assert words(case) == {
        "Users": ["Paid"],
        "Assets": ["Server", "Workstation"],
        "Backup": ["Server Backup Base", "Backup Overage (TB)"],
        "Hours": ["Billable hours"],
    }
    workstations = found[1].groups[1]
    assert (workstations.quantity_text, workstations.rate, workstations.amount) == ("2", "15", Decimal(30))


def test_what_has_a_price_of_its_own_stands_alone(case):
    case.asset_override("WS1", "Custom", "7")
    case.asset("WS2", "Workstation")
    case.manual_asset("WS3", "Custom", "7")
    assert words(case)["Assets"] == ["Server", "Custom: WS1", "Workstation", "Custom: WS3"]


def test_an_override_and_a_share_of_the_month_are_named(case):
    case.plans = [case.plan(count_policy="prorate_actual")]
    case.override("per_user", "90")
    case.contact("Cleo", active_from="2025-10-22")
    assert words(case)["Users"] == ["Paid, rate by override", "Paid, rate by override, 10 of 31 days"]


def test_a_group_is_found_by_its_first_line_only(case):
    body = case.body()
    assert group_at(body, 0).places == [0, 1]
    assert group_at(body, 1) is None
    assert group_at(body, 99) is None


@given(data=st.data())
def test_no_line_is_lost_and_the_sums_are_exact(any_company, data):
    outcome = compute_bill(data.draw(any_company).inputs())
    assume(isinstance(outcome, Bill))
    found = sections(outcome.body)
    places = [place for section in found for group in section.groups for place in group.places]
    assert sorted(places) == list(range(len(outcome.body["lines"])))
    for section in found:
        assert sum(group.amount for group in section.groups) == section.total
    assert sum(section.total for section in found) == Decimal(outcome.body["totals"]["total"])
