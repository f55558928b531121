from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hivematrix_codex.domain.merging import gone, left_since, merge, plain, too_many


@pytest.mark.parametrize(
    ("here", "said", "new", "then", "kept"),
    [
        ("A", "A", "B", "B", 0),  # the provider changed it
        ("A", "A", "A", "A", 0),  # nobody did
        ("H", "A", "A", "H", 1),  # a person did
        ("H", "A", "B", "H", 1),  # both did
        ("B", "A", "B", "B", 0),  # both, to the same
        (None, "A", "B", None, 1),  # a person emptied it
        ("A", None, "B", "A", 1),  # it was empty there: what stands here is a person's
        (None, None, "B", "B", 0),
    ],
)
def test_what_the_provider_changed_is_taken_and_what_a_person_changed_stays(here, said, new, then, kept):
    merged = merge({"x": here, "other": 1}, {"x": said}, {"x": new})
    assert (merged.values, len(merged.kept)) == ({"x": then, "other": 1}, kept)


@pytest.mark.parametrize(("here", "then"), [(None, "B"), ("A", "A")])
def test_a_row_older_than_the_provider_keeps_what_it_has(here, then):
    assert merge({"x": here}, None, {"x": "B"}).values == {"x": then}


def test_a_pinned_value_stays_though_it_is_what_the_provider_said():
    row = {"billing_type": "Server", "billing_type_pinned": True}
    merged = merge(row, {"billing_type": "Server"}, {"billing_type": "Workstation"})
    assert (merged.changes, merged.kept[0].there) == ({}, "Workstation")


@pytest.mark.parametrize(
    ("kind", "row", "said"),
    [
        ("contacts", {"active_from": "2025-01-01"}, {"active_to": "2025-10-31"}),
        ("assets", {"active_from": "2025-11-02"}, {"active_to": "2025-11-02"}),
        ("companies", {}, {"status": "retired"}),
        ("tickets", {}, {"status": "deleted"}),
        ("time_entries", {}, {"hours": "0"}),
    ],
)
def test_what_is_gone_ended_today_and_stays(kind, row, said):
    assert gone(kind, row, date(2025, 10, 31)) == said


def test_who_left_is_gone_since_it_was_said_first():
    assert left_since({"active_to": "2025-10-02"}, {"active_to": "2025-11-20"}) == {"active_to": "2025-10-02"}
    assert left_since({"active_to": "2025-10-02"}, {"active_to": None}) == {"active_to": None}
    assert left_since(None, {"active_to": "2025-11-20"}) == {"active_to": "2025-11-20"}


@pytest.mark.parametrize(
    ("number", "known", "expected"), [(5, 6, False), (6, 60, False), (6, 59, True), (10, 100, False), (11, 100, True)]
)
def test_a_tenth_may_go_and_five_always_may(number, known, expected):
    assert too_many(number, known, percent=10, free=5) is expected


@pytest.mark.parametrize(
    ("value", "form"),
    [
        (Decimal("1.5000"), "1.5"),
        (Decimal("0.0000"), "0"),
        (Decimal(10), "10"),
        (date(2025, 10, 1), "2025-10-01"),
        (datetime(2025, 10, 1, 8, tzinfo=UTC), "2025-10-01T08:00:00+00:00"),
        (True, True),
        (None, None),
    ],
)
def test_a_value_has_one_plain_form(value, form):
    assert plain(value) == form
