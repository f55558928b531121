"""Freshservice: what its records mean, its limits, what becomes of hours."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hivematrix_codex.models import assets, contacts, time_entries
from hivematrix_codex.providers.freshservice import mapping
from hivematrix_common.domain.errors import DomainError
from sqlalchemy import select, text
from vendors import as_json
from werkzeug.wrappers import Response


@pytest.fixture
def ticket(world):
    """A ticket of a known company with an hour and a half."""
    world.contoso = world.company("Contoso Dental", number="620547")
    ticket = world.ticket("Mail is slow", world.contoso.id)
    world.work(ticket, 90)
    return ticket


def hours(codex):
    query = select(time_entries.c.hours, time_entries.c.billable).order_by(time_entries.c.uid)
    return [tuple(row) for row in codex.db.session.execute(query)]


def test_a_limit_is_waited_for_as_long_as_it_says(synced, ticket, freshservice, waits):
    answers = [Response("{}", 429, {"Retry-After": "17"}), Response("{}", 503, {"Retry-After": "3"})]
    freshservice.instead = lambda _request: answers.pop() if answers else None
    assert synced.sync().status == "completed"
    assert waits == [3.0, 17.0]


def test_a_wait_without_end_is_not_waited_for(synced, ticket, freshservice, waits):
    freshservice.instead = lambda _request: Response("{}", 429, {"Retry-After": "86400"})
    outcome = synced.sync()
    assert outcome.report.errors[0].startswith("freshservice: answered 429, and asks to wait 86400 s")
    assert waits == []


def test_a_redirect_is_not_followed(synced, ticket, freshservice):
    freshservice.instead = lambda _request: Response("", 302, {"Location": "http://127.0.0.1:1/"})
    assert "answered 302" in synced.sync().report.errors[0]


@pytest.mark.parametrize("document", [[], {"departments": {}}, {"other": []}, None])
def test_an_answer_of_another_shape_is_no_answer(synced, ticket, freshservice, document):
    freshservice.instead = lambda request: as_json(document) if request.path.endswith("departments") else None
    outcome = synced.sync()
    assert outcome.status == "partial"
    assert "the answer has no departments" in outcome.report.errors[0]


def test_hours_that_cannot_be_fetched_are_named_and_fetched_next_time(synced, ticket, freshservice, world):
    freshservice.broken.add(f"/api/v2/tickets/{ticket.id}/time_entries")
    outcome = synced.sync()
    assert outcome.report.errors == [f"freshservice: GET /api/v2/tickets/{ticket.id}/time_entries: answered 500"]
    assert hours(synced) == []
    freshservice.broken.clear()
    world.now += timedelta(days=3)
    assert synced.sync().status == "completed"
    assert hours(synced) == [(Decimal("1.5"), True)]


def test_a_running_timer_is_taken_when_it_stops(synced, ticket, world):
    entry = world.work(ticket, 10, running=True)
    synced.sync()
    assert hours(synced) == [(Decimal("1.5"), True)]
    world.now += timedelta(days=2)
    entry.running, entry.minutes = False, 45
    synced.sync()
    assert hours(synced) == [(Decimal("1.5"), True), (Decimal("0.75"), True)]


def test_an_entry_that_was_changed_or_removed_there_is_so_here(synced, ticket, world):
    world.work(ticket, 20, billable=False)
    synced.sync()
    world.now += timedelta(days=1)
    ticket.entries.pop(0)
    ticket.entries[0].minutes = 40
    ticket.updated = world.now
    outcome = synced.sync()
    assert outcome.report.as_counts() == {"time_entries": {"change": 1, "retire": 1}}
    assert hours(synced) == [(Decimal(0), True), (Decimal("0.6667"), False)]


def test_an_entry_keeps_the_day_it_was_first_seen(synced, ticket, world):
    synced.sync()
    world.now += timedelta(days=40)
    ticket.entries[0].minutes = 100
    ticket.updated = world.now
    synced.sync()
    assert list(synced.db.session.scalars(select(time_entries.c.first_seen))) == [date(2025, 10, 1)]


def test_hours_go_with_their_ticket_to_another_company(synced, ticket, world):
    other = world.company("Fabrikam", number="183729")
    synced.sync()
    world.change(ticket, companies=[other.id])
    synced.sync()
    assert list(synced.db.session.scalars(select(time_entries.c.account_number))) == ["183729"]


def test_a_wrong_record_is_named_and_keeps_what_it_had(synced, ticket, world, freshservice):
    world.contact("Ada Green", [world.contoso.id])
    synced.sync()
    plain = freshservice._contacts
    freshservice._contacts = lambda one: plain(one) | {"department_ids": "none"}
    freshservice._tickets = lambda one: {"subject": "s", "department_id": one.companies[0], "created_at": "soon"}
    freshservice.entry = lambda one: {"id": one.id, "time_spent": "1,5", "executed_at": "2025-10-01T08:00:00Z"}
    outcome = synced.sync("full")
    assert sorted(outcome.report.errors) == [
        f"freshservice contacts {next(iter(world.kinds['contacts']))}: department_ids: expected a list of ids",
        f"freshservice tickets {ticket.id}: time entry {ticket.entries[0].id}: time_spent: expected HH:MM, got '1,5'",
    ]
    assert list(synced.db.session.scalars(select(contacts.c.active_to))) == [None]
    assert hours(synced) == [(Decimal("1.5"), True)]


def test_more_than_a_day_in_one_entry_is_named(synced, ticket, world):
    entry = world.work(ticket, 25 * 60)
    outcome = synced.sync()
    assert outcome.report.errors == [f"freshservice time_entries {entry.id}: hours: expected 24 or less, got 25.0000"]
    assert hours(synced) == [(Decimal("1.5"), True)]


def test_members_that_nobody_knows_are_passed_over(synced, ticket, freshservice):
    plain = freshservice._companies
    freshservice._companies = lambda one: plain(one) | {"new_member": {"deep": [1]}, "custom_fields": None}
    assert synced.sync().report.as_counts()["companies"] == {"add": 1}


def test_a_machine_that_stands_there_from_elsewhere_is_not_counted_twice(synced, world, ticket):
    codex = synced.db.session
    codex.execute(text("INSERT INTO companies (account_number, name, contract_term, status)"
                       " VALUES ('620547', 'Contoso Dental', 'Month to Month', 'active')"))  # fmt: skip
    codex.execute(assets.insert().values(uid="a1", account_number="620547", hostname="WS1", backup_bytes=0))
    world.asset("ws1", world.contoso.id)
    object.__setattr__(synced.settings.freshservice, "kinds", "companies assets")
    outcome = synced.sync()
    messages = [what["message"] for _, act, _, _, what in outcome.report.changes if act == "conflict"]
    assert messages == ["ws1 is there already as a1, from files or by hand: end one of the two"]
    codex.execute(assets.update().values(active_to=date(2025, 9, 30)))
    assert synced.sync().report.as_counts() == {"assets": {"add": 1}}


@pytest.mark.parametrize(
    ("record", "field"),
    [
        ({}, "name"),
        ({"name": "A"}, "id"),
        ({"name": {"x": 1}, "id": 1}, "name"),
    ],
)
def test_a_department_without_its_members_is_named(record, field):
    with pytest.raises(DomainError) as refused:
        mapping.told("companies", record, {})
    assert refused.value.field == field


@pytest.mark.parametrize(
    ("status", "more", "word"),
    [(2, {}, "open"), (5, {}, "closed"), (19, {}, "status 19"), (2, {"spam": True}, "spam"), (None, {}, "unknown")],
)
def test_a_tickets_status_in_words(status, more, word):
    told = mapping.told("tickets", {"id": 1, "status": status} | more, {})
    assert told.facts[0].cells["status"] == word
