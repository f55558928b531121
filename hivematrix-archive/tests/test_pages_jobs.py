"""Pages of jobs, schedule and log: what a billing clerk sees and does there."""

import threading

import pytest
from hivematrix_archive.services import background, engine, growth, history, schedule, session
from hivematrix_common.domain.period import Period
from sqlalchemy import text

OCTOBER = Period(2025, 10)
FORM = {"day_of_month": "31", "hour": "23", "month": "previous", "companies": "all", "enabled": "yes"}


def order(archive, accounts=None):
    job_id = schedule.order(session(), OCTOBER, accounts, "maya")
    session().commit()
    return job_id


def row():
    session().rollback()
    return session().execute(text("SELECT * FROM scheduled_snapshots")).one()


@pytest.fixture
def page(archive):
    """page(person): calls as that person's browser, with what forms carry."""

    class Browser:
        def __init__(self, person):
            archive.sign_in(person)

        def get(self, path):
            return archive.get(path, None, headers={"Accept": "text/html"})

        def post(self, path, **form):
            return archive.post(path, None, headers=archive.csrf() | {"Accept": "text/html"}, data=form)

    return Browser


def test_a_month_is_ordered_watched_and_done(peered_archive, peers, browser_page):
    """The page shows what is sealed while it is sealed, and comes anew by itself when the job ends."""
    archive = peered_archive
    inside, go_on, usual = threading.Event(), threading.Event(), peers.accept

    def wait(request):
        inside.set()
        go_on.wait(20)
        return usual(request)

    peers.ledger.answers("POST", "/api/bills/accept", wait)
    peers.fates["2"] = {"status": "failed", "reason": "unknown plan Platin"}
    archive.app.extensions["hivematrix_wake"] = lambda: None
    visit = browser_page(archive, "billing_clerk")
    page = visit.open("/jobs")
    visit.check()
    assert page.get_by_label("Month", exact=True).input_value() == "2025-11"
    page.get_by_label("Month", exact=True).fill("2025-10")
    page.get_by_role("button", name="Seal the month").click()
    assert page.get_by_role("heading", level=1).text_content() == "October 2025 waits to be sealed"

    def look():
        with archive.app.app_context():
            background.Background(archive.app).look()

    thread = threading.Thread(target=look)
    thread.start()
    assert inside.wait(10)
    page.get_by_role("heading", name="Sealing", exact=True).wait_for()
    visit.check()
    assert "0 of 5 companies" in page.get_by_role("status").first.text_content()
    go_on.set()
    thread.join()
    page.get_by_role("heading", name="October 2025: the job is done").wait_for()
    visit.check()
    failed = page.get_by_role("table").locator("tbody tr").nth(1)
    assert failed.locator("th").text_content().strip() == "2"
    assert "Failed" in failed.text_content()
    assert "unknown plan Platin" in page.content()


def test_without_script_the_page_of_a_running_job_comes_anew_by_itself(archive, browser_page):
    job_id = order(archive)
    page = browser_page(archive, "auditor", script=False).open(f"/jobs/{job_id}")
    assert page.locator("meta[http-equiv=refresh]").get_attribute("content") == "5"
    history.cancel(session(), engine(), job_id, "ada")
    page = browser_page(archive, "auditor", script=False).open(f"/jobs/{job_id}")
    assert page.locator("meta[http-equiv=refresh]").count() == 0


def test_polling_ends_with_286_and_the_page_then_comes_anew(archive, page):
    job_id, browser = order(archive), page("auditor")
    answer = browser.get(f"/jobs/{job_id}/progress")
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert 'hx-trigger="every 1s"' in answer.text
    history.cancel(session(), engine(), job_id, "ada")
    answer = browser.get(f"/jobs/{job_id}/progress")
    assert (answer.status_code, answer.headers["HX-Refresh"]) == (286, "true")
    for nobody in ("nobody", "a%00b"):
        assert [browser.get(f"/jobs/{nobody}{part}").status_code for part in ("", "/progress")] == [404, 404]


def test_a_job_is_cancelled_on_its_page(archive, page):
    job_id, browser = order(archive), page("billing_clerk")
    assert "Cancel the job" in browser.get(f"/jobs/{job_id}").text
    assert browser.post(f"/jobs/{job_id}/cancel").status_code == 303
    shown = browser.get(f"/jobs/{job_id}").text
    assert "Cancelled by billing-clerk: 0 sealed, 0 of 0 not reached." in shown
    assert "Cancel the job" not in shown
    assert page("auditor").post(f"/jobs/{job_id}/cancel").status_code == 403


REFUSED = {
    "an open month": ({"period": "2025-12"}, "2025-12 has not ended in UTC"),
    "no month": ({"period": "October"}, "expected"),
    "no account": ({"period": "2025-10", "accounts": "183729 'x'"}, "expected account numbers such as 620547"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_ordered_is_said_beside_its_field(archive, page, what):
    said, told = REFUSED[what]
    answer = page("billing_clerk").post("/jobs", **said)
    assert answer.status_code == 422
    assert told in answer.text
    assert session().execute(text("SELECT count(*) FROM snapshot_jobs")).scalar() == 0


def test_jobs_are_listed_with_what_they_took(archive, page):
    job_id = order(archive, ["183729"])
    session().execute(
        text("UPDATE snapshot_jobs SET status = 'completed', completed_at = started_at + '75 s'::interval")
    )
    session().commit()
    shown = page("auditor").get("/jobs").text
    assert f'href="/jobs/{job_id}"' in shown
    assert "1 min 15 s" in shown
    assert "No job fits that." in page("auditor").get("/jobs?status=running").text


def test_the_schedule_shows_the_next_five_times(archive, browser_page):
    session().execute(text("UPDATE scheduled_snapshots SET day_of_month = 31, hour = 23, created_at = '2025-12-01'"))
    session().commit()
    visit = browser_page(archive, "admin")
    page = visit.open("/schedule")
    visit.check()
    rows = page.get_by_role("table", name="The next five months").locator("tbody tr").all_text_contents()
    assert rows == [
        "November 202531 Dec 2025, 23:00",
        "December 202531 Jan 2026, 23:00",
        "January 202628 Feb 2026, 23:00",
        "February 202631 Mar 2026, 23:00",
        "March 202630 Apr 2026, 23:00",
    ]


def test_a_month_that_is_due_is_told(archive, page):
    session().execute(text("UPDATE scheduled_snapshots SET created_at = '2025-11-05'"))
    session().commit()
    assert "Due now" in page("auditor").get("/schedule").text


def test_an_administrator_changes_the_schedule_and_an_auditor_does_not(archive, page):
    answer = page("admin").post("/schedule", **FORM)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/schedule?changed=yes")
    assert (row().day_of_month, row().hour, row().enabled) == (31, 23, True)
    auditor = page("auditor")
    assert auditor.post("/schedule", **FORM).status_code == 403
    assert "An administrator can change it." in auditor.get("/schedule").text


SENSELESS = {
    "day 32": ({"day_of_month": "32"}, "day_of_month"),
    "day 0": ({"day_of_month": "0"}, "day_of_month"),
    "hour 24": ({"hour": "24"}, "hour"),
    "no hour": ({"hour": ""}, "hour"),
    "some companies and none": ({"companies": "some"}, "account_numbers"),
    "no account number": ({"companies": "some", "account_numbers": "183729 -"}, "account_numbers"),
}


@pytest.mark.parametrize("what", SENSELESS)
def test_a_senseless_schedule_is_refused_beside_its_field(archive, page, what):
    said, field = SENSELESS[what]
    answer = page("admin").post("/schedule", **FORM | said)
    assert answer.status_code == 422
    assert f'id="f-{field}-error"' in answer.text
    assert (row().day_of_month, row().hour) == (1, 2)


def test_the_log_says_what_covers_what_and_what_was_verified(sealed, browser_page):
    visit = browser_page(sealed, "auditor")
    page = visit.open("/log")
    visit.check()
    assert page.get_by_role("heading", level=1).text_content() == "The log holds 4 entries"
    assert "Never verified as a whole" in page.content()
    newest = page.get_by_role("table", name="Signed checkpoints").locator("tbody tr").first
    assert newest.locator("td").nth(1).text_content().strip() == "0 to 3"
    key = sealed.get("/log/key").text.strip()
    assert page.get_by_label("Verifier key").text_content() == key


def test_the_log_page_counts_what_was_sealed_since_the_last_verify(own_archive, seal, sealing_request):
    seal(own_archive, sealing_request("1"), sealing_request("2"))
    growth.note_verified(engine(), 2)
    seal(own_archive, sealing_request("3"))
    own_archive.sign_in("auditor")
    shown = own_archive.get("/log", None, headers={"Accept": "text/html"}).text
    assert "All 2 entries good" in shown
    assert "1 document sealed since" in shown
    growth.note_verified(engine(), 3, (1, "column total_amount: sealed as 912.50, found 1.0000"))
    shown = own_archive.get("/log", None, headers={"Accept": "text/html"}).text
    assert "Entry 1 does not hold" in shown
