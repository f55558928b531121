"""Archive over HTTP: who may what, what is answered, and that the log is what other tools expect."""

import json
from datetime import UTC, datetime

import orjson
import pytest
from hivematrix_archive import schemas
from hivematrix_archive.models import snapshots
from hivematrix_archive.services import session
from hivematrix_common.domain.canonical import canonical, digest
from sqlalchemy import text

NDJSON = {"Content-Type": "application/x-ndjson"}
PROBLEM = "application/problem+json"


def lines(answer):
    assert answer.status_code == 200, answer.data
    return [json.loads(line) for line in answer.data.splitlines()]


def batch(archive, *requests, person="peer_service", headers=None):
    data = b"\n".join(orjson.dumps(request) for request in requests)
    return archive.post("/api/snapshots/batch", person, data=data, headers=NDJSON | (headers or {}))


def test_a_bill_is_sealed_and_sealed_again_with_the_same_receipt(archive, sealing_request):
    first = archive.post("/api/snapshot", "peer_service", json=sealing_request())
    again = archive.post("/api/snapshot", "peer_service", json=sealing_request())
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json == again.json
    assert set(first.json) == {"invoice_number", "body", "log_index", "sealed_at", "checkpoint"}


def test_the_flat_payload_is_told_where_the_new_shape_stands(archive):
    flat = {"company_account_number": "620547", "billing_data_json": {}, "invoice_csv": "", "total_amount": "1"}
    answer = archive.post("/api/snapshot", "peer_service", json=flat)
    assert (answer.status_code, answer.mimetype) == (422, PROBLEM)
    assert "no longer taken" in answer.json["detail"]
    assert "/api/docs" in answer.json["detail"]


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"period": "2025-12", "invoice_number": "620547-202512"}, 422, "period_open"),
        ({"format": "hivematrix.snapshot/9"}, 422, "unknown_format"),
        ({"invoice_number": "620547-202510-C1"}, 409, "conflict"),
        ({"currency": "dollars"}, 422, "invalid"),
    ],
)
def test_a_bill_that_cannot_be_sealed_is_refused_with_its_code(archive, sealing_request, changes, status, code):
    answer = archive.post("/api/snapshot", "peer_service", json=sealing_request(**changes))
    assert (answer.status_code, answer.json["code"], answer.mimetype) == (status, code, PROBLEM)
    assert answer.json["errors"][0]["field"].startswith("body.")


def test_another_bill_under_the_same_number_is_a_conflict_that_says_what_differs(archive, sealing_request):
    archive.post("/api/snapshot", "peer_service", json=sealing_request())
    answer = archive.post("/api/snapshot", "peer_service", json=sealing_request(support_level="24x7"))
    assert (answer.status_code, answer.json["code"]) == (409, "already_accepted")
    assert {"pointer": "/support_level", "sealed": None, "sent": "24x7"} in answer.json["differences"]


def test_a_batch_answers_line_by_line_in_order(archive, sealing_request):
    answer = batch(archive, sealing_request("1"), sealing_request("2") | {"csv": "x"}, sealing_request("1"))
    found = lines(answer)
    assert [line["status"] for line in found] == ["sealed", "refused", "already"]
    assert answer.mimetype == "application/x-ndjson"
    assert found[0]["checkpoint"] == found[2]["checkpoint"]
    assert found[1]["problem"]["code"] == "invalid"
    assert found[1]["invoice_number"] == "2-202510"


def test_a_batch_with_broken_lines_seals_the_others(archive, sealing_request):
    data = b"{\n\n" + orjson.dumps(sealing_request("1")) + b"\n[]\n"
    found = lines(archive.post("/api/snapshots/batch", "peer_service", data=data, headers=NDJSON))
    assert [line["status"] for line in found] == ["refused", "sealed", "refused"]
    assert found[0]["problem"]["code"] == "bad_request"


def test_a_batch_of_too_many_lines_is_refused_whole(archive):
    answer = archive.post("/api/snapshots/batch", "peer_service", data=b"{}\n" * 1001, headers=NDJSON)
    assert (answer.status_code, answer.json["code"]) == (413, "body_too_large")


def test_a_repeated_key_gets_the_stored_answer_and_another_body_is_refused(archive, sealing_request):
    keyed = {"Idempotency-Key": "close-2025-10-1"}
    first = batch(archive, sealing_request("1"), headers=keyed)
    again = batch(archive, sealing_request("1"), headers=keyed)
    assert (first.data, again.data) == (first.data, first.data)
    assert again.headers["Idempotent-Replay"] == "true"
    other = batch(archive, sealing_request("2"), headers=keyed)
    assert (other.status_code, other.json["code"]) == (422, "idempotency_mismatch")


def test_a_refusal_is_not_kept_under_its_key_for_it_may_pass(archive, sealing_request, set_clock):
    keyed = {"Idempotency-Key": "close-2025-10-1"}
    set_clock("2025-10-31T12:00:00Z")
    [refused] = lines(batch(archive, sealing_request("1"), headers=keyed))
    assert refused["problem"]["code"] == "period_open"
    set_clock("2025-11-01T12:00:00Z")
    [sealed] = lines(batch(archive, sealing_request("1"), headers=keyed))
    assert sealed["status"] == "sealed"


def test_a_sealed_bill_is_read_back_whole(sealed):
    request = sealed.requests["620547-202510"]
    found = sealed.get("/api/snapshot/620547-202510").json
    assert found["billing_data"] == request["body"]
    assert (found["total_amount"], found["billable_hours"], found["total_ticket_charges"]) == (
        "912.50",
        "3.3333",
        "500.00",
    )
    assert (found["archived_at"], found["invoice_date"]) == ("2025-12-01T02:00:07Z", "2025-10-31")
    assert (found["body"], found["log_index"], found["notes"]) == (request["digest"], 1, "test")


def test_the_exact_bytes_and_the_exact_csv_are_served(sealed):
    request = sealed.requests["620547-202510"]
    body = sealed.get("/api/snapshot/620547-202510/body")
    assert (body.data, body.mimetype) == (canonical(request["body"]), "application/json")
    csv = sealed.get("/api/snapshot/620547-202510/csv")
    assert csv.data.decode() == request["csv"]
    assert csv.headers["Content-Disposition"] == 'attachment; filename="Contoso__Shne_GmbH_2025-10.csv"'
    assert csv.mimetype == "text/csv"


def test_line_items_are_served_in_the_bills_order(sealed):
    found = sealed.get("/api/snapshot/620547-202510/line-items").json
    assert [line["amount"] for line in found["line_items"]][-2:] == ["22.50", "500.00"]
    assert found["line_items"][6]["quantity"] == "3.3333"
    assert found["line_items"][0]["rate"] == "100"


def test_what_is_not_sealed_is_not_found(sealed):
    for part in ("", "/csv", "/body", "/proof", "/line-items"):
        answer = sealed.get(f"/api/snapshot/620547-202501{part}")
        assert (answer.status_code, answer.mimetype) == (404, PROBLEM), part


def numbers(answer):
    return [row["invoice_number"] for row in answer.json["results"]]


SEARCHES = [
    ("", ["183729-202510", "183729-202509", "620547-202510", "620547-202509"]),
    ("account_number=620547", ["620547-202510", "620547-202509"]),
    ("company=contoso", ["620547-202510", "620547-202509"]),
    ("company=%25", []),
    ("year=2025&month=9", ["183729-202509", "620547-202509"]),
    ("month=9&account_number=183729", ["183729-202509"]),
    ("from_date=2025-12-01", ["183729-202510", "183729-202509", "620547-202510", "620547-202509"]),
    ("to_date=2025-11-30", []),
    ("from_date=2025-12-01&to_date=2025-12-01&limit=1", ["183729-202510"]),
    ("min_total=40&max_total=900", ["183729-202510"]),
    ("plan=Silver", ["183729-202510"]),
    ("item=licence", ["183729-202509"]),
    ("item=srv1", ["620547-202510", "620547-202509"]),
    ("kind=credit_note", []),
    ("limit=1&offset=2", ["620547-202510"]),
]


def test_a_search_finds_what_it_asks_for(sealed):
    for query, found in SEARCHES:
        answer = sealed.get(f"/api/snapshots/search?{query}")
        assert numbers(answer) == found, query
        assert answer.json["total_exact"] is True


def test_a_search_answers_under_the_original_names_with_money_as_text(sealed):
    answer = sealed.get("/api/snapshots/search?limit=1&plan=Gold").json
    assert (answer["total"], answer["limit"], answer["offset"]) == (3, 1, 0)
    assert answer["results"] == [
        {
            "id": 3,
            "company_account_number": "183729",
            "company_name": "Company 183729",
            "invoice_number": "183729-202509",
            "billing_year": 2025,
            "billing_month": 9,
            "invoice_date": "2025-09-30",
            "archived_at": "2025-12-01T02:00:07Z",
            "billing_plan": "Gold",
            "currency": "USD",
            "kind": "invoice",
            "total_amount": "10.00",
            "user_count": 2,
            "asset_count": 2,
        }
    ]


def test_pages_follow_each_other_by_cursor(sealed):
    seen, cursor = [], ""
    for _ in range(4):
        answer = sealed.get(f"/api/snapshots/search?limit=1&cursor={cursor}")
        seen += numbers(answer)
        assert answer.json["total"] == 4
        cursor = answer.json["next"]
    assert (len(set(seen)), cursor) == (4, None)


SENSELESS = [
    *(
        "year=abc",
        "year=1999",
        "month=13",
        "limit=0",
        "limit=1001",
        "offset=-1",
        "from_date=31.12.2025",
        "cursor=x",
    ),
    *(
        "min_total=1e3",
        "min_total=ten",
        "kind=bill",
        "account_number=a-b",
        "colour=red",
        "cursor=99999999999999999999",
    ),
    *("company=%00", "company="),
]


def test_a_search_that_makes_no_sense_is_refused(sealed):
    for query in SENSELESS:
        answer = sealed.get(f"/api/snapshots/search?{query}")
        assert (answer.status_code, answer.mimetype) == (422, PROBLEM), query
        assert answer.json["errors"]


def test_a_company_has_its_bills_newest_period_first(sealed):
    answer = sealed.get("/api/snapshots/company/620547?limit=1").json
    assert (answer["company_name"], answer["total_snapshots"]) == ("Contoso & Söhne GmbH", 2)
    assert [row["invoice_number"] for row in answer["snapshots"]] == ["620547-202510"]
    rest = sealed.get(f"/api/snapshots/company/620547?cursor={answer['next']}").json
    assert [row["invoice_number"] for row in rest["snapshots"]] == ["620547-202509"]
    assert rest["next"] is None
    nobody = sealed.get("/api/snapshots/company/1").json
    assert (nobody["company_name"], nobody["total_snapshots"], nobody["snapshots"]) == (None, 0, [])


def test_ledger_learns_what_is_sealed_with_the_exact_bodies(sealed):
    found = lines(sealed.get("/api/snapshots/sealed?period=2025-10&accounts=620547,1&bodies=1", "peer_service"))
    request = sealed.requests["620547-202510"]
    assert [line["account_number"] for line in found] == ["620547"]
    assert canonical(found[0]["document"]) == canonical(request["body"])
    assert (found[0]["body"], found[0]["kind"], found[0]["revision"]) == (request["digest"], "invoice", 0)
    everyone = lines(sealed.get("/api/snapshots/sealed?period=2025-10", "peer_service"))
    assert [line["account_number"] for line in everyone] == ["183729", "620547"]
    assert "document" not in everyone[0]


def test_counts_above_ten_thousand_are_exact_only_where_they_are_cheap(sealed):
    changed = {
        "id": "id + n * 10",
        "log_index": "log_index + n * 10",
        "invoice_number": "invoice_number || n",
        "revision": "n",
    }
    names = [column.name for column in snapshots.c]
    values = ", ".join(changed.get(name, name) for name in names)
    source = f"SELECT {values} FROM billing_snapshots, generate_series(1, 10005) n WHERE id = 1"
    copy = f"INSERT INTO billing_snapshots ({', '.join(names)}) {source}"
    session().execute(text(copy))
    wide = sealed.get("/api/snapshots/search?plan=Gold&limit=1").json
    assert (wide["total"], wide["total_exact"]) == (10_000, False)
    month = sealed.get("/api/snapshots/search?year=2025&month=9&limit=1").json
    assert (month["total"], month["total_exact"]) == (10_007, True)
    assert sealed.get("/api/snapshots/search?limit=1").json["total"] == 4


def test_the_schedule_is_read_and_changed_in_part(archive):
    before = archive.get("/api/scheduler/config", "peer_service").json["config"]
    assert (before["day_of_month"], before["hour"], before["last_run_at"]) == (1, 2, None)
    answer = archive.post("/api/scheduler/config", "admin", json={"hour": 4, "account_numbers": ["620547"]})
    assert answer.json["config"]["hour"] == 4
    after = archive.get("/api/scheduler/config", "auditor").json["config"]
    assert {name for name in after if after[name] != before[name]} == {"hour", "account_numbers", "updated_at"}


def test_a_schedule_that_makes_no_sense_is_refused(archive):
    wrong = [{"day_of_month": 0}, {"day_of_month": 32}, {"hour": -1}, {"hour": 24}, {"hour": "2"}, {"enabled": None}]
    for change in [*wrong, {"account_numbers": ["a b"]}, {"colour": 1}]:
        answer = archive.post("/api/scheduler/config", "admin", json=change)
        [fault] = answer.json["errors"]
        assert (answer.status_code, fault["field"].partition(".")[0]) == (422, next(iter(change))), change
    nobody = archive.post("/api/scheduler/config", "admin", json={"snapshot_all_companies": False})
    assert (nobody.status_code, nobody.json["errors"][0]["field"]) == (422, "account_numbers")
    assert archive.post("/api/scheduler/config", "admin", json=[]).status_code == 422


def test_a_month_can_be_ordered_and_its_job_looked_at(archive):
    woken = []
    archive.app.extensions["hivematrix_wake"] = lambda: woken.append(1)
    order = {"year": 2025, "month": 10, "account_numbers": ["620547"]}
    answer = archive.post("/api/snapshots/bulk/create", "peer_service", json=order)
    assert (answer.status_code, woken) == (202, [1])
    job = archive.get(f"/api/scheduler/jobs/{answer.json['job_id']}").json
    assert (job["status"], job["job_type"], job["target_account_numbers"]) == ("queued", "bulk", ["620547"])
    assert (job["results"], job["next"], job["triggered_by"]) == ([], None, "peer-service")
    listed = archive.get("/api/scheduler/jobs").json
    assert (listed["total"], [row["id"] for row in listed["jobs"]]) == (1, [job["id"]])
    assert archive.get("/api/scheduler/jobs?status=running").json["total"] == 0


def test_an_order_sent_twice_with_one_key_is_one_job(archive):
    order, keyed = {"year": 2025, "month": 10}, {"Idempotency-Key": "k"}
    answers = [archive.post("/api/snapshots/bulk/create", "peer_service", json=order, headers=keyed) for _ in "ab"]
    assert answers[0].json == answers[1].json
    assert archive.get("/api/scheduler/jobs").json["total"] == 1


@pytest.mark.parametrize(
    ("order", "code"),
    [
        ({"year": 2025, "month": 12}, "period_open"),
        ({"year": 2025, "month": 13}, "invalid"),
        ({"year": 2025}, "invalid"),
        ({"year": 2025, "month": 1, "account_numbers": ["-"]}, "invalid"),
    ],
)
def test_an_order_that_cannot_be_run_is_refused(archive, order, code):
    answer = archive.post("/api/snapshots/bulk/create", "peer_service", json=order)
    assert (answer.status_code, answer.json["code"]) == (422, code)


def test_a_job_shows_what_each_company_got_page_by_page(archive):
    job_id = archive.post("/api/snapshots/bulk/create", json={"year": 2025, "month": 10}).json["job_id"]
    insert = """
        INSERT INTO archive_data.job_results VALUES
        (:job, 1, '1', 'failed', 'no database', true, NULL, NULL, :at),
        (:job, 2, '1', 'sealed', NULL, false, '1-202510', 9.5, :at),
        (:job, 1, '2', 'skipped', 'plan is Inactive', false, NULL, NULL, :at)
    """
    session().execute(text(insert), {"job": job_id, "at": datetime(2025, 11, 1, tzinfo=UTC)})
    page = archive.get(f"/api/scheduler/jobs/{job_id}?limit=1").json
    assert page["results"] == [
        {
            "account_number": "1",
            "status": "sealed",
            "reason": None,
            "retryable": False,
            "invoice_number": "1-202510",
            "total": "9.5",
            "attempt": 2,
            "recorded_at": "2025-11-01T00:00:00Z",
        }
    ]
    rest = archive.get(f"/api/scheduler/jobs/{job_id}?limit=1&cursor={page['next']}").json
    assert [(row["account_number"], row["status"]) for row in rest["results"]] == [("2", "skipped")]
    assert rest["next"] is None


def test_an_unknown_job_is_not_found(archive):
    assert archive.get("/api/scheduler/jobs/none").status_code == 404


def test_a_digest_of_the_served_body_is_the_one_in_the_receipt(archive, sealing_request):
    receipt = archive.post("/api/snapshot", "peer_service", json=sealing_request()).json
    assert digest(archive.get(f"/api/snapshot/{receipt['invoice_number']}/body").data) == receipt["body"]


ANSWERS = [
    ("/api/snapshot/620547-202510", schemas.Snapshot),
    ("/api/snapshot/620547-202510/line-items", schemas.LineItems),
    ("/api/snapshots/search", schemas.SearchPage),
    ("/api/snapshots/company/620547", schemas.CompanyPage),
    ("/api/scheduler/config", schemas.ScheduleAnswer),
    ("/api/scheduler/jobs", schemas.JobsPage),
]


def test_answers_are_what_the_description_says(sealed):
    sealed.post("/api/snapshots/bulk/create", json={"year": 2025, "month": 10})
    for path, model in ANSWERS:
        assert model.model_validate_json(sealed.get(path).data), path
