from datetime import date
from decimal import Decimal

import pytest
from hivematrix_codex.domain.entries import Entry, by_difference
from hivematrix_common.domain.errors import DomainError
from hypothesis import given, settings
from hypothesis import strategies as st

DAY = date(2025, 10, 5)
HOURS = st.decimals(min_value=0, max_value=50, places=4)


def entry(number: int, hours: str, day: date = DAY) -> Entry:
    return Entry(f"t1/{number}", "t1", day, Decimal(hours))


def test_a_rise_is_one_new_entry_dated_by_the_update_that_showed_it():
    made = by_difference("t1", [entry(1, "1.5")], Decimal(4), date(2025, 11, 2), accepted={"t1/1"})
    assert made.changed == (entry(2, "2.5", date(2025, 11, 2)),)
    assert made.unexplained == 0


def test_the_same_total_again_changes_nothing():
    assert by_difference("t1", [entry(1, "1.5")], Decimal("1.50"), DAY, accepted=()).changed == ()


def test_a_fall_takes_from_the_newest_entries_no_bill_holds_and_the_rest_is_a_finding():
    recorded = [entry(1, "2"), entry(2, "3"), entry(3, "1")]
    made = by_difference("t1", recorded, Decimal(1), DAY, accepted={"t1/1"})
    assert made.changed == (entry(3, "0"), entry(2, "0"))
    assert made.unexplained == 1


def test_a_negative_total_is_refused():
    with pytest.raises(DomainError, match="total: hours are never negative, got -1"):
        by_difference("t1", [], Decimal(-1), DAY, accepted=())


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(HOURS, st.booleans()), max_size=8))
def test_entries_always_add_up_to_the_total_and_accepted_ones_never_change(updates):
    stored: dict[str, Entry] = {}
    accepted: set[str] = set()
    for total, accept in updates:
        before = dict(stored)
        made = by_difference("t1", list(stored.values()), total, DAY, accepted)
        stored |= {changed.uid: changed for changed in made.changed}
        assert sum(e.hours for e in stored.values()) - made.unexplained == total
        assert all(e.hours >= 0 for e in stored.values())
        assert all(stored[uid] == before[uid] for uid in accepted)
        if accept:
            accepted |= set(stored)
