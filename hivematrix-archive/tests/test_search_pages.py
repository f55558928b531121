"""The pages of search and of one sealed document, as people use them; a client sees its own company alone."""

import re
import subprocess
import sys
from contextlib import closing

import pytest
from hivematrix_archive.services import erasure, growth, invoice, session
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session


@pytest.fixture
def found(sealed):
    """The four bills, filled into the search."""
    session().execute(text("SELECT archive_search.fill(100)"))
    return sealed


def rows(page):
    return page.get_by_role("rowheader").all_text_contents()


def test_a_person_finds_a_bill_by_a_text_on_its_line(found, browser_page):
    visit = browser_page(found, "auditor")
    page = visit.open("/search")
    visit.check()
    assert page.get_by_role("status").text_content() == "4 documents"
    page.get_by_label("Text on any line").fill("srv1")
    page.get_by_role("button", name="Search").click()
    visit.check()
    assert page.get_by_role("status").text_content() == "2 documents"
    assert [head[:13] for head in rows(page)] == ["620547-202510", "620547-202509", "Sum of all 2"]
    assert page.locator("mark").first.text_content() == "SRV1"
    assert page.get_by_role("row", name="Sum of all 2").get_by_role("cell", name="1,825.00").count() == 1
    page.get_by_role("link", name="\N{MULTIPLICATION SIGN} Text on any line: srv1").click()
    assert page.get_by_role("status").text_content() == "4 documents"


def test_the_address_holds_the_search_and_its_order(found, browser_page):
    visit = browser_page(found, "billing_clerk", script=False)
    page = visit.open("/search?company=620547&from_period=2025-10&sort=total")
    visit.check()
    assert page.get_by_label("Company or account").input_value() == "620547"
    assert page.get_by_label("Period from").input_value() == "2025-10"
    assert [head[:13] for head in rows(page)] == ["620547-202510", "Sum of all 1"]
    page.get_by_role("link", name="Total USD").click()
    assert "sort=-total" in page.url
    assert page.get_by_role("columnheader", name="Total USD").get_attribute("aria-sort") == "descending"


def test_pages_of_results_lead_on_and_back(found, browser_page, monkeypatch):
    monkeypatch.setattr("hivematrix_archive.services.search.PAGE", 3)
    page = browser_page(found, "auditor").open("/search?sort=sealed")
    assert [head[:13] for head in rows(page)] == ["620547-202509", "620547-202510", "183729-202509"]
    assert page.get_by_text("1 to 3 of 4").is_visible()
    page.get_by_role("link", name="Next").click()
    assert [head[:13] for head in rows(page)] == ["183729-202510"]
    assert page.get_by_text("4 to 4 of 4").is_visible()
    page.get_by_role("link", name="Previous").click()
    assert page.get_by_text("1 to 3 of 4").is_visible()
    assert page.get_by_role("link", name="Previous").count() == 0


def test_the_list_says_what_was_verified_and_counts_what_was_sealed_since(found, browser_page, seal, sealing_request):
    visit = browser_page(found, "auditor")
    assert visit.open("/search").get_by_text("Never verified as a whole").is_visible()
    growth.store.add_verification(session(), growth.clock.now(), 4, None)
    seal(found, sealing_request("7"))
    page = visit.open("/search?sort=-sealed")
    visit.check()
    assert "4 verified" in page.locator(".hm-head").text_content()
    assert "and 1 sealed since" in page.locator(".hm-head").text_content()
    proofs = page.locator("tbody tr td:last-child").all_text_contents()
    assert proofs == ["Sealed since", *["Verified"] * 4]


def test_nothing_found_says_what_there_is_nearby(found, browser_page):
    visit = browser_page(found, "auditor")
    page = visit.open("/search?item=SRV2&company=620547&to_period=2025-12")
    visit.check()
    assert page.get_by_role("heading", name="No sealed document has “SRV2” on a line").is_visible()
    page.get_by_role("link", name="Without “Text on any line”: 2").click()
    assert page.get_by_role("status").text_content() == "2 documents"
    close = visit.open("/search?item=Consultign").get_by_role("link", name="item: Consulting")
    close.click()
    assert rows(page)[0].startswith("183729-202510")


def test_a_value_that_is_not_acceptable_is_named_and_kept(found, browser_page):
    visit = browser_page(found, "auditor")
    page = visit.open("/search?min_total=ten&company=Oak", 422)
    visit.check()
    assert page.get_by_role("alert").get_by_role("link", name="Total from").is_visible()
    field = page.get_by_label("Total from")
    assert (field.input_value(), field.get_attribute("aria-invalid")) == ("ten", "true")
    assert page.get_by_label("Company or account").input_value() == "Oak"


def test_an_empty_archive_says_so(archive, browser_page):
    visit = browser_page(archive, "auditor")
    assert visit.open("/search").get_by_role("heading", name="Nothing is sealed yet").is_visible()
    visit.check()


def test_the_table_is_a_file_too(found):
    found.sign_in("auditor")
    answer = found.get("/search?item=srv1&format=csv", None)
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    assert [line.split(",")[0] for line in answer.text.splitlines()] == ["Number", "620547-202510", "620547-202509"]


def test_a_client_searches_its_own_documents(found, browser_page):
    visit = browser_page(found, "client_user", account="183729")
    page = visit.open("/search?company=620547&account_number=620547")
    visit.check()
    assert rows(page) == []
    page = visit.open("/search")
    visit.check()
    assert [head[:13] for head in rows(page)][:2] == ["183729-202510", "183729-202509"]
    assert "620547" not in page.content()
    assert page.get_by_label("Company or account").count() == 0


def test_an_invoice_is_shown_from_its_sealed_bytes_and_verified_now(found, browser_page):
    visit = browser_page(found, "auditor")
    page = visit.open("/invoice/620547-202510")
    visit.check()
    assert page.get_by_role("heading", level=1).text_content() == "Invoice 620547-202510"
    assert page.locator(".hm-badge").text_content() == "Verified"
    assert page.get_by_text("4 of 4 checks pass").is_visible()
    paper = page.get_by_role("article")
    assert paper.get_by_role("row").count() == 9  # the heading, seven lines, the total
    assert paper.get_by_role("row", name="Total USD").get_by_role("cell").text_content() == "912.50"
    files = {link.text_content(): link.get_attribute("href") for link in page.locator("[download]").all()}
    assert set(files) == {"Body", "Proof", "Key", "Script"}
    for url in files.values():
        assert found.get(url).status_code == 200, url


def test_what_the_page_gives_is_enough_to_check_without_us(found, tmp_path):
    """The four files of the page, and the line on it."""
    found.sign_in("client_user", account="620547")
    page = found.get("/invoice/620547-202510", None).text
    for name, url in re.findall(r'href="([^"]+)" download="([^"]+)"', page):
        (tmp_path / url).write_bytes(found.get(name, None).data)
    [command] = re.findall(r"(python3 verify_offline.py[^<]+)</pre>", page)
    arguments = command.replace("\\", " ").split()[1:]
    done = subprocess.run([sys.executable, *arguments], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout.strip()) == (0, "good: entry 1")


def test_a_body_that_was_changed_does_not_hold(own_archive, seal, sealing_request, browser_page):
    seal(own_archive, sealing_request("7"), sealing_request("8"))
    with closing(own_archive.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("ALTER TABLE archive_data.bodies DISABLE TRIGGER never_changed")
        cursor.execute(
            "UPDATE archive_data.bodies SET body = replace(body::text, '3931', '3831')::bytea WHERE log_index = 0"
        )
    visit = browser_page(own_archive, "auditor")
    page = visit.open("/invoice/7-202510")
    visit.check()
    assert page.locator(".hm-badge").text_content() == "Does not hold"
    assert page.get_by_text("3 of 4 checks pass").is_visible()
    assert "entry 0 seals sha256:" in page.get_by_role("region", name="Proof").text_content()
    assert visit.open("/invoice/8-202510").locator(".hm-badge").text_content() == "Verified"


FORGERIES = {
    "The entry is in the log": "UPDATE archive_log.entries SET hash = sha256('x') WHERE index = 1",
    "The root is signed": "UPDATE archive_log.checkpoints SET note = replace(note, E'\n2\n', E'\n3\n')",
}


@pytest.mark.parametrize("check", FORGERIES)
def test_a_log_that_was_changed_is_told_by_the_check_that_fails(own_archive, seal, sealing_request, check):
    seal(own_archive, sealing_request("7"), sealing_request("8"))
    with closing(own_archive.owner()) as owner, owner.cursor() as cursor:
        for table in ("entries", "checkpoints"):
            cursor.execute(f"ALTER TABLE archive_log.{table} DISABLE TRIGGER never_changed")
        cursor.execute(FORGERIES[check])
    outside = own_archive.app.extensions["hivematrix_outside"]
    found = invoice.document(session(), outside, "7-202510")
    assert found["broken"]
    assert check in {title for verdict, title, _ in found["checks"] if verdict == "bad"}


def test_a_log_behind_its_file_is_told_on_the_page(archive, seal, sealing_request, outside):
    seal(archive, sealing_request("7"))
    outside.keep([outside.last_kept().replace("\n1\n", "\n2\n")])
    found = invoice.document(session(), outside, "7-202510")
    assert [verdict for verdict, _, _ in found["checks"]] == ["ok", "ok", "ok", "bad"]


def test_a_corrected_invoice_says_what_is_owed(archive, seal, sealing_request, browser_page):
    bill = sealing_request("7")
    credit = sealing_request(
        "7",
        rows=[("backup", "Overage", "-1.5", "15", "-22.50")],
        kind="credit_note",
        invoice_number="7-202510-C1",
        corrects={"invoice_number": "7-202510", "body": bill["digest"]},
        meta={"notes": "Billed in error"},
    )
    outcomes = seal(archive, bill, credit)
    assert all(outcome.fresh for outcome in outcomes), outcomes
    visit = browser_page(archive, "billing_clerk")
    page = visit.open("/invoice/7-202510")
    visit.check()
    assert page.get_by_text("What the customer owes for October 2025 is 890.00 USD.").is_visible()
    balance = page.get_by_role("table", name="Balance of October 2025")
    assert balance.locator("td").all_text_contents() == ["912.50", "\N{MINUS SIGN}22.50", "890.00"]
    assert "“Billed in error”" in page.locator(".hm-timeline").text_content()
    page.get_by_role("link", name="7-202510-C1").first.click()
    visit.check()
    assert page.get_by_role("heading", level=1).text_content() == "Credit note 7-202510-C1"
    assert page.get_by_text("corrects 7-202510").is_visible()


def test_the_invoice_in_force_says_to_a_clerk_how_it_is_corrected(sealed, browser_page):
    page = browser_page(sealed, "billing_clerk").open("/invoice/620547-202510")
    told = page.get_by_label("Commands to correct it").text_content()
    assert told.startswith("hivematrix-ledger bill 620547 2025-10\nhivematrix-ledger correct 620547 2025-10")
    page = browser_page(sealed, "auditor").open("/invoice/620547-202510")
    assert page.get_by_label("Commands to correct it").count() == 0


def test_an_erased_document_offers_what_is_left_of_it(own_archive, seal, sealing_request, browser_page):
    seal(own_archive, sealing_request("7"))
    outside, database = own_archive.app.extensions["hivematrix_outside"], create_engine(own_archive.owner_url)
    with Session(database) as owner:
        erasure.erase(owner, outside, "7-202510", "request 17", "root")
    database.dispose()
    visit = browser_page(own_archive, "billing_clerk")
    page = visit.open("/invoice/7-202510")
    visit.check()
    assert page.get_by_role("heading", name="This document was erased").is_visible()
    assert page.get_by_text("3 of 4 checks pass").is_visible()
    assert set(page.locator("[download]").all_text_contents()) == {"Proof", "Key", "Script"}
    assert page.get_by_role("navigation").get_by_role("link", name="7", exact=True).count() == 1
    assert page.get_by_label("Commands to correct it").count() == 0


def test_a_client_sees_its_own_invoice_without_the_houses_notes(sealed, browser_page):
    visit = browser_page(sealed, "client_user", account="183729")
    page = visit.open("/invoice/183729-202510")
    visit.check()
    assert page.locator(".hm-badge").text_content() == "Verified"
    assert "Sealed by" not in page.content()
    assert "“test”" not in page.content()
    visit.open("/invoice/620547-202510", 404)


@pytest.mark.parametrize("number", ["620547-202501", "x", "620547-202510-C1", "%27"])
def test_what_is_not_sealed_has_no_page(sealed, number):
    sealed.sign_in("auditor")
    assert sealed.get(f"/invoice/{number}", None).status_code == 404
