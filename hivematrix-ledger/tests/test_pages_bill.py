"""One company's bill as a page: what the billing clerk, the auditor and the client see of it and do there."""

import re

import pytest
from sqlalchemy import text

BILL = "/bills/620547/2025-10"
HOSTILE = "<script>alert(1)</script> \u202eevil \N{ROCKET}" + "x" * 200


@pytest.fixture
def two_months(world, case):
    """September is accepted; October has a machine more, and an hour of it is prepaid."""
    case.facts["entries"].clear()
    case.entry("1", worked_on="2025-09-10", uid="e-9")
    assert world.accept("620547", period="2025-09")["620547"]["total"] == "562.50"
    case.entry("3", uid="e-10")
    case.asset("PC2", "Workstation")
    world.put("prepaid_hours", "620547", "1", None, "calendar", 0)
    return world


@pytest.fixture
def browse():
    """browse(world, person): calls as that person's browser, with what forms carry."""

    class Browser:
        def __init__(self, world, person="billing_clerk", **claims):
            self.ledger = world.ledger
            self.ledger.sign_in(person, **claims)

        def get(self, path, **headers):
            return self.ledger.get(path, None, headers={"Accept": "text/html"} | headers)

        def post(self, path, **form):
            return self.ledger.post(path, None, headers=self.ledger.csrf() | {"Accept": "text/html"}, data=form)

    return Browser


def digest_on(browser, path=BILL):
    return re.search('name="digest" value="([^"]+)"', browser.get(path).text)[1]


def key_on(browser):
    return re.search(r"findings/([0-9a-f]{16})", browser.get(BILL).text)[1]


class TestMainActs:
    """In a browser, with a keyboard and eyes."""

    def test_the_clerk_lets_a_finding_stand_and_accepts_the_bill(self, two_months, browser_page):
        visit = browser_page(two_months.ledger, "billing_clerk")
        page = visit.open(BILL)
        visit.check()
        assert page.locator(".hm-badge").text_content() == "2 findings open"
        page.locator("summary", has_text="Acknowledge: PC2").click()
        page.get_by_label("Why it may stand").locator("visible=true").fill("bought in October")
        visit.check()
        page.get_by_role("button", name="Let it stand").click()
        page.get_by_text("“bought in October”").wait_for()
        assert page.locator(".hm-badge").text_content() == "1 finding open"
        page.get_by_role("button", name="Accept 727.50 USD").click()
        sealed = page.get_by_role("link", name="Sealed invoice")
        sealed.wait_for()
        visit.check()
        assert sealed.get_attribute("href").endswith("/invoice/620547-202510")
        assert page.locator(".hm-badge").text_content() == "Sealed"
        assert two_months.rows("SELECT accepted_by FROM acceptances WHERE period = '2025-10'") == [("billing-clerk",)]

    def test_the_waterfall_leads_from_one_total_to_the_other(self, two_months, browser_page):
        visit = browser_page(two_months.ledger, "auditor")
        page = visit.open(BILL)
        fall = page.get_by_role("table", name=re.compile("From Sep 2025 to Oct 2025, class by class, in USD"))
        assert fall.get_by_role("rowheader").all_text_contents() == [
            *("Sep 2025", "Item added", "Hours", "Prepaid", "Oct 2025")
        ]
        amounts = fall.locator("td.n").all_text_contents()
        assert amounts == ["562.50", "+15.00", "+300.00", "\N{MINUS SIGN}150.00", "727.50"]
        assert fall.locator("svg").count() == 5
        page.get_by_role("link", name="Every change").click()
        visit.check()
        assert page.get_by_role("status").text_content() == "3 changes"

    def test_why_is_fetched_when_a_line_is_opened(self, two_months, browser_page):
        visit = browser_page(two_months.ledger, "auditor")
        page = visit.open(BILL)
        page.locator("summary", has_text="Workstation").click()
        page.get_by_text("15 from the plan “Gold”, 1 Year, version of 2020-01-01").wait_for()
        assert page.locator(".hm-why[open]").get_by_role("rowheader").all_text_contents() == ["PC2", "WS1"]
        visit.check()

    def test_without_script_why_is_a_page_and_acknowledging_works(self, two_months, browser_page):
        visit = browser_page(two_months.ledger, "billing_clerk", script=False)
        page = visit.open(BILL)
        page.locator("summary", has_text="Billable hours").click()
        page.get_by_role("link", name="Why Billable hours").click()
        assert "1 h of the allowance of 2025-10; 2 h billed" in page.get_by_role("main").text_content()
        page.go_back()
        page.locator("summary", has_text="Acknowledge: PC2").click()
        page.get_by_label("Why it may stand").locator("visible=true").fill("known")
        page.get_by_role("button", name="Let it stand").click()
        assert page.get_by_text("“known”").is_visible()

    def test_the_pool_is_drawn_with_its_figures(self, two_months, browser_page):
        two_months.ledger.db.session.execute(text("UPDATE prepaid_hours SET monthly = NULL, yearly = 10.5"))
        two_months.ledger.db.session.commit()
        visit = browser_page(two_months.ledger, "billing_clerk")
        page = visit.open(BILL)
        visit.check()
        drawn = page.get_by_role("img", name="Pool of 10.5 hours: 0 used in other months, 3 in October 2025, 7.5 left")
        assert [box.get_attribute("width") for box in drawn.locator("rect").all()] == ["114.3", "285.7"]

    def test_a_finding_leads_to_where_it_is_put_right(self, two_months, case, browser_page):
        case.asset("SW1", "Switch", backup_bytes=1024**4)
        two_months.put("client_overrides", "620547", "per_server", "0", None, None)
        visit = browser_page(two_months.ledger, "billing_clerk")
        page = visit.open(BILL)
        visit.check()
        links = page.get_by_role("link", name=re.compile("^(Fix type|Set the rate)"))
        assert [link.text_content().split(":")[0] for link in links.all()] == [
            "Fix type",
            "Set the rate per_server",
            "Fix type",
        ]
        page.get_by_role("link", name=re.compile("^Fix type ?: SW1")).click()
        visit.check()
        assert page.locator("select[name=asset_uid]").input_value() == "a-SW1"
        page.get_by_label("Type").select_option("Server")
        page.get_by_role("button", name="Add").click()
        assert two_months.rows("SELECT asset_uid, billing_type FROM asset_overrides") == [("a-SW1", "Server")]

    def test_what_changed_after_the_month_is_listed_on_its_preview(self, two_months, browser_page):
        said = {"key": "per_user", "value": "90"}
        two_months.ledger.call("PUT", "/api/overrides/client/620547", json=said)
        visit = browser_page(two_months.ledger, "auditor")
        page = visit.open(BILL)
        page.locator("summary", has_text="2 rows were changed after October 2025 ended").click()
        assert page.get_by_text("per_user added: value 90").is_visible()
        visit.check()

    def test_who_may_not_put_it_right_is_not_led_there(self, two_months, browse):
        two_months.put("client_overrides", "620547", "per_server", "0", None, None)
        assert "Set the rate" in browse(two_months).get(BILL).text
        assert "Set the rate" in browse(two_months).get("/findings?period=2025-10").text
        for path in (BILL, "/findings?period=2025-10"):
            assert "Set the rate" not in browse(two_months, "auditor").get(path).text

    @pytest.mark.parametrize("path", [f"{BILL}/lines", f"{BILL}/hours", f"{BILL}/why/0", "/bills/620547/2025-09"])
    def test_its_other_pages_are_sound(self, two_months, browser_page, path):
        visit = browser_page(two_months.ledger, "billing_clerk")
        visit.open(path)
        visit.check()

    def test_names_of_strangers_are_text(self, world, case, company, browser_page):
        hostile = company("9", HOSTILE)
        hostile.contact(HOSTILE, uid="c-h")
        world.codex.hold(hostile)
        visit = browser_page(world.ledger, "billing_clerk")
        page = visit.open("/bills/9/2025-10")
        page.locator("summary", has_text="Paid").click()
        page.locator(".hm-why[open]").get_by_role("rowheader").first.wait_for()
        visit.check()
        assert page.get_by_role("heading", level=1).text_content() == HOSTILE


class TestAcceptingOne:
    def test_a_bill_that_changed_since_it_was_shown_says_what_changed(self, two_months, browse, case):
        clerk = browse(two_months)
        digest = digest_on(clerk)
        case.contact("Newcomer", uid="c-new")
        answer = clerk.post(f"{BILL}/accept", digest=digest)
        assert answer.status_code == 409
        assert "The bill was not accepted." in answer.text
        assert "totals total: 727.50, now 827.50" in answer.text
        assert digest_on(clerk) != digest
        assert two_months.rows("SELECT count(*) FROM acceptances WHERE period = '2025-10'") == [(0,)]

    def test_pressed_twice_it_is_sealed_once(self, two_months, browse):
        clerk = browse(two_months)
        digest = digest_on(clerk)
        first, second = (clerk.post(f"{BILL}/accept", digest=digest) for _ in range(2))
        assert (first.status_code, second.status_code) == (303, 303)
        assert two_months.archive.batches == 2  # September's and October's

    def test_who_sends_no_digest_accepts_nothing(self, two_months, browse):
        assert browse(two_months).post(f"{BILL}/accept").status_code == 409
        assert two_months.archive.batches == 1

    def test_where_findings_must_be_answered_the_button_says_so(self, make_world, case, browse):
        world = make_world(leakage={"insist": "yes"})
        world.accept("620547", period="2025-09")
        case.contact("Newcomer", uid="c-new")
        clerk = browse(world)
        page = clerk.get(BILL).text
        assert 'disabled aria-describedby="gate"' in page
        answer = clerk.post(f"{BILL}/accept", digest=digest_on(clerk))
        assert answer.status_code == 409
        assert "findings are open" in answer.text

    def test_a_month_that_is_not_over_offers_no_button(self, two_months, browse):
        clerk = browse(two_months)
        page = clerk.get("/bills/620547/2025-11").text
        assert "It can be accepted once November 2025 is over." in page
        assert 'name="digest"' not in page
        assert clerk.post("/bills/620547/2025-11/accept", digest="x").status_code == 422

    def test_an_auditor_reads_only(self, two_months, browse):
        key = key_on(browse(two_months))
        auditor = browse(two_months, "auditor")
        page = auditor.get(BILL).text
        assert "New on the bill" in page
        assert "<form" not in page.partition("<main")[2]
        assert auditor.post(f"{BILL}/accept", digest="x").status_code == 403
        assert auditor.post(f"{BILL}/findings/{key}", reason="x").status_code == 403

    def test_a_form_without_its_token_is_refused(self, two_months, browse):
        clerk = browse(two_months)
        answer = clerk.ledger.post(f"{BILL}/accept", None, data={"digest": digest_on(clerk)})
        assert (answer.status_code, two_months.archive.batches) == (403, 1)


class TestAcknowledging:
    def test_a_reason_is_asked_for_beside_the_field(self, two_months, browse):
        clerk = browse(two_months)
        answer = clerk.post(f"{BILL}/findings/{key_on(clerk)}", reason="  ")
        assert answer.status_code == 422
        assert "Say why it may stand." in answer.text
        assert two_months.rows("SELECT count(*) FROM acknowledged_findings") == [(0,)]

    def test_what_was_typed_stays_when_it_is_too_long(self, two_months, browse):
        clerk, typed = browse(two_months), "y" * 2001
        answer = clerk.post(f"{BILL}/findings/{key_on(clerk)}", reason=typed)
        assert answer.status_code == 422
        assert f'value="{typed}"' in answer.text
        assert "expected at most 2000 characters" in answer.text

    def test_a_finding_that_is_gone_is_not_found(self, two_months, browse):
        assert browse(two_months).post(f"{BILL}/findings/{'0' * 16}", reason="x").status_code == 404


class TestClient:
    """A company's own person: accepted bills of that company, and nothing that is for the MSP."""

    PATHS = ("", "/why/0", "/lines", "/changes", "/hours")

    @pytest.mark.parametrize("path", PATHS)
    def test_it_sees_its_own_accepted_bill(self, two_months, browse, path):
        client = browse(two_months, "client_user", account="620547")
        answer = client.get(f"/bills/620547/2025-09{path}")
        assert answer.status_code == 200
        for hidden in ("Before you accept", "What was found", "/months/", "/overrides", "/what-if", "Acknowledge"):
            assert hidden not in answer.text

    @pytest.mark.parametrize("path", PATHS)
    def test_an_open_month_and_another_company_are_not_there(self, two_months, company, browse, path):
        two_months.codex.hold(company("183729", "Fabrikam"))
        two_months.accept("183729")
        client = browse(two_months, "client_user", account="620547")
        if path != "/hours":
            assert client.get(f"{BILL}{path}").status_code == 404
        assert client.get(f"/bills/183729/2025-10{path}").status_code == 404

    def test_hours_of_an_open_month_are_not_on_its_statement(self, two_months, browse):
        assert "2025-10-05" in browse(two_months).get(f"{BILL}/hours").text
        text = browse(two_months, "client_user", account="620547").get(f"{BILL}/hours").text
        assert "2025-09-10" in text
        assert "2025-10-05" not in text

    def test_a_month_before_its_first_bill_is_told_to_be_none(self, two_months, browse):
        client = browse(two_months, "client_user", account="620547")
        assert "There is no bill of August 2025" in client.get("/bills/620547/2025-09/changes").text

    def test_its_list_leads_to_its_bill_and_the_page_is_sound(self, two_months, browser_page):
        visit = browser_page(two_months.ledger, "client_user", account="620547")
        page = visit.open("/")
        page.get_by_role("link", name="September 2025").click()
        page.get_by_role("heading", level=1, name="Acme Ltd").wait_for()
        visit.check()
        assert page.get_by_role("button").count() == 0

    def test_it_accepts_and_acknowledges_nothing(self, two_months, browse):
        client = browse(two_months, "client_user", account="620547")
        assert client.post("/bills/620547/2025-10/accept", digest="x").status_code == 403
        assert client.post(f"/bills/620547/2025-10/findings/{'0' * 16}", reason="x").status_code == 403


class TestWithoutABill:
    def test_it_says_why(self, world, case, browser_page):
        case.facts["billing_plan"] = "Nowhere"
        visit = browser_page(world.ledger, "billing_clerk")
        page = visit.open(BILL)
        visit.check()
        assert page.get_by_text("There is no bill for October 2025.").is_visible()
        assert page.get_by_role("button").count() == 0

    @pytest.mark.parametrize("account", ["unknown", "1,620547", "%00", "x" * 33])
    def test_nobody_by_that_number_is_not_found(self, world, browse, account):
        assert browse(world).get(f"/bills/{account}/2025-10").status_code == 404

    @pytest.mark.parametrize("period", ["2025-13", "x"])
    def test_a_month_that_is_none_is_refused(self, world, browse, period):
        assert browse(world).get(f"/bills/620547/{period}").status_code == 422


class TestChanges:
    def test_another_month_is_chosen_by_the_address(self, two_months, browse):
        clerk = browse(two_months)
        assert "From October 2025 to October 2025" in clerk.get(f"{BILL}/changes?with=2025-10").text
        answer = clerk.get(f"{BILL}/changes?with=2025-99")
        assert (answer.status_code, answer.text.count('aria-invalid="true"')) == (422, 1)
        csv = clerk.get(f"{BILL}/changes?format=csv").text.splitlines()
        assert csv[0] == "What,Class,Before,After,Amount,No."
        assert csv[1].startswith("PC2,item added,")

    def test_every_line_is_listed_and_is_a_file(self, two_months, browse):
        csv = browse(two_months).get(f"{BILL}/lines?format=csv").text.splitlines()
        assert len(csv) == 9
        assert csv[1] == "User: Ann (Paid),Users,1,100,100.00,1"

    def test_a_line_that_begins_no_group_is_not_found(self, two_months, browse):
        assert browse(two_months).get(f"{BILL}/why/1").status_code == 404


class TestWhatIf:
    def test_another_rate_and_more_people_are_a_waterfall(self, two_months, browser_page):
        visit = browser_page(two_months.ledger, "billing_clerk")
        page = visit.open("/what-if")
        visit.check()
        page.get_by_label("Account").fill("620547")
        page.get_by_label("People").fill("4")
        page.locator("summary", has_text="Rates").click()
        page.get_by_label("Per user").fill("90")
        page.get_by_role("button", name="Compute").click()
        visit.check()
        fall = page.get_by_role("table", name=re.compile("From As it is to Supposed"))
        amounts = fall.locator("td.n").all_text_contents()
        assert amounts == ["427.50", "+180.00", "\N{MINUS SIGN}20.00", "587.50"]
        assert two_months.rows("SELECT count(*) FROM client_overrides") == [(0,)]

    @pytest.mark.parametrize(
        ("query", "field"),
        [
            ("account_number=620547&period=2025-09", "period"),
            ("account_number=620547&user=many", "user"),
            ("account_number=620547&per_user=-1", "per_user"),
            ("account_number=620547&term=ages", "term"),
            ("account_number=unknown", "account_number"),
            ("account_number=a%20b", "account_number"),
        ],
    )
    def test_what_cannot_be_is_said_beside_its_field(self, world, browse, query, field):
        answer = browse(world).get(f"/what-if?{query}")
        assert answer.status_code == 422
        assert f'href="#f-{field}"' in answer.text
        assert f'id="f-{field}"' in answer.text

    def test_a_plan_that_nobody_has_gives_no_bill_and_says_so(self, world, browse):
        answer = browse(world).get("/what-if?account_number=620547&plan=Platin")
        assert answer.status_code == 200
        assert "No bill of what is supposed: no plan" in answer.text
