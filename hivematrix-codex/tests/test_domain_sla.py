"""Open tickets stand where somebody has to act, and nothing is told that nobody knows."""

from datetime import UTC, datetime, timedelta

import pytest
from hivematrix_codex.domain.sla import Due, Section, placed

NOW = datetime(2025, 11, 2, 12, tzinfo=UTC)
UNKNOWN = dict.fromkeys(["priority", "first_responded_at", "agent_responded_at", "fr_due_by", "last_updated_at"])


def ticket(uid="t1", status="open", **known):
    return UNKNOWN | {"uid": uid, "status": status} | known


def hours(number):
    return NOW + timedelta(hours=number)


@pytest.mark.parametrize(
    ("left", "due"),
    [(-0.1, Due.BREACHED), (3.9, Due.CRITICAL), (4, Due.WARNING), (11.9, Due.WARNING), (12, Due.IN_TIME)],
)
def test_a_ticket_without_an_answer_is_as_urgent_as_the_time_that_is_left(left, due):
    [one] = placed([ticket(fr_due_by=hours(left))], NOW)
    assert (one.section, one.first_response) == (Section.NEEDS_RESPONSE, due)


@pytest.mark.parametrize("answer", ["first_responded_at", "agent_responded_at"])
def test_an_answered_ticket_needs_no_first_response(answer):
    [one] = placed([ticket(fr_due_by=hours(-5), **{answer: hours(-6)})], NOW)
    assert (one.section, one.first_response) == (Section.OTHER, Due.RESPONDED)


def test_where_nobody_said_when_an_answer_is_due_it_is_unknown():
    [one] = placed([ticket(priority="urgent")], NOW)
    assert (one.section, one.first_response, one.overdue_by) == (Section.OTHER, Due.UNKNOWN, None)


def test_a_reply_of_the_customer_comes_before_what_is_overdue():
    [one] = placed([ticket(status="customer_replied", priority="low", last_updated_at=hours(-1000))], NOW)
    assert one.section == Section.CUSTOMER_REPLIED


@pytest.mark.parametrize(("priority", "within"), [("urgent", 0.5), ("high", 48), ("medium", 72), ("low", 96)])
def test_each_priority_has_its_time_to_be_looked_at(priority, within):
    [kept] = placed([ticket(priority=priority, last_updated_at=hours(-within))], NOW)
    [late] = placed([ticket(priority=priority, last_updated_at=hours(-within - 1))], NOW)
    assert (kept.section, kept.overdue_by) == (Section.OTHER, None)
    assert (late.section, late.overdue_by) == (Section.UPDATE_OVERDUE, timedelta(hours=1))


@pytest.mark.parametrize("status", ["resolved", "closed", "spam", "deleted", "billing_complete"])
def test_a_settled_ticket_waits_for_nobody(status):
    assert placed([ticket(status=status, fr_due_by=hours(-5))], NOW) == []


def test_the_most_urgent_stand_first():
    tickets = [
        ticket("late", priority="low", last_updated_at=hours(-100)),
        ticket("later", priority="low", last_updated_at=hours(-200)),
        ticket("soon", fr_due_by=hours(1)),
        ticket("over", fr_due_by=hours(-1)),
        ticket("rest"),
    ]
    assert [one.ticket["uid"] for one in placed(tickets, NOW)] == ["over", "soon", "later", "late", "rest"]
