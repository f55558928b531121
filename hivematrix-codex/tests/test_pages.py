"""Codex's start page says what is held, to whom it may; it is a sound page for eyes, keys and readers."""

import pytest


def test_the_start_page_counts_what_was_imported(filled, browser_page):
    visit = browser_page(filled, "technician")
    page = visit.open("/")
    visit.check()
    assert page.get_by_role("heading", level=1).text_content() == "2 companies, 3 people, 2 machines"
    held = page.get_by_role("table", name="What is held")
    cells = {
        row.locator("th").text_content(): row.locator("td").all_text_contents()
        for row in held.locator("tbody tr").all()
    }
    assert cells["People"][:2] == ["3", "2 active"]
    assert cells["Machines"][:2] == ["2", "2 types"]
    assert cells["Companies"][2] == "contract from 1 Feb 2025"
    assert cells["Tickets"][:2] == ["2", "1 open"]
    assert cells["Tickets"][2] == "opened 3 Oct 2025, 07:00"
    assert cells["Plans"] == ["2", "3 versions", "from 1 Nov 2025"]
    plans = page.get_by_role("table", name="Plans in their newest version")
    assert plans.locator("tbody tr").first.all_text_contents()[0].split() == ["Gold1", "Year1", "Nov", "202521"]


def test_before_the_first_import_the_page_names_the_command(codex, browser_page):
    visit = browser_page(codex, "technician")
    page = visit.open("/")
    visit.check()
    assert page.get_by_role("heading", level=1).text_content() == "No customer is known yet"
    assert page.locator("pre").text_content() == "hivematrix-codex import FOLDER"


def test_a_client_sees_its_own_company_only(filled, browser_page):
    visit = browser_page(filled, "client_user", account="620547")
    page = visit.open("/")
    visit.check()
    words = page.locator("main").text_content()
    assert page.get_by_role("heading", level=1).text_content() == "Contoso Dental"
    assert "2 active, 2 in all" in words
    assert "0 open, 1 in all" in words
    assert "Fabrikam" not in page.content()
    assert page.get_by_role("link", name="Operations").count() == 0


def test_who_may_not_read_codex_is_told_on_a_page(filled):
    filled.sign_in("auditor")
    assert filled.get("/", None).status_code == 200
    assert filled.get("/", "peer_service").status_code == 200
    assert filled.get("/", "client_user").status_code == 403


@pytest.mark.parametrize("script", [True, False])
def test_the_page_is_whole_without_script(filled, browser_page, script):
    page = browser_page(filled, "technician", script=script).open("/")
    assert page.get_by_role("table", name="What is held").is_visible()


@pytest.mark.parametrize("person", [None, "technician"])
def test_the_routes_can_be_read_by_everybody(codex, browser_page, person):
    visit = browser_page(codex, person)
    page = visit.open("/api/docs")
    visit.check()
    assert page.get_by_role("rowheader", name="/api/billing-inputs").is_visible()
    assert page.get_by_role("navigation", name="Sections", exact=True).count() == (1 if person else 0)
