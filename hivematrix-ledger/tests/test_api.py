"""Ledger over HTTP: shapes, scopes, refusals."""

import csv
from io import BytesIO, StringIO
from pathlib import Path

import orjson
import pytest
from hivematrix_common.domain.canonical import canonical, digest

GOLDEN = sorted((Path(__file__).parent / "golden" / "v1").glob("*.json"))
OCTOBER = "year=2025&month=10"
READS = [
    "/api/bills?period=2025-10",
    "/api/bills/620547/2025-10",
    f"/api/billing/620547?{OCTOBER}",
    f"/api/billing/dashboard?{OCTOBER}",
    "/api/plans",
    f"/invoice/620547/download?{OCTOBER}",
    f"/api/invoice/620547/csv?{OCTOBER}",
    f"/api/invoice/620547/summary?{OCTOBER}",
    f"/api/bill/check-archived/620547?{OCTOBER}",
]
WRITES = ["/api/bill/accept", "/api/bills/accept", "/api/engine/replay", "/api/import"]


@pytest.mark.parametrize("path", READS)
def test_every_reading_route_wants_the_scope_to_read(world, path):
    assert world.get(path, person="auditor").status_code == 200
    assert world.get(path, person="client_user").status_code == 403
    assert world.get(path, person=None).status_code == 401


@pytest.mark.parametrize("path", WRITES)
def test_no_writing_route_is_open(world, path):
    assert world.ledger.post(path, "client_user", json={}).status_code == 403
    assert world.ledger.post(path, None, json={}).status_code == 401
    assert world.ledger.post(path, "stranger", json={}).status_code == 401


def test_reading_is_not_accepting_and_accepting_is_not_importing(world):
    asked = {"account_number": "620547", "year": 2025, "month": 10}
    assert world.ledger.post("/api/bill/accept", "auditor", json=asked).status_code == 403
    assert world.ledger.post("/api/bill/accept", "peer_service", json=asked).status_code == 201
    assert world.ledger.post("/api/import", "peer_service", json={}).status_code == 403


def test_a_bill_is_the_body_and_its_digest_stands_in_a_header(world):
    answer = world.get("/api/bills/620547/2025-10")
    assert answer.json["format"] == "hivematrix.snapshot/1"
    assert answer.json["totals"]["total"] == "912.50"
    assert answer.data == canonical(answer.json)
    assert answer.headers["X-Bill-Digest"] == digest(answer.data)
    assert answer.headers["X-Bill-Status"] == "preview"
    world.accept("620547")
    assert world.get("/api/bills/620547/2025-10").headers["X-Bill-Status"] == "accepted"


def test_an_accepted_month_shows_the_sealed_bill_whatever_happened_since(world, case):
    world.accept("620547")
    case.contact("Newcomer")
    for path in ("/api/bills/620547/2025-10", f"/api/billing/620547?{OCTOBER}"):
        document = world.get(path).json
        assert document.get("bill", document)["totals"]["total"] == "912.50"
    [line] = world.get("/api/bills?period=2025-10").data.splitlines()
    assert line == world.archive.sealed["620547-202510"]["data"]


def test_billing_keeps_its_earlier_names_with_the_bill_beside(world, case):
    case.line_item("Monitoring", "recurring", "10")
    world.put("line_items", "620547", "item:M", "Monitoring", None, "recurring", 10, None, None, None, None)
    answer = world.get(f"/api/billing/620547?{OCTOBER}").json
    assert (answer["account_number"], answer["company_name"], answer["billing_period"]) == (
        "620547",
        "Acme Ltd",
        "2025-10",
    )
    assert answer["receipt"] == {
        "billed_assets": [
            {"name": "SRV1", "type": "Server", "cost": "125.00"},
            {"name": "WS1", "type": "Workstation", "cost": "15.00"},
        ],
        "billed_users": [
            {"name": "Ann", "type": "Paid", "cost": "100.00"},
            {"name": "Bob", "type": "Paid", "cost": "100.00"},
        ],
        "billed_line_items": [{"name": "Monitoring", "type": "Recurring", "cost": "10.00"}],
        "total_user_charges": "200.00",
        "total_asset_charges": "140.00",
        "total_line_item_charges": "10.00",
        "total_tax_charges": "0.00",
        "ticket_charge": "500.00",
        "backup_charge": "72.50",
        "total": "922.50",
        "hours_for_billing_period": "3.3333",
        "prepaid_hours_monthly": "0",
        "remaining_yearly_hours": "0",
        "billable_hours": "3.3333",
        "backup_base_workstation": "0.00",
        "backup_base_server": "50.00",
        "total_included_tb": "1",
        "overage_tb": "1.5",
        "overage_charge": "22.50",
    }
    assert answer["quantities"]["regular_users"] == 2
    assert answer["effective_rates"]["per_hour_ticket_cost"] == "150"
    assert answer["bill"]["totals"]["total"] == "922.50"
    assert answer["digest"] == digest(canonical(answer["bill"]))
    assert answer["is_archived"] is False


def test_a_company_without_a_bill_answers_why_with_200(world, case):
    case.facts["billing_plan"] = "Lost"
    expected = {
        "account_number": "620547",
        "status": "unbillable",
        "reason": "no plan 'Lost' with term '1 Year' is valid on 2025-10-31",
    }
    for path in ("/api/bills/620547/2025-10", f"/api/billing/620547?{OCTOBER}", "/api/bills?period=2025-10"):
        answer = world.get(path)
        assert (answer.status_code, orjson.loads(answer.data)) == (200, expected)
    refused = world.get(f"/api/invoice/620547/csv?{OCTOBER}")
    assert (refused.status_code, refused.json["code"]) == (409, "conflict")


@pytest.mark.parametrize(
    "path",
    [
        "/api/bills/999999/2025-10",
        f"/api/billing/999999?{OCTOBER}",
        f"/invoice/999999/download?{OCTOBER}",
        f"/api/invoice/999999/summary?{OCTOBER}",
    ],
)
def test_an_unknown_account_is_not_found(world, path):
    answer = world.get(path)
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "path", ["/api/bills?period=2025-10", "/api/months/2025-10/leakage?", "/api/months/2025-10/diff?"]
)
def test_a_cursor_that_codex_never_named_is_the_callers_fault(world, path):
    answer = world.get(f"{path}&cursor=@nowhere")
    assert (answer.status_code, [fault["field"] for fault in answer.json["errors"]]) == (422, ["cursor"])


@pytest.mark.parametrize(
    "path",
    [
        "/api/bills?period=2025-13",
        "/api/bills?period=October",
        "/api/bills?period=2025-10&limit=0",
        "/api/bills/620547/2025-00",
        "/api/bills/62-0547/2025-10",
        "/api/billing/620547?year=2025&month=13",
        "/api/billing/620547?year=1999&month=1",
        "/api/billing/620547",
    ],
)
def test_a_month_13_and_its_like_are_refused_by_name(world, path):
    answer = world.get(path)
    assert (answer.status_code, answer.mimetype) == (422, "application/problem+json")
    assert answer.json["errors"]


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"account_number": "620547", "year": 2025},
        {"account_number": "620547", "year": 2025, "month": 13},
        {"account_number": "620547", "year": 2025, "month": 10, "digest": "abc"},
        {"account_number": "620547", "year": 2025, "month": 10, "actor": "me"},
    ],
)
def test_a_bad_acceptance_is_refused_by_name(world, body):
    answer = world.ledger.post("/api/bill/accept", json=body)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid")
    assert world.archive.sealed == {}


def test_a_page_holds_at_most_500_accounts(world):
    answer = world.ledger.post("/api/bills/accept", json={"period": "2025-10", "accounts": ["1"] * 501})
    assert answer.status_code == 422


def test_bills_come_in_pages_that_lead_on(world, company):
    world.codex.hold(*(company(f"A{n}") for n in range(4)))
    accounts, cursor = [], ""
    while cursor is not None:
        answer = world.get(f"/api/bills?period=2025-10&limit=2&cursor={cursor}")
        accounts.append([orjson.loads(line)["account_number"] for line in answer.data.splitlines()])
        cursor = answer.headers.get("X-Next-Cursor")
    assert accounts == [["620547", "A0"], ["A1", "A2"], ["A3"]]


def test_the_invoice_is_a_csv_file_with_a_safe_name(world, case):
    case.facts["name"] = "Größe & Co. (Ltd)/Ü"
    answer = world.get(f"/invoice/620547/download?{OCTOBER}")
    assert answer.headers["Content-Disposition"] == 'attachment; filename="Gre__Co_Ltd_2025-10.csv"'
    rows = list(csv.DictReader(StringIO(answer.text, newline="")))
    assert [row["Amount"] for row in rows] == ["100.00", "100.00", "125.00", "15.00", "50.00", "22.50", "500.00"]
    assert {row["Customer"] for row in rows} == {"Größe & Co. (Ltd)/Ü"}
    world.accept("620547")
    assert world.get(f"/api/invoice/620547/csv?{OCTOBER}").data == answer.data


def test_an_invoices_summary_counts_what_is_billed(world):
    answer = world.get(f"/api/invoice/620547/summary?{OCTOBER}").json
    assert answer == {
        "invoice_number": "620547-202510",
        "company_name": "Acme Ltd",
        "total_amount": "912.50",
        "user_count": 2,
        "asset_count": 2,
        "line_item_count": 0,
        "has_backup_charges": True,
        "has_hourly_charges": True,
        "total_lines": 7,
        "is_archived": False,
    }


def test_check_archived_tells_before_and_after(world):
    path = f"/api/bill/check-archived/620547?{OCTOBER}"
    assert world.get(path).json == {"invoice_number": "620547-202510", "is_archived": False}
    world.accept("620547")
    assert world.get(path).json == {"invoice_number": "620547-202510", "is_archived": True}


def test_accepting_one_says_201_first_and_200_again(world):
    asked = {"account_number": "620547", "year": 2025, "month": 10, "notes": "ok"}
    first, again = (world.ledger.post("/api/bill/accept", json=asked) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json["success"] is again.json["success"] is True
    assert first.json["invoice_number"] == again.json["invoice_number"] == "620547-202510"


def test_accepting_an_unknown_company_is_not_found(world):
    asked = {"account_number": "999999", "year": 2025, "month": 10}
    assert world.ledger.post("/api/bill/accept", json=asked).status_code == 404


def test_accepting_a_skipped_company_says_so(world, case):
    case.facts["billing_plan"] = "Inactive"
    asked = {"account_number": "620547", "year": 2025, "month": 10}
    answer = world.ledger.post("/api/bill/accept", json=asked)
    assert (answer.status_code, answer.json["success"], answer.json["status"]) == (200, False, "skipped")


def test_the_dashboard_drops_no_company(world, company):
    lost = company("183729", name="Lost Ltd")
    lost.facts["billing_plan"] = "Lost"
    world.codex.hold(lost)
    world.accept("620547")
    answer = world.get(f"/api/billing/dashboard?{OCTOBER}").json
    assert answer["billing_period"] == "2025-10"
    lost_row, row = answer["companies"]
    assert (lost_row["name"], lost_row["status"], lost_row["total_bill"]) == ("Lost Ltd", "unbillable", None)
    assert row == {
        "account_number": "620547",
        "name": "Acme Ltd",
        "billing_plan": "Gold",
        "support_level": None,
        "contract_term_length": "1 Year",
        "contract_end_date": None,
        "status": "accepted",
        "reason": None,
        "total_bill": "912.50",
        "currency": "USD",
        "workstations": 1,
        "servers": 1,
        "vms": 0,
        "users": 2,
        "backup": "2.50",
        "hours": "3.3333",
    }


def test_plans_are_codexs_under_their_earlier_names(world):
    assert world.get("/api/plans").json == [
        {
            "id": "Gold / 1 Year",
            "billing_plan": "Gold",
            "term_length": "1 Year",
            "support_level": None,
            "per_user_cost": "100",
            "per_workstation_cost": "15",
            "per_server_cost": "125",
        }
    ]


@pytest.mark.parametrize("path", GOLDEN, ids=lambda path: path.stem)
def test_a_sealed_body_is_replayed_byte_for_byte(world, path):
    sealed = path.read_bytes()
    request = {"engine": 1, "inputs": orjson.loads(sealed)["inputs"]}
    assert world.ledger.post("/api/engine/replay", json=request).data == sealed


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"period": "2025-13"}, "inputs.period"),
        ({"format": "hivematrix.inputs/2"}, "inputs.format"),
        ({"company": {}}, "inputs.company.account_number"),
        ({"entries": [{"uid": "e", "ticket": None, "worked_on": "x", "hours": "1", "billable": True}]}, "worked_on"),
        ({"entries": [{"uid": "e", "ticket": None, "worked_on": "2025-10-01", "hours": 1, "billable": True}]}, "hours"),
        ({"assets": [{"uid": "a", "source": "guess"}]}, "inputs.assets"),
        ({"more": 1}, "inputs.more"),
    ],
)
def test_inputs_that_no_engine_takes_are_refused_by_name(world, case, change, field):
    request = {"engine": 1, "inputs": case.inputs() | change}
    answer = world.ledger.post("/api/engine/replay", json=request)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid")
    assert any(field in fault["field"] for fault in answer.json["errors"]), answer.json["errors"]


def test_an_unknown_engine_is_refused(world, case):
    answer = world.ledger.post("/api/engine/replay", json={"engine": 9, "inputs": case.inputs()})
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "engine")


def test_inputs_without_a_bill_say_why(world, case):
    case.facts["billing_plan"] = "Inactive"
    answer = world.ledger.post("/api/engine/replay", json={"engine": 1, "inputs": case.inputs()})
    assert answer.json == {"account_number": "620547", "status": "skipped", "reason": "the plan is Inactive"}


def upload(world, files, query=""):
    parts = {"files": [(BytesIO(text.encode()), name) for name, text in files.items()]}
    return world.ledger.post(f"/api/import{query}", data=parts, content_type="multipart/form-data")


def test_files_are_imported_over_http(world):
    answer = upload(world, {"tax_rates.csv": "account_number,category,percent\n620547,user,10\n"})
    assert answer.json == {"imported": {"tax_rates": {"rows": 1, "changed": 1}}, "faults": [], "warnings": []}
    assert world.get("/api/bills/620547/2025-10").json["totals"]["tax"] == "20.00"


def test_a_bad_row_over_http_is_named_and_nothing_is_imported(world):
    files = {"tax_rates.csv": "account_number,category,percent\n620547,user,-1\n620547,item,5\n"}
    answer = upload(world, files)
    assert (answer.status_code, answer.json["code"]) == (422, "invalid_rows")
    assert answer.json["errors"] == [
        {"field": "percent", "message": "expected 0 or more, got -1", "file": "tax_rates.csv", "line": 2}
    ]
    assert world.rows("SELECT * FROM tax_rates") == []
    assert upload(world, files, "?partial=true").json["imported"]["tax_rates"] == {"rows": 0, "changed": 0}


def test_an_import_without_files_is_refused(world):
    assert world.ledger.post("/api/import", json={}).status_code in {415, 422}


@pytest.mark.parametrize(
    ("status", "code"), [(503, "peer_unavailable"), (500, "peer_unavailable"), (404, "peer_failed")]
)
def test_a_failing_codex_is_named_and_nothing_is_guessed(world, status, code):
    world.codex.peer.answers("GET", "/api/billing-inputs", {"code": "x", "detail": "broken"}, status)
    answer = world.get("/api/bills/620547/2025-10")
    assert (answer.json["code"], answer.json["peer"]) == (code, "codex")


def test_a_sealed_body_that_is_not_the_accepted_one_is_not_shown(world):
    world.accept("620547")
    world.archive.sealed["620547-202510"]["data"] = b"{}"
    answer = world.get("/api/bills/620547/2025-10")
    assert (answer.status_code, answer.json["code"]) == (502, "peer_failed")
