"""A sealed invoice corrected on its page: shown before it is sealed, with a reason, once, and by nobody else."""

import re

import pytest

BILL = "/bills/620547/2025-10"
CORRECT = f"{BILL}/correct"
NUMBER = "620547-202510"


@pytest.fixture
def accepted(world):
    """October is accepted: 912.50."""
    assert world.accept("620547")["620547"]["total"] == "912.50"
    return world


@pytest.fixture
def browse():
    """browse(world, person): calls as that person's browser, with what forms carry."""

    class Browser:
        def __init__(self, world, person="billing_clerk", **claims):
            self.ledger = world.ledger
            self.ledger.sign_in(person, **claims)

        def get(self, path):
            return self.ledger.get(path, None, headers={"Accept": "text/html"})

        def post(self, path=CORRECT, **form):
            return self.ledger.post(path, None, headers=self.ledger.csrf() | {"Accept": "text/html"}, data=form)

        def shown(self, query):
            return re.search('name="shown" value="([^"]+)"', self.get(f"{CORRECT}?{query}").text)[1]

    return Browser


class TestInABrowser:
    def test_the_clerk_credits_a_line_and_sees_before_what_it_changes(self, accepted, browser_page):
        visit = browser_page(accepted.ledger, "billing_clerk")
        page = visit.open(BILL)
        page.get_by_role("link", name="Correct this invoice").click()
        visit.check()
        page.get_by_label("User: Ann (Paid)").check()
        page.get_by_role("button", name="Show what it changes").click()
        visit.check()
        what = page.get_by_role("table", name=re.compile("The month with this correction"))
        assert what.get_by_role("rowheader").all_text_contents() == [
            f"Invoice {NUMBER}",
            f"Credit note {NUMBER}-C1",
            "October 2025 afterwards",
        ]
        assert what.locator("td.n").all_text_contents() == ["912.50", "\N{MINUS SIGN}100.00", "812.50"]
        assert accepted.archive.batches == 1, "nothing is sealed yet"
        page.get_by_label("Reason").fill("Ann left in September")
        page.get_by_role("button", name="Credit 100.00 USD").click()
        page.get_by_role("link", name=f"{NUMBER}-C1").wait_for()
        visit.check()
        assert accepted.archive.sealed[f"{NUMBER}-C1"]["body"]["reason"] == "Ann left in September"
        assert accepted.rows("SELECT corrected_by FROM corrections") == [("billing-clerk",)]

    def test_the_clerk_replaces_it_and_sees_the_change_class_by_class(self, accepted, case, browser_page):
        case.contact("Newcomer", uid="c-new")
        visit = browser_page(accepted.ledger, "billing_clerk")
        page = visit.open(CORRECT)
        page.get_by_label("Replace it by the bill of the facts as they are today").check()
        page.get_by_role("button", name="Show what it changes").click()
        visit.check()
        fall = page.get_by_role("table", name=re.compile("class by class, in USD"))
        assert fall.locator("td.n").all_text_contents() == ["912.50", "+100.00", "1,012.50"]
        page.get_by_label("Reason").fill("a newcomer was missing")
        page.get_by_role("button", name="Replace by 1,012.50 USD").click()
        page.get_by_role("heading", name="Corrections").wait_for()
        assert page.locator("#bill").text_content() == f"Bill {NUMBER}-C2"
        assert set(accepted.archive.sealed) == {NUMBER, f"{NUMBER}-C1", f"{NUMBER}-C2"}


class TestOverHttp:
    def test_pressed_twice_it_is_sealed_once(self, accepted, browse):
        clerk = browse(accepted)
        form = {"how": "lines", "lines": ["0"], "reason": "gone", "shown": clerk.shown("how=lines&lines=0")}
        assert [clerk.post(**form).status_code for _ in range(2)] == [303, 303]
        assert set(accepted.archive.sealed) == {NUMBER, f"{NUMBER}-C1"}

    def test_a_replacement_pressed_twice_is_sealed_once(self, accepted, browse, case):
        case.contact("Newcomer", uid="c-new")
        clerk = browse(accepted)
        form = {"how": "replace", "reason": "missing", "shown": clerk.shown("how=replace")}
        assert [clerk.post(**form).status_code for _ in range(2)] == [303, 303]
        assert set(accepted.archive.sealed) == {NUMBER, f"{NUMBER}-C1", f"{NUMBER}-C2"}

    @pytest.mark.parametrize("reason", ["", "   ", "x" * 2001])
    def test_a_reason_is_required(self, accepted, browse, reason):
        clerk = browse(accepted)
        answer = clerk.post(how="all", reason=reason, shown=clerk.shown("how=all"))
        assert (answer.status_code, 'aria-invalid="true"' in answer.text) == (422, True)
        assert set(accepted.archive.sealed) == {NUMBER}

    def test_what_is_no_longer_what_was_shown_is_not_sealed(self, accepted, browse, case):
        clerk = browse(accepted)
        form = {"how": "replace", "reason": "missing", "shown": clerk.shown("how=replace")}
        case.contact("Newcomer", uid="c-new")
        answer = clerk.post(**form)
        assert (answer.status_code, "no longer what was shown" in answer.text) == (409, True)
        assert "1,012.50" in answer.text, "what it would be now stands below"
        assert set(accepted.archive.sealed) == {NUMBER}
        assert clerk.post(**form | {"shown": ""}).status_code == 409

    @pytest.mark.parametrize(
        ("query", "status", "told"),
        [
            ("how=lines", 422, "Mark at least one line."),
            ("how=lines&lines=99", 422, "has 7 lines"),
            ("how=lines&lines=-1&lines=x", 422, "Mark at least one line."),
            ("how=nothing", 200, "What is to be done"),
        ],
    )
    def test_what_cannot_be_corrected_is_told_on_the_page(self, accepted, browse, query, status, told):
        answer = browse(accepted).get(f"{CORRECT}?{query}")
        assert (answer.status_code, told in answer.text) == (status, True)

    def test_what_is_credited_is_offered_no_more(self, accepted, browse):
        accepted.correct(lines=[0])
        clerk = browse(accepted)
        assert [f'value="{place}"' in clerk.get(CORRECT).text for place in (0, 1)] == [False, True]
        again = clerk.get(f"{CORRECT}?how=lines&lines=0")
        assert (again.status_code, "credited before are 0" in again.text) == (409, True)

    def test_an_open_month_has_nothing_to_correct(self, accepted, browse):
        clerk = browse(accepted)
        assert clerk.get("/bills/620547/2025-09/correct").status_code == 404
        assert "Correct this invoice" not in clerk.get("/bills/620547/2025-09").text

    @pytest.mark.parametrize("person", ["auditor", "client_user", "technician"])
    def test_nobody_else_sees_or_presses_it(self, accepted, browse, person):
        other = browse(accepted, person)
        assert "Correct this invoice" not in other.get(BILL).text
        assert other.get(CORRECT).status_code == 403
        assert other.post(how="all", reason="mine", shown="").status_code == 403
        assert set(accepted.archive.sealed) == {NUMBER}
