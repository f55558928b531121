"""Facts by hand: the import's rules, nothing overwritten unseen, nothing deleted, every change kept with its author."""

from datetime import UTC, datetime

import psycopg2
import pytest
from hivematrix_codex.models import asset_contacts, fact_changes, time_entries
from hivematrix_codex.store import changes
from sqlalchemy import select, text


@pytest.fixture
def edit(filled):
    """`edit("/api/contacts/c1", {...})`: a technician changes what they have just read."""

    def put(path, body, person="technician", *, match=None, method="PUT"):
        read = path.removesuffix("/retire").replace("/update-contacts", "").removesuffix("/update")
        read = read if read.startswith("/api") else f"/api{read}"
        tag = match or filled.get(read).headers["ETag"]
        return filled.call(method, path, person, json=body, headers={"If-Match": tag})

    return put


def noted(codex, **having):
    found = select(fact_changes).filter_by(**having).order_by(fact_changes.c.id)
    return [
        (row.actor, row.actor_kind, row.action, row.kind, row.key, row.before, row.after)
        for row in codex.db.session.execute(found)
    ]


def test_a_technician_changes_a_contact_and_the_history_says_so(filled, edit):
    answer = edit("/api/contacts/c1", {"email": "ada@contoso.example", "title": "Owner"})
    assert (answer.status_code, answer.json["email"], answer.json["name"]) == (200, "ada@contoso.example", "Ada Grün")
    assert answer.headers["ETag"] == filled.get("/api/contacts/c1").headers["ETag"]
    before, after = {"email": None, "title": None}, {"email": "ada@contoso.example", "title": "Owner"}
    rule = "PUT /api/contacts/<path:uid>"
    assert noted(filled, key="c1")[-1] == ("technician", "service", rule, "contacts", "c1", before, after)
    page = filled.get("/api/companies/620547/history?kind=contacts&key=c1").json
    assert [(one["before"], one["after"].get("email")) for one in page["changes"]] == [
        (before, "ada@contoso.example"),
        (None, None),
    ]
    assert page["changes"][0]["trace_id"] == answer.headers["X-Trace-Id"]
    assert (page["total"], page["next"]) == (2, None)


def test_an_import_says_who_added_and_changed_what_and_the_same_again_says_nothing(filled, run_import, facts):
    count = len(noted(filled))
    assert count == 15
    run_import(facts())
    assert len(noted(filled)) == count
    run_import(facts({"assets.csv": "uid,account_number,hostname,billing_type\na1,620547,WS-1,VM\n"}))
    [(actor, kind, action, table, key, before, after)] = noted(filled)[count:]
    assert (kind, action, table, key) == ("command", "codex import", "assets", "a1")
    assert actor
    assert before == {"hostname": "WS1", "billing_type": "Workstation"}
    assert after == {"hostname": "WS-1", "billing_type": "VM"}


def test_what_goes_to_another_company_stands_in_the_history_of_both(filled, run_import, facts):
    run_import(
        facts({"tickets.csv": "uid,account_number,number,subject,status\nt1,183729,INC-7,Mail is slow,closed\n"})
    )
    moved = select(fact_changes.c.account_number, fact_changes.c.kind, fact_changes.c.key)
    moved = moved.where(fact_changes.c.before.is_not(None)).order_by(fact_changes.c.kind, fact_changes.c.key)
    assert {tuple(row) for row in filled.db.session.execute(moved)} == {
        (account, *fact)
        for account in ("183729", "620547")
        for fact in (("tickets", "t1"), ("time_entries", "e1"), ("time_entries", "e2"))
    }


def test_who_changes_a_row_past_the_service_is_named_by_the_role(filled):
    filled.db.session.execute(text("SELECT set_config('hivematrix.change', '', true)"))
    filled.db.session.execute(text("UPDATE assets SET backup_bytes = 5 WHERE uid = 'a1'"))
    assert noted(filled, key="a1")[-1][:3] == ("codex_user", "database", "SQL")


def test_what_a_machine_tells_of_itself_all_day_is_no_change(filled):
    before = len(noted(filled))
    filled.db.session.execute(text("UPDATE assets SET online = true, last_seen = now()"))
    assert len(noted(filled)) == before


@pytest.mark.parametrize("statement", ["DELETE FROM fact_changes", "UPDATE fact_changes SET actor = 'nobody'"])
def test_the_history_is_never_changed(filled, statement):
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        filled.db.session.connection().connection.cursor().execute(statement)


def test_two_people_at_once_and_the_second_is_told(filled, edit):
    tag = filled.get("/api/assets/a1").headers["ETag"]
    assert edit("/api/assets/a1", {"hostname": "FIRST"}, match=tag).status_code == 200
    second = edit("/api/assets/a1", {"hostname": "SECOND"}, match=tag)
    assert (second.status_code, second.json["code"]) == (412, "precondition_failed")
    assert second.headers["ETag"] == filled.get("/api/assets/a1").headers["ETag"]
    assert filled.get("/api/assets/a1").json["hostname"] == "FIRST"


def test_a_change_without_the_state_it_was_made_on_is_refused(filled):
    answer = filled.call("PUT", "/api/assets/a1", json={"hostname": "X"})
    assert (answer.status_code, answer.json["code"]) == (428, "precondition_required")


@pytest.mark.parametrize(
    ("path", "body", "field", "message"),
    [
        ("/api/contacts/c1", {"name": ""}, "name", "a value is required"),
        ("/api/contacts/c1", {"nmae": "Ada"}, "nmae", "unknown member"),
        ("/api/contacts/c1", {"uid": "c9"}, "uid", "stays as it is"),
        ("/api/contacts/c2", {"active_to": "2024-12-31"}, "active_to", "2024-12-31 lies before active_from 2025-01-01"),
        ("/api/contacts/c1", {"account_number": "999"}, "account_number", "there is no 999 in companies"),
        (
            "/api/assets/a1",
            {"billing_type": "Laptop"},
            "billing_type",
            "expected one of Workstation, Server, VM, Switch",
        ),
        ("/api/assets/a1", {"backup_bytes": -1}, "backup_bytes", "expected a whole number from 0"),
        ("/api/tickets/t1", {"priority": "soon"}, "priority", "expected one of low, medium, high, urgent, got soon"),
        ("/api/time-entries/e1", {"hours": "25"}, "hours", "expected 24 or less, got 25"),
        ("/api/time-entries/e1", {"ticket_uid": "t2"}, "ticket_uid", "stays as it is"),
        ("/api/companies/620547", {"contract_term": "4 Year"}, "contract_term", "expected one of Month to Month"),
    ],
)
def test_what_the_import_would_refuse_is_refused_by_name(edit, path, body, field, message):
    answer = edit(path, body)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid")
    assert answer.json["errors"][0]["field"] == field
    assert answer.json["errors"][0]["message"].startswith(message)


def test_a_company_with_its_people_machines_and_hours_is_added_by_hand(codex):
    def add(path, body, status=201):
        answer = codex.post(path, "technician", json=body)
        assert answer.status_code == status, answer.text
        return answer.json

    company = add("/api/companies", {"account_number": "700001", "name": "Nova", "contract_term": "yearly"})
    assert (company["contract_term"], company["source"]) == ("1 Year", "manual")
    contact = add("/api/companies/700001/contacts", {"name": "Noa"})
    assert contact["uid"].startswith("manual:")
    add("/api/companies/700001/assets", {"uid": "n1", "hostname": "NOVA1", "backup_bytes": 7})
    add("/api/companies/700001/locations", {"name": "Main street"})
    ticket = add("/api/companies/700001/tickets", {"number": "N-1", "subject": "New office"})
    hours = add(f"/api/tickets/{ticket['uid']}/entries", {"worked_on": "2025-10-31", "hours": 1.25})
    assert (hours["hours"], hours["account_number"], hours["first_seen"]) == ("1.25", "700001", "2025-11-02")
    late = codex.db.session.scalar(select(time_entries.c.late).where(time_entries.c.uid == hours["uid"]))
    assert late
    again = add("/api/companies/700001/assets", {"uid": "n1", "hostname": "NOVA1"}, 409)
    assert (again["code"], again["detail"]) == ("conflict", "The asset n1 is there already; change it.")
    assert add("/api/companies/999/assets", {"hostname": "X"}, 422)["errors"][0]["field"] == "account_number"


def test_what_is_retired_stays_and_is_billed_to_its_last_day(filled, edit):
    gone = edit("/api/assets/a1/retire", {"on": "2025-10-15"}, method="POST")
    assert (gone.status_code, gone.json["active_to"]) == (200, "2025-10-15")
    assert edit("/api/contacts/c1/retire", {}, method="POST").json["active_to"] == "2025-11-02"
    company = edit("/api/companies/620547/retire", {"on": "2025-12-31"}, method="POST").json
    assert (company["status"], company["contract_end"]) == ("inactive", "2025-12-31")
    assert filled.get("/api/companies/620547/assets").json["total"] == 2


def test_a_billing_type_set_by_hand_is_pinned_and_let_go_when_it_is_unset(filled, edit):
    assert edit("/api/assets/a1", {"billing_type": "VM"}).json["billing_type_pinned"] is True
    assert edit("/api/assets/a1", {"billing_type": None}).json["billing_type_pinned"] is False
    assert edit("/api/assets/a1", {"hostname": "W"}).json["billing_type_pinned"] is False


def test_whose_machine_it_is_is_said_and_changed_and_kept(filled, edit):
    assert edit("/assets/a1/update-contacts", {"contacts": ["c1", "c2"]}).status_code == 200
    assert edit("/assets/a1/update-contacts", {"contacts": ["c2"]}).status_code == 200
    assert [one["uid"] for one in changes.people_of(filled.db.session, "a1")] == ["c2"]
    links = select(asset_contacts.c.contact_uid, asset_contacts.c.active).order_by(asset_contacts.c.contact_uid)
    assert [tuple(row) for row in filled.db.session.execute(links)] == [("c1", False), ("c2", True)]
    strange = edit("/assets/a1/update-contacts", {"contacts": ["c3"]})
    assert (strange.status_code, strange.json["errors"][0]["message"]) == (422, "620547 has no contact c3")


def test_the_older_paths_change_the_same_facts(filled, edit):
    assert edit("/companies/620547/update", {"name": "Contoso"}).json["name"] == "Contoso"
    assert edit("/contacts/c1/update", {"name": "Ada"}).json["name"] == "Ada"


def test_only_some_members_are_told_where_only_some_are_asked_for(filled):
    assert filled.get("/api/companies?fields=name,account_number&limit=1").json["companies"] == [
        {"name": "Fabrikam Freight", "account_number": "183729"}
    ]
    assert filled.get("/api/contacts/c1?fields=name").json == {"name": "Ada Grün"}
    refused = filled.get("/api/companies/620547/assets?fields=uid,price")
    assert (refused.status_code, refused.json["errors"][0]["field"]) == (422, "fields")
    assert "got price" in refused.json["detail"]


def test_the_history_of_a_company_comes_in_pages_and_since_a_moment(filled, edit, set_clock):
    set_clock("2025-11-20T08:00:00Z")
    edit("/api/assets/a1", {"hostname": "LATE"})
    since = filled.get("/api/companies/620547/history?since=2025-11-10T00:00:00Z").json
    assert [(one["key"], one["after"]) for one in since["changes"]] == [("a1", {"hostname": "LATE"})]
    seen, cursor = [], ""
    while cursor is not None:
        page = filled.get(f"/api/companies/620547/history?limit=4{cursor and f'&cursor={cursor}'}").json
        seen += [one["id"] for one in page["changes"]]
        cursor = page["next"]
    assert len(seen) == page["total"] == 9
    assert seen == sorted(seen, reverse=True)


def test_changes_by_hand_need_the_scope_to_write(filled):
    tag = filled.get("/api/assets/a1").headers["ETag"]
    for person, status in (("peer_service", 403), ("auditor", 403), (None, 401)):
        answer = filled.call("PUT", "/api/assets/a1", person, json={"hostname": "X"}, headers={"If-Match": tag})
        assert answer.status_code == status
    assert filled.get("/api/assets/a1").json["hostname"] == "WS1"


def test_who_came_first_in_the_same_moment_wins(filled, edit, monkeypatch):
    usual = changes.held
    blind = {"assets"}

    def held(session, kind, key, **options):
        return None if kind in blind else usual(session, kind, key, **options)

    monkeypatch.setattr(changes, "held", held)
    answer = filled.post("/api/companies/620547/assets", json={"uid": "a1", "hostname": "TWIN"})
    assert (answer.status_code, answer.json["code"]) == (409, "conflict")
    assert "assets_pkey" in answer.json["detail"]


def test_the_history_says_when_it_was(filled, edit, set_clock):
    set_clock("2025-12-01T12:00:00Z")
    edit("/api/assets/a1", {"hostname": "DEC"})
    at = filled.db.session.scalar(select(fact_changes.c.at).order_by(fact_changes.c.id.desc()).limit(1))
    assert at == datetime(2025, 12, 1, 12, tzinfo=UTC)
