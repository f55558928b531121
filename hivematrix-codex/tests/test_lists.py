"""Search, lists by the paths of the first HiveMatrix, what waits, and the plan editor over HTTP."""

import pytest
from hivematrix_codex.store import searching
from sqlalchemy import text


def found(codex, words, person="admin", **query):
    answer = codex.get("/api/search", person, query_string={"q": words, **query})
    assert answer.status_code == 200, answer.text
    kinds = ("companies", "contacts", "assets", "tickets")
    return {kind: [row.get("uid") or row["account_number"] for row in answer.json[kind]] for kind in kinds}


NOTHING = {"companies": [], "contacts": [], "assets": [], "tickets": []}


@pytest.mark.parametrize(
    ("words", "hits"),
    [
        ("contoso", {"companies": ["620547"]}),
        ("dental CONT", {"companies": ["620547"]}),
        ("6205", {"companies": ["620547"]}),
        ("ada", {"contacts": ["c1"]}),
        ("Grün", {"contacts": ["c1"]}),
        ("srv", {"assets": ["a2"]}),
        ("inc-7", {"tickets": ["t1"]}),
        ("slow mail", {"tickets": ["t1"]}),
        ("ail", {}),
        ("mail printer", {}),
        ("--", {}),
        ("'; DROP TABLE tickets; --", {}),
        ("a & b | !c :*", {}),
    ],
)
def test_what_has_a_word_beginning_with_each_word_is_found(filled, words, hits):
    assert found(filled, words) == NOTHING | hits


def test_a_search_of_one_company_finds_its_own_alone(filled):
    assert found(filled, "printer", account_number="183729")["tickets"] == ["t2"]
    assert found(filled, "printer", account_number="620547") == NOTHING


def test_a_client_finds_its_own_alone_whatever_it_asks_for(filled):
    filled.sign_in("client_user")
    assert found(filled, "mail", None)["tickets"] == ["t1"]
    assert found(filled, "printer", None, account_number="183729") == NOTHING
    assert found(filled, "fabrikam", None) == NOTHING


def test_the_newest_tickets_come_first_and_more_is_said(filled, upload):
    rows = "".join(f"p{n},620547,Printer {n},2025-10-{n:02}\n" for n in range(1, 29))
    upload({"tickets.csv": "uid,account_number,subject,opened_at\n" + rows})
    answer = filled.get("/api/search?q=printer&limit=3").json
    assert [row["uid"] for row in answer["tickets"]] == ["p28", "p27", "p26"]
    assert answer["more"] == ["tickets"]


@pytest.mark.parametrize("near", [1, 2, 50])
def test_old_tickets_are_found_where_the_newest_have_too_few(filled, upload, monkeypatch, near):
    rows = "".join(f"p{n:02},620547,{'Telex' if n < 5 else 'Mail'},2025-10-{n:02}\n" for n in range(1, 29))
    upload({"tickets.csv": "uid,account_number,subject,opened_at\n" + rows})
    statement = searching._statement(of_account=False).replace(f"LIMIT {searching.NEAR}", f"LIMIT {near}")
    assert statement != searching._statement(of_account=False)
    name = f"search_near_{near}"
    monkeypatch.setattr(searching, "_OF_ALL", searching.Prepared(name, ("text", "integer"), statement))
    assert found(filled, "telex")["tickets"] == ["p04", "p03", "p02", "p01"]


def test_a_search_walks_indexes_however_many_tickets_there_are(filled):
    session = filled.db.session
    session.execute(text("SET LOCAL enable_seqscan = off"))
    searching._OF_ALL.on(session.connection(), "printer", 20)
    plan = "\n".join(session.scalars(text("EXPLAIN EXECUTE search_of_all ('printer', 20)")))
    for index in ("tickets_newest", "tickets_words", "companies_words", "contacts_words", "assets_words"):
        assert index in plan
    assert "Seq Scan" not in plan


def test_tickets_of_all_companies_are_listed_counted_and_filtered(filled):
    answer = filled.get("/api/tickets?limit=1").json
    assert (answer["count"], answer["total"], answer["limit"], answer["offset"], answer["next"]) == (1, 2, 1, 0, "t1")
    assert [row["uid"] for row in filled.get("/api/tickets?offset=1").json["tickets"]] == ["t2"]
    assert [row["uid"] for row in filled.get("/api/tickets?status=open").json["tickets"]] == ["t2"]
    assert [row["uid"] for row in filled.get("/api/tickets?company_id=620547").json["tickets"]] == ["t1"]
    assert filled.get("/api/psa/tickets?provider=files").json["total"] == 2
    assert filled.get("/api/psa/tickets?provider=other").json["total"] == 0


def test_a_ticket_is_found_by_its_uid_and_as_its_psa_calls_it(filled):
    filled.db.session.execute(text("UPDATE tickets SET external_id = '4711', source = 'freshservice' WHERE uid = 't1'"))
    assert filled.get("/api/ticket/t1").json["number"] == "INC-7"
    assert filled.get("/api/ticket/4711").json["uid"] == "t1"
    filled.db.session.execute(text("UPDATE tickets SET external_id = '4711', source = 'superops' WHERE uid = 't2'"))
    assert filled.get("/api/ticket/4711").status_code == 409
    assert filled.get("/api/ticket/none").status_code == 404


def test_machines_are_told_as_the_rmm_told_them_and_nothing_is_made_up(filled):
    filled.db.session.execute(text("UPDATE assets SET online = true, last_seen = '2025-11-02' WHERE uid = 'a1'"))
    answer = filled.get("/api/rmm/devices").json
    assert [(row["uid"], row["online"]) for row in answer["devices"]] == [("a1", True), ("a2", None)]
    assert answer["held"] == {"all": 2, "online": 1, "offline": 0, "unknown": 1, "unheard": 0}
    assert [row["uid"] for row in filled.get("/api/rmm/devices?status=online").json["devices"]] == ["a1"]
    assert set(filled.get("/api/rmm/device/a1").json) == set(filled.get("/api/assets/a1").json)


def test_open_tickets_stand_where_somebody_has_to_act(filled):
    change = "UPDATE tickets SET priority = 'urgent', last_updated_at = '2025-11-02T09:00:00Z' WHERE uid = 't2'"
    filled.db.session.execute(text(change))
    answer = filled.get("/api/tickets/active").json
    assert [len(answer[f"section{n}"]) for n in (1, 2, 3, 4)] == [0, 0, 1, 0]
    [one] = answer["section3"]
    assert (one["uid"], one["company"], one["overdue_seconds"]) == ("t2", "Fabrikam Freight", 1800)
    assert (one["first_response"], answer["total_active"], answer["as_of"]) == ("unknown", 1, "2025-11-02T10:00:00Z")
    assert filled.get("/api/psa/tickets/active?group_id=other").json["total_active"] == 0


def test_lists_in_numbered_pages_are_as_they_were(filled):
    answer = filled.get("/assets/api/search?per_page=1&page=2").json
    assert ([row["uid"] for row in answer["assets"]], answer["success"]) == (["a2"], True)
    expected = {"page": 2, "pages": 2, "total": 2, "has_prev": True, "has_next": False, "prev_num": 1, "next_num": None}
    assert answer["pagination"] == expected
    assert [row["uid"] for row in filled.get("/contacts/api/search?search=LANE").json["contacts"]] == ["c3"]
    assert filled.get("/companies/api/search?search=contoso").json["pagination"]["total"] == 1


def test_technicians_of_the_psa_are_listed(filled):
    filled.db.session.execute(text("INSERT INTO psa_agents (uid, source, name) VALUES ('g1', 'superops', 'Ines')"))
    assert [row["name"] for row in filled.get("/api/psa/agents").json["agents"]] == ["Ines"]


def test_a_plan_gets_a_version_that_holds_from_its_day(filled):
    version = {"plan_name": "Gold", "term": "1-Year", "valid_from": "2026-01-01", "per_user": 120.5}
    added = filled.post("/api/billing-plans", "technician", json=version)
    assert (added.status_code, added.json["per_user"], added.json["term"]) == (201, "120.5", "1 Year")
    assert filled.get("/api/billing-plans/Gold/1-Year?on=2025-12-31").json["plan"]["per_user"] == "110.5"
    assert filled.get("/api/billing-plans/Gold/1-Year?on=2026-01-01").json["plan"]["per_user"] == "120.5"
    assert filled.post("/api/billing-plans", json=version).status_code == 409
    path = "/api/billing-plans/Gold/1-Year/2026-01-01"
    assert filled.call("PUT", path, json={"per_user": "1"}).status_code == 428
    tag = filled.get(path).headers["ETag"]
    changed = filled.call(
        "PUT", path, json={"per_user": "121", "features": {"soc": "Huntress"}}, headers={"If-Match": tag}
    )
    assert (changed.json["per_user"], changed.json["features"]) == ("121", {"soc": "Huntress"})
    assert filled.call("PUT", path, json={"per_user": "1"}, headers={"If-Match": tag}).status_code == 412
    assert filled.call("PUT", path, json={"per_user": "-1"}, headers={"If-Match": "*"}).status_code == 422


def test_plans_that_were_exported_are_imported_elsewhere_and_twice_changes_nothing(filled):
    option = {"feature_category": "soc", "option_value": "Huntress", "display_name": "Huntress SOC"}
    assert filled.post("/api/feature-options", json=option).json["options"]["soc"][0]["option_value"] == "Huntress"
    document = filled.get("/billing-plans/api/export").json
    assert len(document["plans"]) == 3
    again = filled.post("/billing-plans/api/import", json=document).json
    assert again["imported"]["plans"] == {"rows": 3, "changed": 0}
    document["plans"][0]["per_user"] = "200"
    skipped = filled.post("/billing-plans/api/import?existing=skip", json=document).json["imported"]
    assert skipped["plans"] == {"rows": 0, "changed": 0}
    changed = filled.post("/billing-plans/api/import", json=document).json["imported"]
    assert changed["plans"] == {"rows": 3, "changed": 1}
    assert filled.get("/billing-plans/api/feature-categories").json["categories"] == ["soc"]


def test_plans_of_the_first_hivematrix_are_imported_from_a_day_on(filled):
    plan = {
        "plan_name": "Legacy",
        "term_length": "2 Year",
        "support_level": "Billed Hourly",
        "per_user_cost": 99.5,
        "per_hour_ticket_cost": 150,
        "backup_per_tb_fee": 15,
        "features": {"antivirus": "Sophos"},
    }
    done = filled.post("/billing-plans/api/import?valid_from=2025-01-01", json={"plans": [plan]})
    assert done.json["imported"]["plans"] == {"rows": 1, "changed": 1}
    told = filled.get("/billing-plans/api/plans/Legacy/2-Year").json["plan"]
    assert (told["per_user"], told["per_hour"], told["backup_per_tb"]) == ("99.5", "150", "15")


def test_a_document_of_plans_with_a_fault_imports_nothing(filled):
    plans = [
        {"plan_name": "New", "valid_from": "2025-01-01"},
        {"plan_name": "Bad", "valid_from": "2025-01-01", "per_user": "x"},
    ]
    option = {"feature_category": "soc", "option_value": "Huntress"}
    answer = filled.post("/billing-plans/api/import", json={"plans": plans, "feature_options": [option]})
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_rows")
    assert [(one["line"], one["field"]) for one in answer.json["errors"]] == [(2, "per_user")]
    assert filled.get("/billing-plans/api/plans").json["count"] == 3
    assert filled.get("/billing-plans/api/feature-options").json["options"] == {}


def test_who_asks_for_a_tickets_number_gets_that_ticket(filled, upload):
    rows = "x1,620547,INC-70\nx2,620547,INC-7 again\n"
    upload({"tickets.csv": "uid,account_number,number\n" + rows})
    assert found(filled, "inc-7")["tickets"] == ["t1"]
    assert set(found(filled, "inc")["tickets"]) == {"t1", "x1", "x2"}
