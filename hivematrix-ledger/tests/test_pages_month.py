"""The month board and a month accepted from it, as the billing clerk works through them."""

import re
import threading

import pytest
from hivematrix_common.domain.period import Period
from hivematrix_ledger.services import background, closing

BOARD = "/months/2025-10"
ACCEPT = f"{BOARD}/accept"
HOSTILE = "<script>alert(1)</script> \u202eevil \N{ROCKET}" + "x" * 200


def fill(world, company):
    """October of five companies, September sealed of two: one has somebody new, one no plan, one is skipped."""
    unplanned, skipped = company("13", "Sable Point Marina"), company("14", "Old Mill Bakery")
    unplanned.facts["billing_plan"], skipped.facts["billing_plan"] = "Nowhere", "Inactive"
    grown = company("11", "Granite Peak")
    world.codex.hold(grown, company("12", HOSTILE), unplanned, skipped)
    world.accept("11", "12", period="2025-09")
    grown.contact("Newcomer", uid="c-new")
    return world


@pytest.fixture
def msp(world, company):
    return fill(world, company)


@pytest.fixture
def own_msp(own_world, company, monkeypatch):
    """With a database of its own, for what goes on in a thread; a run is waited for however slow the machine is."""
    monkeypatch.setattr(background, "AT_ONCE_SECONDS", 60)
    return fill(own_world, company)


@pytest.fixture
def browse():
    """browse(world, person): calls as that person's browser, with what forms carry."""

    class Browser:
        def __init__(self, world, person="billing_clerk", **claims):
            self.ledger = world.ledger
            self.ledger.sign_in(person, **claims)

        def get(self, path):
            return self.ledger.get(path, None, headers={"Accept": "text/html"})

        def post(self, path, **form):
            return self.ledger.post(path, None, headers=self.ledger.csrf() | {"Accept": "text/html"}, data=form)

    return Browser


def shown_on(browser):
    return re.search('name="shown" value="([^"]+)"', browser.get(ACCEPT).text)[1]


def ordered(world):
    """A run nobody works on yet."""
    found = closing.plan(world.ledger.app.extensions["hivematrix_ledger"], Period(2025, 10))
    return closing.order(found, found["shown"], "maya")


def companies(page):
    table = page.get_by_role("table", name="Bills by company")
    return [head.split("\n")[0] for head in table.locator("tbody th").all_inner_texts()]


class TestBoard:
    def test_who_needs_somebody_comes_first(self, msp, browser_page):
        visit = browser_page(msp.ledger, "billing_clerk")
        page = visit.open(BOARD)
        visit.check()
        names = companies(page)
        assert names[:2] == ["Sable Point Marina", "Granite Peak"]
        assert names[-1] == "Old Mill Bakery"
        assert page.get_by_role("link", name="Review 2 findings").get_attribute("href") == "/findings?period=2025-10"
        assert page.locator("script:not([src])").count() == 0

    def test_totals_stand_beside_those_of_the_month_before(self, msp, browser_page):
        page = browser_page(msp.ledger, "auditor").open(BOARD)
        table = page.get_by_role("table", name="Totals by kind of charge, October 2025 against September 2025, in USD")
        rows = [row.split("\t") for row in table.locator("tbody tr").all_inner_texts()]
        assert [row[0] for row in rows] == ["Oct 2025", "Sep 2025", "Change"]
        assert (rows[0][-1], rows[1][-1], rows[2][-1]) == ("1,512.50", "200.00", "+1,312.50")
        assert (
            page.get_by_role("img", name=re.compile("Shares of the total of October 2025: Users 33.1 %")).count() == 1
        )
        assert page.get_by_role("img", name=re.compile("Recurring revenue a month, from 200.00 to")).count() == 1
        granite = page.get_by_role("row").filter(has_text="Granite Peak")
        assert granite.locator("td").all_inner_texts()[-2] == "+250.00"

    def test_an_auditor_reads_and_is_offered_nothing_to_accept(self, msp, browse):
        assert "/accept" in browse(msp).get(BOARD).text
        auditor = browse(msp, "auditor")
        assert "/accept" not in auditor.get(BOARD).text
        assert auditor.get(ACCEPT).status_code == 403
        assert auditor.post(ACCEPT).status_code == 403
        assert msp.rows("SELECT count(*) FROM runs") == [(0,)]

    @pytest.mark.parametrize("path", ["/months", BOARD, "/findings", ACCEPT, f"{BOARD}/runs/1", "/what-if"])
    @pytest.mark.parametrize("person", ["technician", "client_user"])
    def test_technicians_and_clients_reach_none_of_it(self, msp, browse, path, person):
        claims = {"account": "11"} if person == "client_user" else {}
        assert browse(msp, person, **claims).get(path).status_code == 403

    def test_states_are_chips_and_the_table_is_a_file_as_well(self, msp, browser_page, browse):
        page = browser_page(msp.ledger, "billing_clerk", script=False).open(BOARD)
        page.get_by_role("link", name="1 not billable").click()
        assert companies(page) == ["Sable Point Marina"]
        assert page.get_by_role("link", name="1 not billable").get_attribute("aria-current") == "true"
        csv = browse(msp).get(f"{BOARD}?state=unbillable&format=csv")
        assert csv.mimetype == "text/csv"
        [heads, row] = csv.text.splitlines()
        assert heads.startswith("Account,Company,Status,Reason")
        assert row.startswith("13,Sable Point Marina,unbillable,")

    def test_the_foot_sums_what_fits_and_columns_are_chosen(self, msp, browser_page):
        visit = browser_page(msp.ledger, "billing_clerk")
        page = visit.open(BOARD)
        foot = page.get_by_role("table", name="Bills by company").locator("tfoot tr")
        assert foot.get_by_role("rowheader").text_content() == "3 bills"
        assert foot.locator("td.n").all_text_contents()[-2:] == ["1,512.50", "+400.00"]
        page.locator("summary", has_text="Choose columns").click()
        page.get_by_label("Backup", exact=True).uncheck()
        page.get_by_label("12 months").uncheck()
        page.get_by_role("button", name="Show these").click()
        visit.check()
        heads = page.get_by_role("table", name="Bills by company").locator("thead th")
        assert heads.all_text_contents() == [
            *("Company", "Status", "Users", "Assets", "Hours", "Items", "Tax", "Total", "Change")
        ]
        page.get_by_role("link", name="Total").click()
        assert heads.count() == 9, "sorting keeps what was chosen"
        page.goto(f"{page.url}&q=Granite")
        assert foot.get_by_role("rowheader").text_content() == "1 bill"

    def test_bills_in_two_currencies_have_no_sum(self, msp, company, browse):
        other = company("15", "Kyoto Works")
        other.facts["currency"] = "JPY"
        other.plans = [other.plan(currency="JPY")]
        msp.codex.hold(other)
        clerk = browse(msp)
        assert "<tfoot>" in clerk.get(f"{BOARD}?q=Granite").text
        foot = clerk.get(f"{BOARD}?q=Acme").text.split("<tfoot>")[1].split("</tfoot>")[0]
        assert '<td class="n">—</td>' in foot, "against no bill there is no change"
        assert "<tfoot>" not in clerk.get(BOARD).text

    @pytest.mark.parametrize("query", ["column=nothing", "column=total&column=x"])
    def test_a_column_that_is_none_is_refused(self, msp, browse, query):
        assert browse(msp).get(f"{BOARD}?{query}").status_code == 422

    def test_a_hundred_companies_a_page(self, msp, company, browser_page):
        msp.codex.hold(*(company(f"9{number:03}", f"Company {number:03}") for number in range(120)))
        page = browser_page(msp.ledger, "billing_clerk").open(BOARD)
        assert len(companies(page)) == 100
        page.get_by_role("link", name="Next").click()
        assert page.get_by_text("101 to 125 of 125").is_visible()
        assert companies(page)[-1] == "Old Mill Bakery"

    def test_months_lead_to_each_other(self, msp, browser_page):
        page = browser_page(msp.ledger, "auditor").open("/months")
        page.get_by_role("link", name="September 2025").click()
        assert page.get_by_role("heading", level=1).text_content() == "September 2025"
        page.locator("a[rel=next]").first.click()
        assert page.get_by_role("heading", level=1).text_content() == "October 2025"

    def test_a_codex_that_is_away_is_named_and_no_board_is_made_up(self, msp, browse):
        msp.codex.peer.answers("GET", "/api/companies", {"detail": "no"}, status=400)
        answer = browse(msp).get(BOARD)
        assert answer.status_code == 502
        assert "codex" in answer.text
        assert "Totals by kind" not in answer.text

    def test_findings_of_the_whole_msp_are_a_page(self, msp, browser_page):
        visit = browser_page(msp.ledger, "auditor")
        page = visit.open("/findings?period=2025-10")
        visit.check()
        assert page.get_by_role("heading", level=2).all_text_contents() == ["Granite Peak"]
        assert "Newcomer is billed 100.00 and was not the month before." in page.get_by_role("main").text_content()


class TestAcceptingAll:
    def test_all_is_accepted_from_the_board(self, own_msp, browser_page):
        visit = browser_page(own_msp.ledger, "billing_clerk")
        page = visit.open(BOARD)
        page.get_by_role("link", name="Accept 3 bills").click()
        visit.check()
        assert page.get_by_role("heading", name="Sealed although something was found").is_visible()
        page.get_by_role("button", name="Accept 3 bills").click()
        page.get_by_role("heading", level=1, name="October 2025: 3 bills sealed").wait_for()
        visit.check()
        assert own_msp.rows("SELECT count(*) FROM acceptances WHERE period = '2025-10'") == [(3,)]
        assert own_msp.rows("SELECT action, target FROM audit.entries ORDER BY id DESC LIMIT 1") == [
            ("POST /months/<period>/accept", "2025-10")
        ]
        page.get_by_role("link", name="Back to October 2025").click()
        assert page.locator(".hm-badge").first.text_content() == "Closed but for 1"

    def test_its_progress_is_live_survives_a_reload_and_ends_by_itself(self, own_msp, browser_page, monkeypatch):
        monkeypatch.setattr(closing, "BATCH", 1)
        monkeypatch.setattr(background, "AT_ONCE_SECONDS", 0)
        second, go_on, usual = threading.Event(), threading.Event(), own_msp.archive.batch

        def wait(request):
            if len(own_msp.archive.sealed) > 2:
                second.set()
                go_on.wait(20)
            return usual(request)

        own_msp.archive.peer.answers("POST", "/api/snapshots/batch", wait)
        visit = browser_page(own_msp.ledger, "billing_clerk")
        page = visit.open(ACCEPT)
        page.get_by_role("button", name="Accept 3 bills").click()
        assert second.wait(20)
        page.get_by_text("1 of 3 done").wait_for()
        visit.check()
        page.reload()
        assert page.get_by_role("progressbar").get_attribute("value") == "1"
        board = browser_page(own_msp.ledger, "auditor").open(BOARD)
        assert board.get_by_role("progressbar").count() == 1
        assert board.get_by_role("button", name="Stop after this batch").count() == 0
        go_on.set()
        page.get_by_role("heading", level=1, name="October 2025: 3 bills sealed").wait_for()
        assert page.get_by_role("progressbar").count() == 0
        assert visit.said == []

    def test_one_that_is_stopped_ends_after_its_batch(self, own_msp, browse, monkeypatch):
        monkeypatch.setattr(closing, "BATCH", 1)
        run_id, usual = ordered(own_msp), own_msp.archive.batch
        clerk = browse(own_msp)

        def stop(request):
            assert clerk.post(f"{BOARD}/runs/{run_id}/cancel").status_code == 303
            return usual(request)

        own_msp.archive.peer.answers("POST", "/api/snapshots/batch", stop)
        closing.work(own_msp.ledger.app.extensions["hivematrix_ledger"], run_id)
        page = clerk.get(f"{BOARD}/runs/{run_id}").text
        assert "October 2025: accepting was stopped" in page
        assert "2 bills left as they were: stopped by billing-clerk" in page
        assert own_msp.rows("SELECT done, sealed, ended_at IS NOT NULL FROM runs") == [(1, 1, True)]

    def test_two_clerks_at_once_come_to_one_run_and_each_bill_is_sealed_once(self, own_msp, browse):
        maya, tom = browse(own_msp), browse(own_msp)
        shown = shown_on(maya)
        first = ordered(own_msp)
        answer = tom.post(ACCEPT, shown=shown)
        assert answer.location == f"{BOARD}/runs/{first}"
        assert maya.post(ACCEPT, shown=shown).location == BOARD  # nothing is left
        assert own_msp.rows("SELECT count(*), sum(sealed) FROM runs") == [(1, 3)]
        assert len(own_msp.archive.sealed) == 5

    def test_bills_that_changed_since_they_were_listed_are_not_accepted(self, msp, browse):
        clerk = browse(msp)
        shown = shown_on(clerk)
        msp.codex.cases["12"].contact("One more", uid="c-more")
        answer = clerk.post(ACCEPT, shown=shown)
        assert answer.status_code == 409
        assert "Nothing was accepted" in answer.text
        assert msp.rows("SELECT count(*) FROM runs") == [(0,)]

    def test_one_that_changes_before_its_turn_is_left_out_and_named(self, own_msp, browse):
        run_id = ordered(own_msp)
        own_msp.codex.cases["12"].contact("One more", uid="c-more")
        closing.work(own_msp.ledger.app.extensions["hivematrix_ledger"], run_id)
        assert own_msp.rows("SELECT sealed, failed FROM runs") == [(2, 1)]
        assert "The bill shown was sha256:" in browse(own_msp).get(f"{BOARD}/runs/{run_id}").text

    def test_a_run_whose_process_died_is_gone_on_with(self, own_msp, browse, set_clock):
        run_id = ordered(own_msp)
        with own_msp.ledger.owner() as owner:
            owner.cursor().execute("UPDATE runs SET worker = 'dead'")
        clerk = browse(own_msp)
        assert "Go on" not in clerk.get(f"{BOARD}/runs/{run_id}").text
        background.start(own_msp.ledger.app, run_id)
        assert own_msp.rows("SELECT done FROM runs") == [(0,)]  # the other may still be at it
        set_clock("2025-11-02T10:03:00Z")
        clerk = browse(own_msp)
        assert "Its process is gone" in clerk.get(f"{BOARD}/runs/{run_id}").text
        clerk.post(f"{BOARD}/runs/{run_id}/resume")
        assert own_msp.rows("SELECT done, sealed FROM runs") == [(3, 3)]

    def test_an_archive_that_is_away_ends_the_run_at_once(self, own_msp, browse, monkeypatch):
        monkeypatch.setattr(closing, "BATCH", 1)
        own_msp.archive.peer.answers("POST", "/api/snapshots/batch", {"detail": "no"}, status=503)
        run_id = ordered(own_msp)
        closing.work(own_msp.ledger.app.extensions["hivematrix_ledger"], run_id)
        assert own_msp.rows("SELECT done, failed, ended_at IS NOT NULL FROM runs") == [(1, 1, True)]

    def test_where_findings_must_be_answered_such_bills_are_left_out(self, make_world, company, browse):
        world = fill(make_world(leakage={"insist": "yes"}), company)
        page = browse(world).get(ACCEPT).text
        assert "Accept 2 bills of October 2025" in page
        assert "Left out: findings are open" in page

    def test_a_month_that_is_not_over_cannot_be_accepted(self, msp, browse):
        assert browse(msp).get("/months/2025-11/accept").status_code == 422
        assert "/accept" not in browse(msp).get("/months/2025-11").text

    def test_a_run_of_another_month_is_not_found(self, own_msp, browse):
        run_id = ordered(own_msp)
        clerk = browse(own_msp)
        assert clerk.get(f"{BOARD}/runs/{run_id}").status_code == 200
        assert clerk.get(f"/months/2025-09/runs/{run_id}").status_code == 404
        assert clerk.get(f"{BOARD}/runs/{10**30}").status_code == 404
