"""A sync from a provider: what it brings, what it leaves, what it never does."""

from datetime import date, timedelta
from decimal import Decimal

import pytest
from hivematrix_codex.models import assets, companies, contacts, tickets, time_entries
from hivematrix_codex.services import linking
from sqlalchemy import select, update
from werkzeug.wrappers import Response


def held(codex, table, *columns):
    chosen = [table.c[name] for name in columns]
    return [tuple(row) for row in codex.db.session.execute(select(*chosen).order_by(*chosen))]


@pytest.fixture
def msp(world):
    """Two companies, three people, one ticket with an hour and a half."""
    world.contoso = world.company("Contoso Dental", number="620547", plan="Gold", term="1 year", start="2025-02-01")
    world.fabrikam = world.company("Fabrikam Freight")
    world.ada = world.contact("Ada Grün", [world.contoso.id])
    world.ben = world.contact("Ben Ode", [world.contoso.id, world.fabrikam.id])
    world.slow = world.ticket("Mail is slow", world.contoso.id)
    world.work(world.slow, 90)
    return world


def test_the_first_sync_brings_companies_people_tickets_and_hours(synced, msp):
    outcome = synced.sync()
    assert (outcome.status, outcome.report.errors) == ("completed", [])
    number = held(synced, companies, "account_number")[0][0]
    assert held(synced, companies, "account_number", "name", "billing_plan", "contract_term", "contract_start") == [
        (number, "Fabrikam Freight", None, "Month to Month", None),
        ("620547", "Contoso Dental", "Gold", "1 Year", date(2025, 2, 1)),
    ]
    assert held(synced, contacts, "account_number", "name", "email", "active_from", "active_to") == [
        (number, "Ben Ode", "ben.ode@example.com", date(2025, 10, 1), None),
        ("620547", "Ada Grün", "ada.grün@example.com", date(2025, 10, 1), None),
        ("620547", "Ben Ode", "ben.ode@example.com", date(2025, 10, 1), None),
    ]
    assert held(synced, tickets, "account_number", "subject", "status") == [("620547", "Mail is slow", "open")]
    entries = held(synced, time_entries, "account_number", "worked_on", "hours", "billable", "first_seen")
    assert entries == [("620547", date(2025, 10, 1), Decimal("1.5000"), True, date(2025, 10, 1))]


def digest(codex):
    """Everything that a bill is made of, but for when an hour was first seen."""
    lists = [held(codex, table, *[c.name for c in table.c if c.name not in {"first_seen", "late"}]) for table in FACTS]
    return [[tuple(map(str, row)) for row in rows] for rows in lists]


FACTS = (companies, contacts, assets, tickets, time_entries)


def later(world, **span):
    world.now += timedelta(**span or {"days": 1})


def acts(outcome):
    return outcome.report.as_counts()


def messages(outcome):
    return [what["message"] for _, act, _, _, what in outcome.report.changes if act == "conflict"]


def test_a_bill_can_be_made_of_what_was_synced(synced, msp):
    synced.sync()
    [line] = synced.get("/api/billing-inputs?period=2025-10&accounts=620547").get_data(as_text=True).splitlines()
    assert '"name":"Ada Grün"' in line
    assert '"ticket":"#' in line
    assert '"hours":"1.5"' in line


@pytest.mark.parametrize("mode", ["incremental", "full"])
def test_twice_is_once(synced, msp, mode):
    synced.sync()
    before = digest(synced)
    outcome = synced.sync(mode)
    assert acts(outcome) == {}
    assert digest(synced) == before


def test_an_incremental_sync_asks_for_the_hours_of_changed_tickets_alone(synced, msp, freshservice):
    other = msp.ticket("Printer", msp.contoso.id)
    for _ in range(2):
        synced.sync()
        later(msp)
    msp.work(other, 30)
    msp.change(msp.ada, name="Ada Green")
    freshservice.asked.clear()
    outcome = synced.sync()
    assert acts(outcome) == {"contacts": {"change": 1}, "time_entries": {"add": 1}}
    hours = [path for path in freshservice.asked if path.endswith("/time_entries")]
    assert hours == [f"/api/v2/tickets/{other.id}/time_entries"]


def test_who_is_gone_is_retired_and_stays(synced, msp):
    synced.sync()
    later(msp)
    msp.drop("contacts", msp.ada)
    assert acts(synced.sync()) == {"contacts": {"retire": 1}}
    found = held(synced, contacts, "name", "active", "active_to")
    assert ("Ada Grün", True, date(2025, 10, 2)) in found
    assert acts(synced.sync("full")) == {}


def test_who_comes_back_is_there_again_under_the_same_uid(synced, msp):
    synced.sync()
    before = held(synced, contacts, "uid")
    msp.drop("contacts", msp.ada)
    synced.sync()
    msp.kinds["contacts"][msp.ada.id] = msp.ada
    assert acts(synced.sync()) == {"contacts": {"return": 1}}
    assert held(synced, contacts, "uid") == before
    assert ("Ada Grün", None) in held(synced, contacts, "name", "active_to")


def test_who_was_deactivated_left_on_the_day_that_was_said_first(synced, msp):
    synced.sync()
    later(msp)
    msp.change(msp.ada, active=False)
    synced.sync()
    later(msp, days=40)
    msp.change(msp.ada, name="Ada (left)")
    synced.sync()
    assert ("Ada (left)", True, date(2025, 10, 2)) in held(synced, contacts, "name", "active", "active_to")


def test_who_leaves_one_company_of_two_stays_in_the_other(synced, msp):
    synced.sync()
    msp.change(msp.ben, companies=[msp.fabrikam.id])
    assert acts(synced.sync()) == {"contacts": {"retire": 1}}
    found = held(synced, contacts, "account_number", "name", "active_to")
    assert {account == "620547": ended for account, name, ended in found if name == "Ben Ode"} == {
        True: date(2025, 10, 1),
        False: None,
    }


def test_a_record_that_the_list_leaves_out_is_asked_for_before_it_counts_as_gone(synced, msp, freshservice):
    """Lists are read page by page while people change them: a record may slip from one page to another."""
    synced.sync()
    whole = freshservice._page

    def shifted(request, name, records):
        left = [one for one in records if one["id"] != msp.ada.id]
        return whole(request, name, left if name == "requesters" else records)

    freshservice._page = shifted
    assert acts(synced.sync("full")) == {}
    assert f"/api/v2/requesters/{msp.ada.id}" in freshservice.asked


def test_an_empty_answer_retires_nothing_and_is_told(synced, msp, freshservice):
    synced.sync()
    before = digest(synced)
    msp.kinds["contacts"].clear()
    outcome = synced.sync("full")
    assert outcome.status == "partial"
    assert outcome.report.errors == ["freshservice: it told of no contacts at all; none was retired"]
    assert digest(synced) == before


def test_a_list_that_breaks_off_retires_nothing_and_what_came_is_taken(synced, world, freshservice):
    company = world.company("Contoso", number="620547")
    people = [world.contact(f"Person {n}", [company.id]) for n in range(150)]
    synced.sync()
    for person in people[:3]:
        world.drop("contacts", person)
    world.change(people[10], name="Somebody Else")
    freshservice.instead = lambda request: (
        Response("{}", 500) if (request.path, request.args.get("page")) == ("/api/v2/requesters", "2") else None
    )
    outcome = synced.sync("full")
    assert (outcome.status, acts(outcome)) == ("partial", {"contacts": {"change": 1}})
    assert outcome.report.errors == [
        "freshservice: GET /api/v2/requesters: answered 500; contacts are known in part, none was retired"
    ]


def test_more_retirements_than_a_share_stop_everything_until_somebody_says_that_it_is_true(synced, world):
    company = world.company("Contoso", number="620547")
    people = [world.contact(f"Person {n}", [company.id]) for n in range(30)]
    synced.sync()
    before = digest(synced)
    for person in people[:6]:
        world.drop("contacts", person)
    world.change(people[10], name="Somebody Else")
    outcome = synced.sync("full")
    assert outcome.status == "stopped"
    assert outcome.report.stopped == "6 of 30 contacts would be retired; if that is true, accept 6 retirements"
    assert digest(synced) == before
    assert synced.sync("full", accepted=5).status == "stopped"
    assert acts(synced.sync("full", accepted=6)) == {"contacts": {"change": 1, "retire": 6}}


def test_a_rehearsal_names_every_change_and_makes_none(synced, msp):
    outcome = synced.sync(dry_run=True)
    assert acts(outcome)["contacts"] == {"add": 3}
    assert digest(synced) == [[]] * 5
    assert acts(synced.sync()) == acts(outcome)


def test_a_number_is_assigned_once(synced, msp):
    synced.sync()
    synced.sync(dry_run=True)
    msp.company("Adatum")
    synced.sync()
    msp.drop("companies", msp.fabrikam)
    synced.sync("full")
    msp.company("Litware")
    synced.sync()
    numbers = dict(held(synced, companies, "name", "account_number"))
    assert numbers.pop("Contoso Dental") == "620547"
    assert sorted(numbers, key=numbers.get) == ["Fabrikam Freight", "Adatum", "Litware"]
    assert ("Fabrikam Freight", "retired") in held(synced, companies, "name", "status")


def test_what_a_person_set_stays_and_the_difference_is_named(synced, msp):
    synced.sync()
    synced.db.session.execute(update(companies).values(billing_plan="Platinum").where(companies.c.name.like("Con%")))
    assert acts(synced.sync()) == {"companies": {"conflict": 1}}
    msp.change(msp.contoso, plan="Silver", term="2 years")
    outcome = synced.sync()
    assert messages(outcome) == ["billing_plan was set to Platinum by hand, freshservice has Silver"]
    assert ("Platinum", "2 Year") in held(synced, companies, "billing_plan", "contract_term")


def test_a_company_that_was_imported_is_taken_over_by_its_number_and_keeps_what_it_has(synced, msp, facts, run_import):
    run_import(facts({"contacts.csv": None, "assets.csv": None, "tickets.csv": None, "time_entries.csv": None}))
    msp.change(msp.contoso, plan="Silver")
    outcome = synced.sync()
    assert "billing_plan was set to Gold by hand, freshservice has Silver" in messages(outcome)
    assert ("620547", "Gold", 14) in held(synced, companies, "account_number", "billing_plan", "payment_terms_days")


def test_companies_that_may_be_the_same_are_named_and_not_guessed(synced, msp, facts, run_import):
    run_import(facts({"contacts.csv": None, "assets.csv": None, "tickets.csv": None, "time_entries.csv": None}))
    twin = msp.company("fabrikam freight")
    msp.company("Contoso Branch", number="620547")
    msp.contact("Cy Lane", [twin.id])
    assert sorted(messages(synced.sync())) == [
        f"1 left out: it is not known whose the freshservice company {msp.fabrikam.id} is",
        f"1 left out: it is not known whose the freshservice company {twin.id} is",
        f"Contoso Branch: it carries the number 620547, which is freshservice's {msp.contoso.id} already",
        "Fabrikam Freight: 183729 has the same name; link it, or give it a number of its own",
        "fabrikam freight: 183729 has the same name; link it, or give it a number of its own",
    ]


def test_hours_of_a_company_nobody_knows_wait_until_it_is_linked(synced, msp, facts, run_import):
    run_import(facts({"contacts.csv": None, "assets.csv": None, "tickets.csv": None, "time_entries.csv": None}))
    ticket = msp.ticket("Truck is late", msp.fabrikam.id)
    msp.work(ticket, 60)
    synced.sync()
    assert [row for row in held(synced, time_entries, "account_number") if row[0] == "183729"] == []
    linking.link(synced.settings, "freshservice", str(msp.fabrikam.id), "183729", "clerk")
    later(msp, days=3)
    synced.sync()
    assert held(synced, time_entries, "account_number", "hours")[0] == ("183729", Decimal(1))
