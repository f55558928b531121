"""Archive's start page: what is sealed, by which checkpoint, what comes next; a client sees its own documents alone."""

import pytest
from hivematrix_archive.services import schedule as schedules
from hivematrix_archive.services import session
from hivematrix_common.domain.period import Period

BROWSER = {"Accept": "text/html,*/*;q=0.8"}


@pytest.fixture
def with_job(sealed):
    """The four bills, and a job that waits."""
    schedules.order(session(), Period(2025, 11), None, "billing-clerk")
    session().commit()
    return sealed


def test_the_start_page_counts_what_is_sealed(with_job, browser_page):
    visit = browser_page(with_job, "auditor")
    page = visit.open("/overview")
    visit.check()
    assert page.get_by_role("heading", level=1).text_content() == "4 sealed documents"
    months = page.get_by_role("table", name="Sealed documents by month and currency")
    first = months.locator("tbody tr").first
    assert first.locator("th").text_content() == "October 2025"
    assert first.locator("td").first.text_content() == "2"
    job = page.get_by_role("table", name="The last sealing jobs").locator("tbody tr").all_text_contents()
    assert job[0].startswith("November 2025")
    assert "Queued" in job[0]
    log = page.locator("section", has=page.get_by_role("heading", name="The log", exact=True)).text_content()
    assert "Entries4" in log
    assert "archive.example.com/log" in log
    schedule = page.locator("section", has=page.get_by_role("heading", name="Own schedule")).text_content()
    assert "December 2025, 1 Jan 2026, 02:00" in schedule


def test_an_empty_log_names_the_command_that_seals(archive, browser_page):
    visit = browser_page(archive, "billing_clerk")
    page = visit.open("/overview")
    visit.check()
    assert page.get_by_role("heading", level=1).text_content() == "Nothing is sealed yet"
    assert page.locator("pre").text_content() == "hivematrix-archive snapshot --year 2025 --month 11 --all"


def test_a_client_sees_its_own_documents_only(sealed, browser_page):
    visit = browser_page(sealed, "client_user", account="183729")
    page = visit.open("/overview")
    visit.check()
    assert page.get_by_role("rowheader").all_text_contents() == ["183729-202510", "183729-202509"]
    assert "620547" not in page.content()
    page.get_by_label("Search").fill("202509")
    page.get_by_role("button", name="Filter").click()
    assert page.get_by_role("rowheader").all_text_contents() == ["183729-202509"]


def test_programs_get_json_and_people_the_page(archive):
    assert archive.get("/", None).get_json()["service"] == "archive"
    archive.sign_in("auditor")
    answer = archive.get("/", None, headers=BROWSER)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/overview")
