import json

import pytest
from hivematrix_codex.models import plan_versions
from hivematrix_common.imports import LIMIT
from sqlalchemy import func, select

SAVEPOINT = 1  # the test's own, in place of a transaction
READS = [
    "/api/companies",
    "/api/companies/bulk",
    "/api/companies/620547",
    "/api/companies/620547/assets",
    "/api/companies/620547/contacts",
    "/api/companies/620547/users",
    "/api/companies/620547/locations",
    "/api/companies/620547/tickets",
    "/api/billing-inputs?period=2025-10",
    "/billing-plans/api/plans",
    "/billing-plans/api/plans/Gold/1-Year",
]


def lines(answer):
    assert (answer.status_code, answer.mimetype) == (200, "application/x-ndjson")
    return [json.loads(line) for line in answer.data.splitlines()]


@pytest.mark.parametrize("path", READS)
def test_reading_needs_the_scope_and_works_for_a_service(filled, path):
    assert filled.get(path, None).status_code == 401
    assert filled.get(path, "stranger").status_code == 401
    assert filled.get(path, "auditor").status_code == 403
    assert filled.get(path, "peer_service").status_code == 200


def test_billing_inputs_are_one_company_a_line_with_the_plans_in_the_first(filled):
    answer = filled.get("/api/billing-inputs?period=2025-10", "peer_service")
    silver, gold = lines(answer)
    assert "X-Next-Cursor" not in answer.headers
    assert [(plan["plan_name"], plan["term"], plan["valid_from"]) for plan in silver["plans"]] == [
        ("Gold", "1 Year", "2025-11-01"),
        ("Gold", "1 Year", "2025-01-01"),
        ("Silver", "Month to Month", "2025-01-01"),
    ]
    assert silver["plans"][1] == {
        "plan_name": "Gold",
        "term": "1 Year",
        "valid_from": "2025-01-01",
        "support_level": None,
        "currency": None,
        "per_user": "100",
        "per_workstation": None,
        "per_server": None,
        "per_vm": None,
        "per_switch": None,
        "per_firewall": None,
        "per_hour": "150",
        "backup_base_workstation": None,
        "backup_base_server": None,
        "backup_included_tb": "0",
        "backup_per_tb": None,
        "count_policy": "end_of_period",
        "features": {"antivirus": "SentinelOne"},
    }
    entry = {"ticket": "INC-7", "billable": True, "first_seen": "2025-11-02"}
    asset = {"active_from": None, "active_to": None}
    assert gold == {
        "account_number": "620547",
        "name": "Contoso Dental",
        "billing_plan": "Gold",
        "contract_term": "1 Year",
        "contract_start": "2025-02-01",
        "contract_end": None,
        "currency": "USD",
        "payment_terms_days": 14,
        "status": "active",
        "contacts": [
            {"uid": "c1", "name": "Ada Grün", "active": True, "active_from": None, "active_to": None},
            {"uid": "c2", "name": "Ben Ode", "active": True, "active_from": "2025-01-01", "active_to": "2025-10-15"},
        ],
        "assets": [
            {"uid": "a1", "hostname": "WS1", "billing_type": "Workstation", "backup_bytes": 0, **asset},
            {"uid": "a2", "hostname": "SRV1", "billing_type": "Server", "backup_bytes": 2748779069440, **asset},
        ],
        "entries": [
            {"uid": "e1", "worked_on": "2025-10-05", "hours": "1.5", **entry},
            {"uid": "e2", "worked_on": "2025-10-31", "hours": "0.3333", **entry},
        ],
    }


@pytest.mark.parametrize(
    ("period", "uids"),
    [
        ("2025-09", []),
        ("2025-10", ["oct", "oct-late"]),
        ("2025-12", ["oct", "oct-late", "dec"]),
        ("2026-09", ["oct", "oct-late", "dec"]),
        ("2026-11", ["oct-late", "dec"]),
        ("2026-12", ["oct-late"]),
        ("2000-01", []),
        ("2199-12", ["oct-late"]),
    ],
)
def test_billing_inputs_hold_a_year_of_entries_and_older_ones_seen_after_their_month(  # noqa: PLR0917
    codex, run_import, facts, set_clock, period, uids
):
    head = "uid,ticket_uid,worked_on,hours\n"
    nothing = dict.fromkeys(["contacts.csv", "assets.csv", "time_entries.csv"])
    company = {"companies.csv": "account_number,name\n7,Seven\n", "tickets.csv": "uid,account_number\nt7,7\n"}
    run_import(facts(nothing | company))
    for seen, rows in [
        ("2025-10-31", "oct,t7,2025-10-31,1\n"),
        ("2025-11-01", "oct-late,t7,2025-10-31,1\n"),
        ("2025-12-31", "dec,t7,2025-12-01,1\n"),
    ]:
        set_clock(f"{seen}T12:00:00Z")
        run_import(facts(nothing | company | {"time_entries.csv": head + rows}))
    [line] = lines(codex.get(f"/api/billing-inputs?period={period}"))
    assert [entry["uid"] for entry in line["entries"]] == uids


def test_billing_inputs_come_in_pages_that_each_describe_themselves(codex, run_import, facts):
    rows = "".join(f"{number:03},Company {number}\n" for number in range(7))
    run_import(facts({"companies.csv": "account_number,name\n620547,Six\n183729,One\n" + rows}))
    seen, cursor = [], ""
    while cursor is not None:
        answer = codex.get(f"/api/billing-inputs?period=2025-10&limit=3&cursor={cursor}")
        page = lines(answer)
        assert ["plans" in line for line in page] == [True, False, False][: len(page)]
        seen += [line["account_number"] for line in page]
        cursor = answer.headers.get("X-Next-Cursor")
    assert seen == ["000", "001", "002", "003", "004", "005", "006", "183729", "620547"]


def test_billing_inputs_of_some_accounts_are_theirs_alone(filled):
    assert [c["account_number"] for c in lines(filled.get("/api/billing-inputs?period=2025-10&accounts=620547,9"))] == [
        "620547"
    ]
    assert lines(filled.get("/api/billing-inputs?period=2025-10&accounts=9")) == []


def test_a_line_break_in_a_name_breaks_no_line(codex, upload):
    upload({"companies.csv": 'account_number,name\n1,"A\nB \u2028 C"\n'})
    assert [line["name"] for line in lines(codex.get("/api/billing-inputs?period=2025-10"))] == ["A\nB \u2028 C"]


@pytest.mark.parametrize(
    "query",
    [
        *("", "?period=2025-13", "?period=2025-10&limit=0", "?period=2025-10&limit=1001"),
        *("?period=2025-10&accounts=a;b", "?period=2025-10&cursor=%00", "?period=2025-10&nonsense=1"),
    ],
)
def test_a_bad_query_is_refused_by_name(filled, query):
    answer = filled.get(f"/api/billing-inputs{query}")
    assert (answer.status_code, answer.json["code"]) == (422, "invalid")
    assert answer.json["errors"][0]["field"] in {"period", "limit", "accounts", "cursor", "nonsense"}


def test_a_page_of_500_companies_is_one_statement(filled, run_import, facts):
    rows = "".join(f"{number:03},Company {number}\n" for number in range(600))
    run_import(facts({"companies.csv": "account_number,name\n620547,Six\n183729,One\n" + rows}))
    begin_counting(filled)
    before = statements(filled)
    assert len(lines(filled.get("/api/billing-inputs?period=2025-10&limit=500"))) == 500
    assert statements(filled) - before == 1 + SAVEPOINT


def begin_counting(codex):
    """The first use of a token is kept; and the test's savepoint is to count too."""
    codex.get("/api/companies?limit=1")
    codex.db.session.commit()


def statements(codex):
    text = codex.get("/metrics").get_data(as_text=True)
    return int(float(next(line.split()[1] for line in text.splitlines() if line.startswith("hm_statements_total"))))


def test_companies_are_listed_by_account_number_in_pages(filled):
    first = filled.get("/api/companies?limit=1").json
    assert [company["account_number"] for company in first["companies"]] == ["183729"]
    assert (first["next"], first["total"], first["total_exact"]) == ("183729", 2, True)
    second = filled.get(f"/api/companies?limit=1&cursor={first['next']}").json
    assert [company["account_number"] for company in second["companies"]] == ["620547"]
    assert second["next"] is None


@pytest.mark.parametrize(
    ("search", "found"), [("FABRI", ["183729"]), ("620", ["620547"]), ("%", []), ("o", ["620547"])]
)
def test_companies_are_found_by_a_part_of_the_name_or_the_numbers_beginning(filled, search, found):
    page = filled.get("/api/companies", query_string={"search": search}).json
    assert [company["account_number"] for company in page["companies"]] == found
    assert page["total"] == len(found)


def test_a_company_has_its_facts_under_the_older_names_too(filled):
    found = filled.get("/api/companies/620547").json
    assert {name: value for name, value in found.items() if value is not None or name in {"contract_end", "email"}} == {
        "account_number": "620547",
        "name": "Contoso Dental",
        "billing_plan": "Gold",
        "contract_term": "1 Year",
        "contract_start": "2025-02-01",
        "contract_end": None,
        "currency": "USD",
        "payment_terms_days": 14,
        "email": None,
        "status": "active",
        "contract_term_length": "1 Year",
        "contract_start_date": "2025-02-01",
        "compliance_level": "standard",
        "source": "files",
    }
    assert found["contract_end_date"] is None


@pytest.mark.parametrize("part", ["", "/assets", "/contacts", "/users", "/locations", "/tickets"])
def test_a_company_that_is_not_there_is_404(filled, part):
    answer = filled.get(f"/api/companies/999999{part}")
    assert (answer.status_code, answer.json["detail"]) == (404, "There is no company 999999.")


def test_a_companys_parts_are_lists_with_uid_type_and_bytes(filled):
    assets = filled.get("/api/companies/620547/assets?limit=1").json
    assert (assets["next"], assets["total"]) == ("a1", 2)
    [server] = filled.get("/api/companies/620547/assets?cursor=a1").json["assets"]
    assert (server["uid"], server["billing_type"], server["backup_bytes"]) == ("a2", "Server", 2748779069440)
    contacts = filled.get("/api/companies/620547/contacts").json["contacts"]
    assert [contact["uid"] for contact in contacts] == ["c1", "c2"]
    assert filled.get("/api/companies/620547/locations").json["locations"] == []


def test_a_ticket_has_its_entries_and_their_sum(filled):
    [ticket] = filled.get("/api/companies/620547/tickets?year=2025").json["tickets"]
    assert (ticket["uid"], ticket["number"], ticket["total_hours_spent"]) == ("t1", "INC-7", "1.8333")
    assert [entry["hours"] for entry in ticket["time_entries"]] == ["1.5", "0.3333"]
    assert filled.get("/api/companies/620547/tickets?year=2024").json["total"] == 0


def test_bulk_gives_companies_with_their_parts_in_one_statement(filled):
    begin_counting(filled)
    before = statements(filled)
    page = filled.get("/api/companies/bulk?limit=2").json
    assert statements(filled) - before == 2 + SAVEPOINT  # the page, and the total
    assert [set(company) for company in page["companies"]] == [{"company", "contacts", "assets", "locations"}] * 2
    assert [len(company["contacts"]) for company in page["companies"]] == [1, 2]
    [first] = filled.get("/api/companies/bulk?limit=1&include_tickets=true").json["companies"]
    assert [ticket["uid"] for ticket in first["tickets"]] == ["t2"]


@pytest.mark.parametrize(("on", "rate"), [("2025-10-31", "100"), ("2025-11-01", "110.5"), ("", "110.5")])
def test_a_plan_is_the_version_in_force_on_a_day(filled, on, rate):
    answer = filled.get(f"/billing-plans/api/plans/Gold/1-Year{on and '?on='}{on}").json
    assert (answer["plan"]["per_user"], len(answer["versions"])) == (rate, 2)


@pytest.mark.parametrize(
    ("path", "status"), [("Gold/1-Year?on=2024-12-31", 404), ("Lead/1-Year", 404), ("Gold/4%20Year", 422)]
)
def test_a_plan_that_is_not_there_is_refused(filled, path, status):
    assert filled.get(f"/billing-plans/api/plans/{path}").status_code == status


def test_all_plan_versions_are_listed(filled):
    answer = filled.get("/billing-plans/api/plans").json
    assert (answer["status"], answer["count"], len(answer["plans"])) == ("success", 3, 3)


def test_files_are_imported_by_upload_and_twice_changes_nothing(codex, upload, texts):
    answer = upload(texts, "technician")
    assert (answer.status_code, answer.json["faults"], answer.json["warnings"]) == (200, [], [])
    assert answer.json["imported"]["companies"] == {"rows": 2, "changed": 2}
    again = upload(texts).json["imported"]
    assert {stem: counts["changed"] for stem, counts in again.items()} == dict.fromkeys(again, 0)


def test_importing_needs_the_scope_to_write(upload, texts):
    assert upload(texts, "peer_service").status_code == 403
    assert upload(texts, None).status_code == 401


def test_refused_rows_are_listed_with_file_line_and_column(codex, upload, texts):
    answer = upload(texts | {"contacts.csv": "uid,account_number,name\nc1,999,Ada\nc2,620547,\n"})
    assert (answer.status_code, answer.mimetype) == (422, "application/problem+json")
    assert answer.json["code"] == "invalid_rows"
    assert answer.json["detail"] == "2 faults, nothing was imported"
    assert answer.json["errors"] == [
        {"field": "account_number", "message": "there is no 999 in companies", "file": "contacts.csv", "line": 2},
        {"field": "name", "message": "a value is required", "file": "contacts.csv", "line": 3},
    ]
    assert codex.db.session.scalar(select(func.count()).select_from(plan_versions)) == 0


def test_partial_imports_the_rest_and_lists_what_was_left_out(upload, texts):
    answer = upload(texts | {"contacts.csv": "uid,account_number,name\nc1,999,Ada\n"}, query="?partial=true")
    assert answer.status_code == 200
    assert answer.json["imported"]["contacts"] == {"rows": 0, "changed": 0}
    assert [fault["message"] for fault in answer.json["faults"]] == ["there is no 999 in companies"]


def test_a_thousand_faults_are_shown_and_all_are_counted(upload):
    answer = upload({"companies.csv": "account_number,name\n" + "1,\n" * 1500})
    assert (answer.json["detail"], len(answer.json["errors"])) == ("1500 faults, nothing was imported", 1000)


def test_an_upload_without_files_or_of_another_type_is_refused(codex):
    nothing = codex.post("/api/import", data={}, content_type="multipart/form-data")
    assert (nothing.status_code, nothing.json["code"]) == (422, "invalid")
    assert codex.post("/api/import", json={"companies": []}).status_code in {415, 422}


def test_an_upload_beyond_the_stated_limit_is_413(codex):
    body = b"x" * (LIMIT + 1)
    answer = codex.post("/api/import", data=body, content_type="multipart/form-data; boundary=x")
    assert (answer.status_code, answer.json["code"]) == (413, "body_too_large")


def test_every_route_is_described(codex):
    described = codex.get("/api/openapi.json", None).json["paths"]
    assert {path.partition("?")[0].replace("620547", "{account_number}") for path in READS[:9]} <= set(described)
    assert "multipart/form-data" in described["/api/import"]["post"]["requestBody"]["content"]


def test_a_list_that_names_no_accounts_is_refused_in_plain_words(codex):
    problem = codex.get("/api/billing-inputs?period=2025-10&accounts=6/../x", "peer_service").json
    assert (problem["code"], problem["detail"]) == (
        "invalid",
        "accounts: expected account numbers with commas between, got 6/../x",
    )
