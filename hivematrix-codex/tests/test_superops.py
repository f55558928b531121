"""SuperOps: its limits and refusals, which come with status 200, and hours by worklog or by total."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hivematrix_codex.app import create_app
from hivematrix_codex.config import CodexSettings
from hivematrix_codex.models import time_entries
from hivematrix_codex.services import syncing
from sqlalchemy import select
from vendors import SuperopsServer, as_json


@pytest.fixture
def superops(world, waits):
    vendor = SuperopsServer(world)
    vendor.start()
    yield vendor
    vendor.stop()


@pytest.fixture
def asking(service, set_clock, superops):
    """`asking(hours="totals")`: Codex that asks SuperOps by `sync()`."""

    def make(**conf):
        conf = {"url": superops.url, "api_token": superops.TOKEN, "subdomain": superops.SUBDOMAIN} | conf
        set_clock("2025-11-02T10:00:00Z")
        made = service(CodexSettings, create_app, sections={"superops": conf})

        def sync(mode="incremental"):
            set_clock(superops.world.now.isoformat())
            [outcome] = syncing.sync(made.settings, ["superops"], mode, asked_by="test")
            return outcome

        made.sync = sync
        return made

    return make


@pytest.fixture
def ticket(world):
    """A ticket of a known client with an hour and a half."""
    ticket = world.ticket("Mail is slow", world.company("Contoso", number="620547").id)
    world.work(ticket, 90)
    return ticket


def entries(codex):
    columns = (time_entries.c.worked_on, time_entries.c.hours)
    return [tuple(row) for row in codex.db.session.execute(select(*columns).order_by(*columns))]


def test_too_many_calls_are_told_with_200_and_waited_for(asking, superops, ticket, waits):
    answers = [superops.refusal("rate_limit_exceeded")]
    superops.instead = lambda _request: answers.pop() if answers else None
    assert asking().sync().status == "completed"
    assert waits == [60.0]


def test_a_refusal_with_200_ends_the_run(asking, superops, ticket):
    superops.TOKEN = "another"
    codex = asking(api_token="no longer good")
    outcome = codex.sync()
    assert (outcome.status, outcome.report.errors) == ("failed", ["superops: getClientList: unauthorized"])


def test_a_list_that_sends_fewer_than_it_counts_is_known_in_part(asking, superops, ticket, world):
    owner = next(iter(world.kinds["companies"]))
    for n in range(130):
        world.contact(f"Person {n}", [owner])
    codex = asking()
    codex.sync()
    whole = superops._page

    def halved(name, member, info, records):
        answer = whole(name, member, info, records).json
        if name == "getClientUserList":
            answer["data"][name][member] = answer["data"][name][member][:50]
        return as_json(answer)

    superops._page = halved
    outcome = codex.sync("full")
    assert outcome.status == "partial"
    assert "it counts 130, and sent 80" in outcome.report.errors[0]
    assert outcome.report.as_counts() == {}


def test_hours_of_a_total_are_entries_of_the_days_on_which_it_rose(asking, superops, ticket, world):
    codex = asking(hours="totals")
    codex.sync()
    world.now += timedelta(days=31)
    world.work(ticket, 30)
    codex.sync()
    codex.sync("full")
    assert superops.asked["getWorklogEntries"] == 0
    assert entries(codex) == [(date(2025, 10, 1), Decimal("1.5")), (date(2025, 11, 1), Decimal("0.5"))]


def test_a_total_that_falls_takes_from_the_newest(asking, superops, ticket, world):
    codex = asking(hours="totals")
    codex.sync()
    world.now += timedelta(days=31)
    world.work(ticket, 30)
    codex.sync()
    ticket.entries[0].minutes = 45
    ticket.updated = world.now
    codex.sync()
    assert entries(codex) == [(date(2025, 10, 1), Decimal("1.25")), (date(2025, 11, 1), Decimal(0))]


def test_only_changed_tickets_are_asked_for_their_worklog(asking, superops, ticket, world):
    codex = asking()
    world.ticket("Printer", next(iter(world.kinds["companies"])))
    for _ in range(2):
        codex.sync()
        world.now += timedelta(days=1)
    superops.asked.clear()
    world.work(ticket, 15)
    assert codex.sync().report.as_counts() == {"time_entries": {"add": 1}}
    assert superops.asked["getWorklogEntries"] == 1
