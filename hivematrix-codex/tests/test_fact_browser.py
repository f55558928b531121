"""A technician's way through the facts in a real browser, with and without script; every kind of page is sound."""

import pytest

PAGES = [
    *("/companies", "/companies/620547", "/companies/620547/assets", "/companies/620547/hours"),
    *("/companies/620547/plan", "/companies/620547/history", "/companies/620547/contacts/change?uid=c1"),
    *("/waiting", "/search?q=contoso", "/plans", "/plans/Gold/1 Year", "/import"),
]


@pytest.mark.parametrize("script", [True, False])
def test_a_technician_finds_a_company_changes_a_person_and_sees_it_in_the_history(filled, browser_page, script):
    page = browser_page(filled, "technician", script=script).open("/companies")
    page.get_by_label("Search", exact=True).fill("contoso")
    page.get_by_role("button", name="Filter").click()
    page.get_by_role("link", name="Contoso Dental").click()
    page.get_by_role("navigation", name="Of Contoso Dental").get_by_role("link", name="Contacts").click()
    page.get_by_role("link", name="Ada Grün").click()
    page.get_by_label("Mail", exact=True).fill("ada@contoso.example")
    page.get_by_label("Counts to").fill("2025-11-30")
    page.get_by_role("button", name="Save").click()
    assert page.get_by_role("row", name="Ada Grün").get_by_text("ada@contoso.example").is_visible()
    page.get_by_role("navigation", name="Of Contoso Dental").get_by_role("link", name="History").click()
    newest = page.get_by_role("table").locator("tbody tr").first.text_content()
    assert "technician" in newest
    assert "active_to — → 2025-11-30" in newest
    assert "email — → ada@contoso.example" in newest


def test_a_form_says_at_its_field_what_is_not_acceptable(filled, browser_page):
    visit = browser_page(filled, "technician")
    page = visit.open("/companies/620547/assets/change?uid=a1")
    page.get_by_label("Backup, bytes").fill("many")
    page.get_by_role("button", name="Save").click()
    page.get_by_role("alert").get_by_role("link", name="Backup, bytes").click()
    field = page.get_by_label("Backup, bytes")
    assert (field.input_value(), field.get_attribute("aria-invalid")) == ("many", "true")
    visit.check()


@pytest.mark.parametrize("path", PAGES)
def test_every_kind_of_page_is_sound(filled, browser_page, path):
    visit = browser_page(filled, "technician")
    visit.open(path)
    visit.check()


def test_prices_through_the_versions_are_drawn_and_said(filled, browser_page):
    page = browser_page(filled, "technician").open("/plans/Gold/1 Year")
    assert page.get_by_role("img", name="A user: 2 versions, now 110.5").is_visible()


def test_a_client_walks_its_own_company(filled, browser_page):
    visit = browser_page(filled, "client_user", account="620547")
    page = visit.open("/companies/620547")
    visit.check()
    tabs = page.get_by_role("navigation", name="Of Contoso Dental").get_by_role("link").all_text_contents()
    assert tabs == ["Overview", "Contacts", "Assets", "Tickets", "Hours"]
