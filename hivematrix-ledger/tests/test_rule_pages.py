"""Overrides and items as pages: a billing clerk lists, adds, changes and ends them; others look or see nothing."""

import re

import pytest

BASE = "/companies/620547/overrides"


@pytest.fixture
def clerk(world):
    """The billing clerk's forms: `clerk(path, key="per_user", value="95")` posts one, with its CSRF token."""
    world.ledger.sign_in("billing_clerk")

    def post(path, **form):
        headers = world.ledger.csrf() | {"Accept": "text/html"}
        return world.ledger.post(f"{BASE}{path}", None, data=form, headers=headers)

    return post


def rows(world, table):
    return world.rows(f"SELECT * FROM {table}")


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        ("client-overrides", {"key": "per_user", "value": "95", "from_period": "2025-10"}),
        ("asset-overrides", {"asset_uid": "a-WS1", "billing_type": "VM"}),
        ("user-overrides", {"contact_uid": "c-Ann", "billing_type": "Free"}),
        ("manual-assets", {"hostname": "Printer", "billing_type": "Custom", "custom_cost": "-3", "notes": "leased"}),
        ("manual-users", {"name": "Temp", "billing_type": "Paid"}),
        ("line-items", {"name": "Care", "kind": "recurring", "fee": "10"}),
        ("prepaid-hours", {"monthly": "2.5", "pool_year": "calendar"}),
        ("tax-rates", {"category": "*", "percent": "20"}),
    ],
)
def test_a_clerk_adds_looks_at_and_removes_a_row_of_each_kind(world, clerk, kind, form):
    table = kind.replace("-", "_")
    assert clerk(f"/{kind}", **form).headers["Location"].endswith(f"{BASE}/{kind}?done=added")
    assert len(rows(world, table)) == 1
    listed = world.get(f"{BASE}/{kind}", person=None).text
    [place] = re.findall(rf'href="{BASE}/{kind}/row(\?[^"]+)?"', listed)
    place = place.replace("&amp;", "&")
    shown = world.get(f"{BASE}/{kind}/row{place}", person=None).text
    assert all(f'value="{text}"' in shown for text in form.values())
    assert clerk(f"/{kind}/row{place}", **form).status_code == 303
    assert len(rows(world, "rule_changes")) == 1, "sent again as it was: no change"
    assert clerk(f"/{kind}/remove{place}").headers["Location"].endswith("?done=removed")
    assert rows(world, table) == []
    assert clerk(f"/{kind}/remove{place}").status_code == 404


def test_a_row_is_ended_by_its_last_month(world, clerk):
    clerk("/client-overrides", key="per_user", value="95")
    changed = clerk("/client-overrides/row?key=per_user&from_period=", key="per_user", value="95", to_period="2025-10")
    assert changed.status_code == 303
    assert rows(world, "client_overrides") == [("620547", "per_user", "95", None, "2025-10")]
    moved = {"key": "per_user", "value": "95", "from_period": "2025-02", "to_period": "2025-10"}
    assert clerk("/client-overrides/row?key=per_user&from_period=", **moved).status_code == 303
    assert rows(world, "client_overrides") == [("620547", "per_user", "95", "2025-02", "2025-10")]


def test_a_refused_form_says_why_at_the_field_and_keeps_what_was_typed(world, clerk):
    clerk("/client-overrides", key="per_user", value="95")
    refused = clerk("/client-overrides", key="per_printer", value="9O", to_period="2026-13")
    assert refused.status_code == 422
    assert "2 values are not acceptable" in refused.text
    assert 'value="9O"' in refused.text
    assert 'id="f-to_period-error"' in refused.text
    refused = clerk("/client-overrides", key="per_user", value="9O")
    assert "expected a decimal such as 12.50" in refused.text
    overlap = clerk("/client-overrides", key="per_user", value="90", from_period="2025-11")
    assert overlap.status_code == 409
    assert "per_user 90 (2025-11 to no end) overlaps per_user 95 (the beginning to no end)" in overlap.text
    twice = clerk("/client-overrides", key="per_user", value="90")
    assert (twice.status_code, 'value="90"' in twice.text) == (409, True)
    assert len(rows(world, "client_overrides")) == 1


def test_a_row_that_somebody_removed_meanwhile_is_said_to_be_gone(world, clerk):
    gone = clerk("/tax-rates/row?category=user", category="user", percent="7")
    assert gone.status_code == 404
    assert "There is no tax rate 620547 user." in gone.text
    assert 'value="7"' in gone.text


def test_without_its_csrf_token_a_form_changes_nothing(world, clerk):
    answer = world.ledger.post(f"{BASE}/tax-rates", None, data={"category": "*", "percent": "20"})
    assert answer.status_code == 403
    assert rows(world, "tax_rates") == []


@pytest.mark.parametrize(
    ("person", "reads"), [("admin", 200), ("auditor", 200), ("technician", 403), ("client_user", 403)]
)
def test_who_reads_and_who_writes(world, person, reads):
    world.ledger.sign_in(person)
    for path in ("", "/history", "/tax-rates"):
        assert world.get(BASE + path, person=None).status_code == reads
    headers = world.ledger.csrf()
    sent = world.ledger.post(f"{BASE}/tax-rates", None, data={"category": "*", "percent": "20"}, headers=headers)
    assert sent.status_code == (303 if person == "admin" else 403)


def test_who_may_not_write_sees_no_form(world, clerk):
    clerk("/tax-rates", category="*", percent="20")
    world.ledger.sign_in("auditor")
    for path in ("", "/tax-rates", "/tax-rates/row?category=*"):
        assert '<form class="hm-form"' not in world.get(BASE + path, person=None).text
        assert "btn-danger" not in world.get(BASE + path, person=None).text


def test_an_unknown_company_or_kind_is_not_found(world):
    world.codex.lack("999999")
    world.ledger.sign_in("billing_clerk")
    for path in (
        "/companies/999999/overrides",
        "/companies/../overrides",
        f"{BASE}/nothing",
        "/companies/a%20b/overrides",
    ):
        assert world.get(path, person=None).status_code == 404, path


def test_while_codex_is_away_rows_are_shown_without_names(world, clerk):
    clerk("/asset-overrides", asset_uid="a-WS1", billing_type="VM")
    for path in ("", "/assets"):
        world.codex.peer.answers("GET", f"/api/companies/620547{path}", {"detail": "no"}, status=400)
    page = world.get(BASE, person=None)
    assert page.status_code == 200
    assert "Codex does not answer, so names are missing" in page.text
    assert "a-WS1" in page.text
    assert "Idle" not in page.text


def test_the_history_page_says_it_in_words_and_as_a_file(world, clerk):
    clerk("/client-overrides", key="per_user", value="95")
    clerk("/client-overrides/row?key=per_user&from_period=", key="per_user", value="90", to_period="2025-12")
    clerk("/manual-assets", hostname="Printer", billing_type="VM", notes="leased")
    page = world.get(f"{BASE}/history", person=None).text
    assert "per_user: value 95 → 90, to_period — → 2025-12" in page
    assert "Printer added: billing_type VM, notes leased" in page
    csv = world.get(f"{BASE}/history?format=csv&rule=client_overrides", person=None)
    assert [line.split(",")[1:3] for line in csv.text.splitlines()[1:]] == [["billing-clerk", "client_overrides"]] * 2
    assert "per_user added: value 95" in world.get(BASE, person=None).text


def test_the_pages_are_sound_and_work_without_script(world, browser_page, clerk):
    clerk("/client-overrides", key="feature:antivirus", value="Shield", from_period="2025-01")
    clerk("/line-items", name="Monitoring of everything", kind="yearly", fee="-12.5", month="10")
    clerk("/asset-overrides", asset_uid="a-WS1", billing_type="Custom", custom_cost="7")
    for path in (BASE, f"{BASE}/client-overrides", f"{BASE}/line-items", f"{BASE}/history", "/overrides"):
        visit = browser_page(world.ledger, "billing_clerk")
        visit.open(path)
        visit.check()
    visit = browser_page(world.ledger, "billing_clerk", script=False)
    page = visit.open("/overrides")
    page.get_by_role("link", name="Acme Ltd").click()
    page.get_by_role("link", name="Add to Taxes").click()
    page.get_by_label("Percent").fill("200")
    page.get_by_role("button", name="Add").click()
    assert page.get_by_label("Percent").input_value() == "200"
    page.get_by_label("Percent").fill("20")
    page.get_by_role("button", name="Add").click()
    page.get_by_text("The row is added.").wait_for()
    page.get_by_role("link", name=re.compile("^user")).click()
    page.get_by_role("button", name="Remove the row").click()
    page.get_by_text("The row is removed.").wait_for()
    assert visit.said == []
