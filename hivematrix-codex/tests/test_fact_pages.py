"""The pages of facts: lists that sort, filter and export, one company with its tabs, forms, search, plans, import."""

import re
from io import BytesIO

import pytest
from hivematrix_codex.models import assets, contacts
from sqlalchemy import select, text

LISTS = ["/companies", "/contacts", "/assets", "/tickets", "/plans"]
TABS = ["", "/contacts", "/assets", "/tickets", "/hours", "/plan", "/history"]
OWN_TABS = ["", "/contacts", "/assets", "/tickets", "/hours"]
OTHERS = ["/waiting", "/search", "/search?q=contoso", "/plans/Gold/1 Year", "/import", "/companies/new", "/plans/new"]


@pytest.fixture
def technician(filled):
    """`technician("/companies")`: what a technician's browser gets; with `form` what it sends."""
    filled.sign_in("technician")

    def ask(path, form=None, status=200, **options):
        if form is None:
            answer = filled.get(path, None, headers={"Accept": "text/html"})
        else:
            headers = filled.csrf() | {"Accept": "text/html"}
            answer = filled.post(path, None, data=form, headers=headers, **options)
        assert answer.status_code == status
        return answer

    return ask


def state(page):
    """The state that a form was made of."""
    return re.search(r'name="match" value="([^"]+)"', page.text)[1].replace("&#34;", '"')


@pytest.mark.parametrize("path", [*LISTS, *(f"/companies/620547{tab}" for tab in TABS), *OTHERS])
def test_every_page_is_there(technician, path):
    assert "<h1" in technician(path).text


@pytest.mark.parametrize("path", [*LISTS, "/companies/620547/hours", "/companies/620547/history"])
def test_every_list_sorts_and_is_a_file(technician, path):
    first = technician(path).text
    for sorted_by in set(re.findall(r"sort=([a-z_-]+)", first)):
        technician(f"{path}?sort={sorted_by}")
    file = technician(f"{path}?format=csv")
    assert file.mimetype == "text/csv"
    assert len(file.text.splitlines()) > 1


@pytest.mark.parametrize(
    ("path", "found", "not_found"),
    [
        ("/companies?q=fabri", "Fabrikam Freight", "Contoso"),
        ("/assets?billing_type=Server", "SRV1", "WS1"),
        ("/assets?heard=unknown&q=ws", "WS1", "SRV1"),
        ("/contacts?state=gone", "Ben Ode", "Ada"),
        ("/contacts?state=inactive", "Cy Lane", "Ada"),
        ("/tickets?state=open", "Printer", "Mail is slow"),
        ("/companies/620547/tickets?q=mail", "Mail is slow", "Printer"),
        ("/companies/620547/hours?late=yes", "INC-7", "Printer"),
        ("/search?q=contoso", "Contoso Dental", "Fabrikam"),
        ("/search?q=mail+sl", "Mail is slow", "Printer"),
    ],
)
def test_a_list_shows_what_is_asked_for(technician, path, found, not_found):
    page = technician(path).text
    main = page[page.index("<main") :]
    assert found in main
    assert not_found not in main


@pytest.mark.parametrize("tab", OWN_TABS)
def test_a_client_sees_its_own_company_alone(filled, tab):
    filled.sign_in("client_user")
    assert filled.get(f"/companies/620547{tab}", None).status_code == 200
    assert filled.get(f"/companies/183729{tab}", None, headers={"Accept": "text/html"}).status_code == 404


@pytest.mark.parametrize("path", [*LISTS, "/waiting", "/companies/620547/plan", "/companies/620547/history", "/import"])
def test_what_is_the_operators_own_is_not_for_a_client(filled, path):
    filled.sign_in("client_user")
    assert filled.get(path, None, headers={"Accept": "text/html"}).status_code == 403


def test_a_client_finds_its_own_facts_alone(filled):
    filled.sign_in("client_user")
    assert "INC-7" in filled.get("/search?q=mail", None).text
    for words in ("printer", "fabrikam", "cy"):
        assert "Nothing has" in filled.get(f"/search?q={words}", None).text


def test_a_client_reads_who_changed_what_nowhere(filled):
    filled.sign_in("client_user")
    page = filled.get("/companies/620547", None).text
    assert "Changed lately" not in page
    assert "Overrides" not in page


def test_a_form_changes_a_contact_and_leads_back_to_the_list(filled, technician):
    path = "/companies/620547/contacts/change?uid=c1"
    form = technician(path)
    answer = technician(path, {"match": state(form), "name": "Ada G.", "email": "a@x.example"}, 303)
    assert answer.location.endswith("/companies/620547/contacts")
    found = filled.db.session.execute(select(contacts.c.name, contacts.c.email).where(contacts.c.uid == "c1")).one()
    assert found == ("Ada G.", "a@x.example")
    assert "name Ada Grün → Ada G." in technician("/companies/620547/history").text


def test_a_form_that_is_not_acceptable_comes_back_with_what_was_typed(technician):
    path = "/companies/620547/assets/change?uid=a1"
    page = technician(path, {"match": state(technician(path)), "hostname": "", "backup_bytes": "many"}, 422).text
    assert "2 values are" in page
    assert 'value="many"' in page
    assert "expected a whole number" in page


def test_a_form_made_of_an_older_state_overwrites_nothing(filled, technician):
    path = "/companies/620547/assets/change?uid=a1"
    match = state(technician(path))
    technician(path, {"match": match, "hostname": "FIRST"}, 303)
    page = technician(path, {"match": match, "hostname": "SECOND"}, 412).text
    assert "was changed since you read it" in page
    assert 'value="SECOND"' in page
    assert filled.db.session.scalar(select(assets.c.hostname).where(assets.c.uid == "a1")) == "FIRST"


def test_a_machine_is_added_and_retired_by_hand(filled, technician):
    technician("/companies/620547/assets/new", {"uid": "a9", "hostname": "NEW", "billing_type": "VM"}, 303)
    path = "/companies/620547/assets/change?uid=a9"
    match = state(technician(path))
    technician("/companies/620547/assets/retire?uid=a9", {"match": match}, 303)
    row = filled.db.session.execute(select(assets).where(assets.c.uid == "a9")).one()
    assert (row.hostname, row.billing_type, str(row.active_to), row.source) == ("NEW", "VM", "2025-11-02", "manual")


def test_another_companys_machine_is_not_reached_through_this_one(filled, technician):
    technician("/companies/183729/assets/change?uid=a1", status=404)
    technician("/companies/183729/assets/retire?uid=a1", {"match": "*"}, 404)
    assert filled.db.session.scalar(select(assets.c.active_to).where(assets.c.uid == "a1")) is None


def test_a_new_version_of_a_plan_begins_with_what_the_last_one_says(technician):
    page = technician("/plans/new?plan_name=Gold&term=1 Year").text
    assert 'value="110.5"' in page
    version = {"plan_name": "Gold", "term": "1 Year", "valid_from": "2026-01-01", "per_user": "120"}
    technician("/plans/new", version, 303)
    page = technician("/plans/Gold/1 Year").text
    assert "3 versions, now 120" in page
    assert "31 Dec 2025" in page


@pytest.mark.parametrize(("partial", "status", "kept"), [("", 422, 0), ("yes", 200, 1)])
def test_the_import_names_every_fault_by_file_line_and_column(filled, technician, partial, status, kept):
    rows = b"uid,account_number,name,active\nn1,620547,New One,\nn2,999,,maybe\n"
    form = {"files": [(BytesIO(rows), "contacts.csv")], "partial": partial}
    page = technician("/import", form, status, content_type="multipart/form-data").text
    table = page[page.index("Faults by file") :]
    cells = [re.sub(r"<[^>]+>", "", cell) for cell in re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", table)]
    assert cells[4:12] == [
        *("contacts.csv", "3", "name", "a value is required"),
        *("contacts.csv", "3", "active", "expected true or false, got maybe"),
    ]
    found = filled.db.session.scalar(text("SELECT count(*) FROM contacts WHERE uid LIKE 'n%'"))
    assert found == kept


def test_the_import_asks_for_a_file(technician):
    assert "No file was chosen" in technician("/import", {}, 422, content_type="multipart/form-data").text


def test_who_may_only_read_is_offered_no_form(filled):
    filled.sign_in("billing_clerk")
    page = filled.get("/companies/620547/contacts", None).text
    assert "Add a contact" not in page
    assert filled.get("/companies/620547/change", None, headers={"Accept": "text/html"}).status_code == 403
