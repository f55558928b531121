"""Acceptance: sealed once, recorded from what is sealed, safe against repeats, deaths and rivals."""

import contextlib
import re
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import orjson
import pytest
from hivematrix_ledger import clients
from hivematrix_ledger.services import bills
from werkzeug.wrappers import Response

SOURCE = Path(__file__).resolve().parents[1] / "hivematrix_ledger" / "services" / "acceptance.py"
FAILPOINTS = re.findall(r'failpoint\("([^"]+)"\)', SOURCE.read_text())


def forget(world, *tables):
    """Take rows away as a restored backup would; the service's own role may not."""
    with closing(world.ledger.owner()) as owner:
        owner.cursor().execute(f"TRUNCATE {', '.join(tables)}")


def accept_one(world, account="620547", month=10, **more):
    body = {"account_number": account, "year": 2025, "month": month} | more
    return world.ledger.post("/api/bill/accept", json=body)


def test_a_page_is_sealed_and_recorded(world, company):
    world.codex.hold(company("183729"))
    results = world.accept("620547", "183729")
    assert results["620547"] == {
        "account_number": "620547",
        "status": "sealed",
        "invoice_number": "620547-202510",
        "total": "912.50",
    }
    assert results["183729"]["total"] == "250.00"
    assert sorted(world.archive.sealed) == ["183729-202510", "620547-202510"]
    assert world.rows("SELECT account_number, period, total::text, accepted_by FROM acceptances ORDER BY 1") == [
        ("183729", "2025-10", "250.0000", "admin"),
        ("620547", "2025-10", "912.5000", "admin"),
    ]
    assert world.rows("SELECT uid, period FROM accepted_entries ORDER BY 1") == [
        ("e-1", "2025-10"),
        ("e-183729", "2025-10"),
    ]
    assert world.rows("SELECT * FROM sealing") == []


def test_what_is_sealed_is_the_preview_to_the_byte(world):
    preview = world.get("/api/bills/620547/2025-10")
    world.accept("620547")
    assert world.archive.sealed["620547-202510"]["data"] == preview.data
    assert world.get("/api/bills/620547/2025-10").data == preview.data


def test_the_same_page_again_is_already_sealed_and_nothing_is_sent(world):
    world.accept("620547")
    again = world.accept("620547")
    assert again["620547"] == {
        "account_number": "620547",
        "status": "already",
        "invoice_number": "620547-202510",
        "total": "912.50",
    }
    assert world.archive.batches == 1


def test_what_the_archive_has_and_ledger_lost_is_recorded_from_the_sealed_body(own_world, case):
    own_world.accept("620547")
    before = own_world.rows("SELECT body_sha256, total FROM acceptances")
    forget(own_world, "accepted_entries", "corrections", "acceptances")
    case.contact("Newcomer")
    case.facts["entries"].clear()
    assert own_world.accept("620547")["620547"]["status"] == "already"
    assert own_world.rows("SELECT body_sha256, total FROM acceptances") == before
    assert own_world.rows("SELECT uid FROM accepted_entries") == [("e-1",)]
    assert own_world.archive.batches == 1


def test_companies_without_a_bill_are_told_apart(world, company):
    skipped, unbillable = company("1"), company("2")
    skipped.facts["billing_plan"] = "Inactive"
    unbillable.facts["billing_plan"] = "Lost"
    world.codex.hold(skipped, unbillable)
    results = world.accept("1", "2", "3", "620547")
    assert results["1"] == {"account_number": "1", "status": "skipped", "reason": "the plan is Inactive"}
    assert (results["2"]["status"], results["2"]["retryable"]) == ("failed", False)
    assert "no plan 'Lost'" in results["2"]["reason"]
    assert (results["3"]["status"], results["3"]["code"]) == ("failed", "not_found")
    assert results["620547"]["status"] == "sealed"


def test_a_month_that_has_not_ended_is_refused(world, set_clock):
    set_clock("2025-10-31T23:59:59Z")
    refused = accept_one(world)
    assert (refused.status_code, refused.json["code"]) == (422, "period_open")
    assert world.archive.sealed == {}


def test_a_bill_that_changed_since_it_was_shown_is_refused_with_what_differs(world, case):
    shown = world.get("/api/billing/620547?year=2025&month=10").json
    case.contact("Newcomer")
    refused = accept_one(world, digest=shown["digest"])
    assert (refused.status_code, refused.json["code"]) == (409, "digest_mismatch")
    assert refused.json["differences"][:2] == [
        {"pointer": "/totals/total", "previewed": "912.50", "now": "1012.50"},
        {"pointer": "/totals/user", "previewed": "200.00", "now": "300.00"},
    ]
    assert {"pointer": "/lines/user Newcomer", "previewed": None, "now": "100.00"} in refused.json["differences"]
    assert world.archive.sealed == {}
    again = world.get("/api/billing/620547?year=2025&month=10").json
    assert accept_one(world, digest=again["digest"]).status_code == 201


def test_a_sealed_bill_other_than_the_shown_one_is_refused_too(own_world, case):
    case.contact("Newcomer")
    shown = own_world.get("/api/billing/620547?year=2025&month=10").json["digest"]
    case.facts["contacts"].pop()
    own_world.accept("620547")
    refused = accept_one(own_world, digest=shown)
    assert refused.status_code == 409
    assert refused.json["differences"][0] == {"pointer": "/totals/total", "previewed": "1012.50", "now": "912.50"}
    forget(own_world, "accepted_entries", "corrections", "acceptances")
    assert accept_one(own_world, digest=shown).status_code == 409
    assert accept_one(own_world).status_code == 200


def test_digests_of_a_page_are_each_companys_own(world, company):
    world.codex.hold(company("183729"))
    results = world.accept("620547", "183729", digests={"183729": "sha256:" + "0" * 64})
    assert results["620547"]["status"] == "sealed"
    assert (results["183729"]["status"], results["183729"]["code"]) == ("failed", "digest_mismatch")
    assert results["183729"]["differences"] == []


def test_a_bill_the_archive_refuses_fails_alone(world, company):
    world.codex.hold(company("183729", name="Refused"))
    results = world.accept("620547", "183729")
    assert results["620547"]["status"] == "sealed"
    assert results["183729"]["reason"] == "The archive refuses it: no"
    assert world.rows("SELECT * FROM sealing") == []


def test_without_the_archive_every_company_may_be_tried_again(world):
    world.archive.peer.answers("GET", "/api/snapshots/sealed", {"code": "busy", "detail": "busy"}, 503)
    result = world.accept("620547")["620547"]
    assert (result["status"], result["retryable"], result["code"]) == ("failed", True, "peer_unavailable")
    assert accept_one(world).status_code == 503


def test_a_lost_answer_of_the_archive_is_settled_by_the_next_try(world):
    def cut(_request):
        world.archive.batch(_request)
        return Response(b'{"status": "sea')

    world.archive.peer.answers("POST", "/api/snapshots/batch", cut)
    assert world.accept("620547")["620547"]["retryable"] is True
    assert world.rows("SELECT account_number, period FROM sealing") == [("620547", "2025-10")]
    assert world.accept("620547")["620547"]["status"] == "already"
    assert world.rows("SELECT account_number FROM acceptances") == [("620547",)]
    assert world.rows("SELECT * FROM sealing") == []


@pytest.mark.parametrize("place", FAILPOINTS)
def test_an_acceptance_that_dies_anywhere_is_completed_by_the_next_one(world, company, monkeypatch, place):
    world.codex.hold(company("183729"))
    monkeypatch.setenv("HIVEMATRIX_FAILPOINT", f"{place}=raise")
    body = {"period": "2025-10", "accounts": ["620547", "183729"]}
    assert world.ledger.post("/api/bills/accept", json=body).status_code == 500
    monkeypatch.delenv("HIVEMATRIX_FAILPOINT")
    results = world.accept("620547", "183729")
    assert {result["status"] for result in results.values()} <= {"sealed", "already"}
    assert sorted(world.archive.sealed) == ["183729-202510", "620547-202510"]
    assert world.rows("SELECT account_number, period FROM acceptances ORDER BY 1") == [
        ("183729", "2025-10"),
        ("620547", "2025-10"),
    ]
    assert world.rows("SELECT uid FROM accepted_entries ORDER BY 1") == [("e-1",), ("e-183729",)]
    assert world.rows("SELECT * FROM sealing") == []


def test_two_at_once_seal_each_bill_once(own_world, company):
    own_world.codex.hold(*(company(f"A{n}") for n in range(8)))
    accounts = [f"A{n}" for n in range(8)]

    def accept(turn):
        client = own_world.ledger.app.test_client()
        body = {"period": "2025-10", "accounts": accounts[::turn]}
        lines = client.post("/api/bills/accept", json=body, headers=own_world.ledger.headers("admin")).data.splitlines()
        return [orjson.loads(line)["status"] for line in lines]

    with ThreadPoolExecutor(2) as pool:
        one, other = pool.map(accept, (1, -1))
    assert sorted(one + other) == ["already"] * 8 + ["sealed"] * 8
    assert len(own_world.archive.sealed) == 8
    assert len(own_world.rows("SELECT * FROM acceptances")) == 8


def test_two_pages_are_computed_one_after_the_other(own_world, company, monkeypatch):
    """So the first is at the archive while the second is computed."""
    pages = [[f"{page}{n}" for n in range(4)] for page in "AB"]
    own_world.codex.hold(*(company(account) for page in pages for account in page))
    order, both = [], threading.Barrier(2)

    def build(period, facts, *others):
        order.append(facts["account_number"][0])
        if len(order) == 1:
            with contextlib.suppress(threading.BrokenBarrierError):
                both.wait(1)
        elif order[-1] != order[0]:
            both.abort()
        return whole(period, facts, *others)

    def accept(accounts):
        client = own_world.ledger.app.test_client()
        body = {"period": "2025-10", "accounts": accounts}
        return client.post("/api/bills/accept", json=body, headers=own_world.ledger.headers("admin")).status_code

    whole = bills.build_inputs
    monkeypatch.setattr(bills, "build_inputs", build)
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(accept, pages)) == [200, 200]
    assert "".join(order) in {"AAAABBBB", "BBBBAAAA"}


def test_what_a_rival_sealed_with_other_content_meanwhile_is_what_is_accepted(world, case):
    """A second Ledger without our locks: its bill reaches the archive between our question and ours."""

    def rival(request):
        case.contact("Newcomer")
        world.archive.seal({"body": case.bill().body, "csv": case.bill().csv, "digest": case.bill().digest, "meta": {}})
        return world.archive.batch(request)

    world.archive.peer.answers("POST", "/api/snapshots/batch", rival)
    assert world.accept("620547")["620547"] == {
        "account_number": "620547",
        "status": "already",
        "invoice_number": "620547-202510",
        "total": "1012.50",
    }
    assert world.rows("SELECT total::text FROM acceptances") == [("1012.5000",)]
    assert world.rows("SELECT * FROM sealing") == []


def test_hours_of_a_sealed_bill_nobody_recorded_are_not_billed_again(world, case, set_clock, monkeypatch):
    """September is accepted; October, with a late entry of September, is sealed by a process that dies. October then
    becomes unbillable, so that the entry would pass to November.
    """
    set_clock("2025-12-02T10:00:00Z")
    world.accept("620547", period="2025-09")
    case.entry("2", worked_on="2025-09-20", uid="late")
    monkeypatch.setenv("HIVEMATRIX_FAILPOINT", "accept-sealed@1=raise")
    assert accept_one(world, month=10).status_code == 500
    monkeypatch.delenv("HIVEMATRIX_FAILPOINT")
    case.override("billing_plan", "Lost", "2025-10", "2025-10")
    world.put("client_overrides", "620547", "billing_plan", "Lost", "2025-10", "2025-10")
    assert accept_one(world, month=11).status_code == 201
    november = world.archive.sealed["620547-202511"]["body"]
    assert [line for line in november["lines"] if line["kind"] == "hours"] == []
    assert world.rows("SELECT uid, period FROM accepted_entries ORDER BY 1") == [
        ("e-1", "2025-10"),
        ("late", "2025-10"),
    ]


def test_a_late_entry_is_billed_once_in_the_next_month(world, case, set_clock):
    set_clock("2026-02-02T10:00:00Z")
    world.accept("620547", period="2025-10")
    case.entry("1.5", worked_on="2025-10-30", uid="late")
    assert world.accept("620547", period="2025-11")["620547"]["status"] == "sealed"
    assert world.accept("620547", period="2025-12")["620547"]["status"] == "sealed"
    lines = {
        number: [(line["uids"], line["amount"]) for line in kept["body"]["lines"] if line["kind"] == "hours"]
        for number, kept in world.archive.sealed.items()
    }
    assert lines == {
        "620547-202510": [(["e-1"], "500.00")],
        "620547-202511": [(["late"], "225.00")],
        "620547-202512": [],
    }


def test_prepaid_hours_of_accepted_months_are_gone_for_the_next(world, case, set_clock):
    set_clock("2026-02-02T10:00:00Z")
    world.put("prepaid_hours", "620547", 1, 10, "calendar", 1)
    case.entry("4", worked_on="2025-11-03")
    world.accept("620547", period="2025-10")
    case.facts["entries"][0]["hours"] = "0"
    world.accept("620547", period="2025-11")
    november = world.archive.sealed["620547-202511"]["body"]["prepaid"]
    # October took September's hour, its own and 1.3333 of the pool; November its own hour and 3 of the pool.
    assert november["pool"]["left"] == "5.6667"
    assert november["monthly"]["taken"] == [{"month": "2025-11", "hours": "1"}]


def test_the_same_key_gives_the_same_answer_and_another_body_is_refused(world):
    def send(**body):
        asked = {"account_number": "620547", "year": 2025, "month": 10} | body
        return world.ledger.post("/api/bill/accept", json=asked, headers={"Idempotency-Key": "k1"})

    first, again = send(), send()
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.data == again.data
    assert again.headers["Idempotent-Replay"] == "true"
    assert send(notes="other").json["code"] == "idempotency_mismatch"


def test_a_failure_that_may_pass_is_not_kept_under_its_key(world):
    world.archive.peer.answers("GET", "/api/snapshots/sealed", {"code": "busy", "detail": "busy"}, 503)
    asked = {"account_number": "620547", "year": 2025, "month": 10}
    headers = {"Idempotency-Key": "k2"}
    assert world.ledger.post("/api/bill/accept", json=asked, headers=headers).status_code == 503
    world.archive.peer.answers("GET", "/api/snapshots/sealed", world.archive.list_sealed)
    assert world.ledger.post("/api/bill/accept", json=asked, headers=headers).status_code == 201


def test_every_company_is_accepted_when_none_is_named(world, company):
    world.codex.hold(company("183729"), company("A1"))
    lines = world.ledger.post("/api/bills/accept", json={"period": "2025-10"}).data.splitlines()
    assert [orjson.loads(line)["status"] for line in lines] == ["sealed"] * 3


def test_notes_and_the_callers_name_are_told_to_the_archive(world):
    accept_one(world, notes="as agreed")
    assert world.archive.sealed["620547-202510"]["meta"] == {"created_by": "admin", "notes": "as agreed"}
    assert world.rows("SELECT accepted_by FROM acceptances") == [("admin",)]


def test_a_deadline_that_passes_meanwhile_leaves_no_lock_behind(own_world):
    """The caller gives up while the archive seals: what was sealed is recorded by the next try, which need not wait."""

    def slow(request):
        time.sleep(1.2)
        return own_world.archive.batch(request)

    own_world.archive.peer.answers("POST", "/api/snapshots/batch", slow)
    asked = {"account_number": "620547", "year": 2025, "month": 10}
    answer = own_world.ledger.post("/api/bill/accept", json=asked, headers={"X-Request-Deadline": "1000"})
    assert answer.status_code in {503, 504}
    assert own_world.rows("SELECT * FROM pg_locks WHERE locktype = 'advisory'") == []
    assert accept_one(own_world).status_code == 200


def test_a_page_of_long_names_and_large_bills_is_asked_and_sent_in_parts(world, company, monkeypatch):
    monkeypatch.setattr(clients, "_LISTED", 20)
    monkeypatch.setattr(clients, "_BATCH", 10_000)
    accounts = [f"ACCOUNT{n}" for n in range(5)]
    world.codex.hold(*map(company, accounts))
    assert {result["status"] for result in world.accept(*accounts).values()} == {"sealed"}
    assert world.archive.batches > 1
    assert len(world.rows("SELECT * FROM acceptances")) == 5


def test_a_company_whose_facts_cannot_be_read_is_named_and_holds_up_nobody(world, company):
    broken = company("183729")
    broken.entry("1", worked_on="yesterday")
    late = company("A1")
    late.contact("Odd", uid="odd", active_from="2025-10-01T00:00:00")
    world.codex.hold(broken, late)
    results = world.accept("183729", "620547", "A1")
    assert "got 'yesterday'" in results["183729"]["reason"]
    assert "offset" in results["A1"]["reason"]
    assert results["620547"]["status"] == "sealed"


def test_an_entry_on_two_bills_raises_an_alarm_and_stays_on_the_first(world, company, caplog):
    """Only a fault in Codex can bring it about: one entry given to two companies at once."""
    other = company("183729")
    other.facts["entries"][0]["uid"] = "e-1"
    world.codex.hold(other)
    world.accept("620547", "183729")
    assert "entries are on two bills" in caplog.text
    assert len(world.rows("SELECT * FROM accepted_entries")) == 1


@pytest.mark.parametrize(
    ("refused", "told"),
    [
        ("already_accepted", ("already_accepted", True)),
        ("period_open", ("invalid", True)),
        ("invalid", ("invalid", False)),
    ],
)
def test_what_another_content_or_a_slow_clock_refuses_may_be_tried_again(world, refused, told):
    problem = {"code": refused, "detail": "not now"}
    refusal = {"invoice_number": "620547-202510", "status": "refused", "problem": problem}
    world.archive.peer.answers("POST", "/api/snapshots/batch", [orjson.dumps(refusal)])
    result = world.accept("620547")["620547"]
    assert (result["status"], result["code"], result["retryable"]) == ("failed", *told)


def test_an_archive_that_answers_too_little_has_failed(world, company):
    world.codex.hold(company("183729"))
    world.archive.peer.answers("POST", "/api/snapshots/batch", [b'{"status": "sealed"}'])
    assert {result["retryable"] for result in world.accept("620547", "183729").values()} == {True}
    assert world.rows("SELECT * FROM acceptances") == []
