"""Corrections through Ledger: sealed beside the invoice, recorded once, its hours given back once, whatever dies."""

import re
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import orjson
import pytest
from hivematrix_common import failpoints
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError
from werkzeug.wrappers import Response

SOURCE = Path(__file__).resolve().parents[1] / "hivematrix_ledger" / "services" / "corrections.py"
FAILPOINTS = re.findall(r'failpoint\("([^"]+)"\)', SOURCE.read_text())
STATE = (
    "SELECT revision, kind, invoice_number, corrects, bill, credited::text, releases FROM corrections ORDER BY revision"
)
HELD = "SELECT uid, period FROM accepted_entries ORDER BY uid"


@pytest.fixture
def accepted(world):
    """October is accepted: 912.50, with the entry e-1."""
    assert world.accept("620547")["620547"]["status"] == "sealed"
    return world


@pytest.fixture
def dying(monkeypatch):
    """`with dying("correct-sealed"):` the process dies there, once."""

    @contextmanager
    def at(place):
        with monkeypatch.context() as patch:
            patch.setattr(failpoints, "_passes", Counter())
            patch.setenv("HIVEMATRIX_FAILPOINT", f"{place}=raise")
            yield

    return at


def sealed(world):
    return {number: kept["body"] for number, kept in world.archive.sealed.items()}


def forget(world, *tables):
    """Take rows away as a restored backup would; the service's own role may not."""
    with closing(world.ledger.owner()) as owner:
        owner.cursor().execute(f"TRUNCATE {', '.join(tables)}")


def test_a_credit_of_all_lines_is_sealed_and_gives_the_hours_back(accepted):
    answer = accepted.correct()
    assert answer.status_code == 201
    assert answer.json["message"] == "620547-202510 is credited by 620547-202510-C1."
    assert (answer.json["corrects"], answer.json["invoice_number"]) == ("620547-202510", "620547-202510-C1")
    [document] = answer.json["documents"]
    assert (document["kind"], document["total"]) == ("credit_note", "-912.50")
    assert accepted.rows(HELD) == []
    assert accepted.rows(STATE) == [
        (1, "credit_note", "620547-202510-C1", "620547-202510", "620547-202510", "-912.5000", "620547-202510")
    ]
    assert accepted.rows("SELECT * FROM sealing") == []


def test_the_actor_is_the_caller_and_the_reason_is_told(accepted):
    accepted.correct(reason="Ann left in September")
    kept = accepted.archive.sealed["620547-202510-C1"]
    assert kept["meta"] == {"created_by": "admin", "notes": "Ann left in September"}
    assert kept["body"]["reason"] == "Ann left in September"
    assert accepted.rows("SELECT corrected_by FROM corrections") == [("admin",)]
    assert accepted.correct(actor="somebody else").json["errors"][0]["field"] == "actor"


def test_hours_of_a_credited_month_are_billed_late(accepted, set_clock):
    accepted.correct()
    set_clock("2025-12-02T10:00:00Z")
    accepted.accept("620547", period="2025-11")
    [line] = [line for line in sealed(accepted)["620547-202511"]["lines"] if line["kind"] == "hours"]
    assert (line["name"], line["uids"], line["amount"]) == ("Late hours 2025-10", ["e-1"], "500.00")
    assert accepted.rows(HELD) == [("e-1", "2025-11")]


def test_a_part_of_an_invoice_keeps_its_hours(accepted):
    assert accepted.correct(lines=[0]).json["documents"][0]["total"] == "-100.00"
    assert accepted.rows(HELD) == [("e-1", "2025-10")]
    refused = accepted.correct(lines=[0, 1])
    assert (refused.status_code, refused.json["code"]) == (409, "conflict")
    assert "credited before are 0; left are 1, 2, 3, 4, 5, 6" in refused.json["detail"]
    assert accepted.correct().status_code == 409
    assert accepted.correct(lines=[1, 2, 3, 4, 5, 6]).status_code == 201
    assert accepted.rows(HELD) == []
    voided = accepted.correct()
    assert (voided.status_code, "left are none" in voided.json["detail"]) == (409, True)


def test_a_replacement_takes_the_hours_over(accepted, case):
    case.contact("Newcomer")
    answer = accepted.correct("replace", reason="a newcomer was missing")
    assert answer.status_code == 201
    assert answer.json["message"] == ("620547-202510 is credited by 620547-202510-C1 and replaced by 620547-202510-C2.")
    assert [one["total"] for one in answer.json["documents"]] == ["-912.50", "1012.50"]
    assert accepted.rows(HELD) == [("e-1", "2025-10")]
    replacement = sealed(accepted)["620547-202510-C2"]
    assert replacement["corrects"]["invoice_number"] == "620547-202510"
    assert [line["uids"] for line in replacement["lines"] if line["kind"] == "hours"] == [["e-1"]]
    shown = accepted.get("/api/bills/620547/2025-10")
    assert (shown.json["invoice_number"], shown.headers["X-Bill-Status"]) == ("620547-202510-C2", "accepted")
    assert accepted.accept("620547")["620547"] == {
        "account_number": "620547",
        "status": "already",
        "invoice_number": "620547-202510-C2",
        "total": "1012.50",
    }
    assert [line["total"] for line in listed(accepted)] == ["1012.50"]


def listed(world):
    lines = world.get("/api/bills?period=2025-10").data.splitlines()
    return [orjson.loads(line)["totals"] for line in lines]


def test_a_replacement_after_a_part_credits_the_rest(accepted):
    accepted.correct(lines=[0])
    documents = accepted.correct("replace").json["documents"]
    assert [(one["invoice_number"][-2:], one["total"]) for one in documents] == [("C2", "-812.50"), ("C3", "912.50")]


def test_a_credited_month_can_be_billed_anew(accepted):
    accepted.correct()
    documents = accepted.correct("replace").json["documents"]
    assert [(one["kind"], one["invoice_number"]) for one in documents] == [("invoice", "620547-202510-C2")]
    assert accepted.rows(HELD) == [("e-1", "2025-10")]


def test_hours_billed_late_meanwhile_are_not_billed_again(accepted, set_clock):
    accepted.correct()
    set_clock("2025-12-02T10:00:00Z")
    accepted.accept("620547", period="2025-11")
    accepted.correct("replace")
    assert [line for line in sealed(accepted)["620547-202510-C2"]["lines"] if line["kind"] == "hours"] == []
    assert accepted.rows(HELD) == [("e-1", "2025-11")]


def test_prepaid_hours_of_a_credited_month_are_there_again(world, case, set_clock):
    set_clock("2025-12-02T10:00:00Z")
    world.put("prepaid_hours", "620547", None, 10, "calendar", 0)
    case.entry("4", worked_on="2025-11-03", uid="november")
    world.accept("620547")
    world.correct()
    world.accept("620547", period="2025-11")
    november = sealed(world)["620547-202511"]["prepaid"]["pool"]
    # October's 3.3333 hours are late now: taken once, by November.
    assert (november["taken"], november["left"]) == ("7.3333", "2.6667")


def test_a_month_without_a_sealed_bill_is_not_corrected(world):
    answer = world.correct()
    assert (answer.status_code, answer.json["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    ("sent", "field"),
    [
        ({"mode": "delete"}, "mode"),
        ({"reason": ""}, "reason"),
        ({"reason": "  "}, "reason"),
        ({"reason": "a\x00b"}, "reason"),
        ({"lines": []}, "lines"),
        ({"lines": [-1]}, "lines.0"),
        ({"lines": [True]}, "lines.0"),
        ({"lines": ["0"]}, "lines.0"),
        ({"lines": [7]}, "lines"),
        ({"mode": "replace", "lines": [0]}, "lines"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused_with_its_field(accepted, sent, field):
    answer = accepted.correct(**sent)
    assert answer.status_code == 422
    assert field in {error["field"] for error in answer.json["errors"]} or field in answer.json["detail"], answer.text
    assert sorted(accepted.archive.sealed) == ["620547-202510"]


def test_a_reason_is_required(accepted):
    path = "/api/bills/620547/2025-10/correct"
    assert accepted.ledger.post(path, json={"mode": "credit"}).json["errors"][0]["field"] == "reason"


def test_a_technician_corrects_nothing(accepted):
    path, body = "/api/bills/620547/2025-10/correct", {"mode": "credit", "reason": "x"}
    assert accepted.ledger.post(path, "technician", json=body).status_code == 403


def test_a_month_that_would_get_no_bill_is_not_replaced(accepted, case):
    case.facts["billing_plan"] = "Inactive"
    answer = accepted.correct("replace")
    assert answer.status_code == 409
    assert "would get no bill for 2025-10 now: the plan is Inactive; credit it instead" in answer.json["detail"]
    assert sorted(accepted.archive.sealed) == ["620547-202510"]


def test_the_same_key_gives_the_same_answer(accepted):
    first = accepted.correct(headers={"Idempotency-Key": "k1"})
    again = accepted.correct(headers={"Idempotency-Key": "k1"})
    assert (again.status_code, again.data, again.headers["Idempotent-Replay"]) == (201, first.data, "true")
    assert accepted.correct(lines=[0], headers={"Idempotency-Key": "k1"}).json["code"] == "idempotency_mismatch"


@pytest.mark.parametrize("mode", ["credit", "replace"])
@pytest.mark.parametrize("place", FAILPOINTS)
def test_a_correction_that_dies_anywhere_is_completed_by_the_next_try(accepted, dying, place, mode):
    key = {"Idempotency-Key": "k1"}
    with dying(place):
        assert accepted.correct(mode, headers=key).status_code == 500
    answer = accepted.correct(mode, headers=key)
    assert answer.status_code in {200, 201}, answer.text
    wanted = {"credit": ["C1"], "replace": ["C1", "C2"]}[mode]
    assert sorted(accepted.archive.sealed) == ["620547-202510", *(f"620547-202510-{number}" for number in wanted)]
    assert [one["invoice_number"][-2:] for one in answer.json["documents"]] == wanted
    assert [row[0] for row in accepted.rows(STATE)] == [int(number[1]) for number in wanted]
    assert accepted.rows(HELD) == {"credit": [], "replace": [("e-1", "2025-10")]}[mode]
    assert accepted.rows("SELECT * FROM sealing") == []


def test_a_lost_answer_of_the_archive_is_settled_by_the_next_try(accepted):
    def cut(request):
        accepted.archive.batch(request)
        return Response(b'{"status": "sea')

    accepted.archive.peer.answers("POST", "/api/snapshots/batch", cut)
    assert accepted.correct("replace").status_code == 503
    assert accepted.rows("SELECT account_number, period FROM sealing") == [("620547", "2025-10")]
    answer = accepted.correct("replace")
    assert (answer.status_code, answer.json["invoice_number"]) == (200, "620547-202510-C2")
    assert len(accepted.archive.sealed) == 3
    assert accepted.rows(HELD) == [("e-1", "2025-10")]


def test_another_order_after_a_death_is_made_on_top_of_it(accepted, dying):
    with dying("correct-sealed"):
        accepted.correct(lines=[0])
    assert accepted.correct(lines=[1]).json["invoice_number"] == "620547-202510-C2"
    assert [row[2] for row in accepted.rows(STATE)] == ["620547-202510-C1", "620547-202510-C2"]


def test_hours_that_a_dead_process_gave_back_are_known_to_the_next_month(accepted, set_clock, dying):
    """October is credited by a process that dies before it is recorded; November may bill its hours late."""
    with dying("correct-sealed"):
        accepted.correct()
    assert accepted.rows(HELD) == [("e-1", "2025-10")]
    set_clock("2025-12-02T10:00:00Z")
    accepted.accept("620547", period="2025-11")
    assert accepted.rows(HELD) == [("e-1", "2025-11")]
    assert [row[2] for row in accepted.rows(STATE)] == ["620547-202510-C1"]


def test_a_ledger_restored_from_before_is_brought_to_what_is_sealed(own_world, case):
    own_world.accept("620547")
    own_world.correct(lines=[0])
    case.contact("Newcomer")
    own_world.correct("replace")
    own_world.correct(lines=[1])
    before = own_world.rows(STATE), own_world.rows(HELD)
    forget(own_world, "accepted_entries", "corrections", "acceptances")
    assert own_world.accept("620547")["620547"]["invoice_number"] == "620547-202510-C3"
    assert (own_world.rows(STATE), own_world.rows(HELD)) == before


@pytest.mark.parametrize(("mode", "documents"), [("credit", 2), ("replace", 3)])
def test_the_same_again_is_answered_with_what_was_made(accepted, mode, documents):
    """A person presses twice, or a program repeats without its key, after others worked on."""
    first = accepted.correct(mode, headers={"Idempotency-Key": "k1"})
    again = accepted.correct(mode, headers={"Idempotency-Key": "k2"})
    assert (first.status_code, again.status_code, again.json) == (201, 200, first.json)
    assert len(accepted.archive.sealed) == documents
    assert accepted.correct(mode, reason="another").status_code == {"credit": 409, "replace": 201}[mode]


def test_the_same_replacement_of_other_facts_is_another_one(accepted, case):
    accepted.correct("replace")
    case.contact("Newcomer")
    assert accepted.correct("replace").json["invoice_number"] == "620547-202510-C4"
    accepted.correct(lines=[0])
    assert accepted.correct("replace").json["invoice_number"] == "620547-202510-C7"


def test_a_correction_that_died_and_that_another_recorded_is_not_made_again(accepted, dying, set_clock):
    with dying("correct-sealed"):
        accepted.correct("replace")
    set_clock("2025-12-02T10:00:00Z")
    accepted.accept("620547", period="2025-11")
    answer = accepted.correct("replace")
    assert (answer.status_code, answer.json["invoice_number"]) == (200, "620547-202510-C2")
    assert len(accepted.archive.sealed) == 4


def test_two_at_once_credit_a_line_once(own_world):
    own_world.accept("620547")

    def credit(_turn):
        client, headers = own_world.ledger.app.test_client(), own_world.ledger.headers("admin")
        body = {"mode": "credit", "reason": "x", "lines": [0]}
        return client.post("/api/bills/620547/2025-10/correct", json=body, headers=headers).status_code

    with ThreadPoolExecutor(2) as pool:
        assert sorted(pool.map(credit, range(2))) == [200, 201]
    assert len(own_world.archive.sealed) == 2


def test_what_the_archive_refuses_is_told_and_nothing_is_recorded(accepted):
    problem = {"code": "conflict", "status": 409, "detail": "body.invoice_number: the right number is 620547-202510-C2"}
    refusal = {"invoice_number": "620547-202510-C1", "status": "refused", "problem": problem}
    accepted.archive.peer.answers("POST", "/api/snapshots/batch", [orjson.dumps(refusal)])
    answer = accepted.correct()
    assert (answer.status_code, "the right number is 620547-202510-C2" in answer.json["detail"]) == (409, True)
    assert accepted.rows(STATE) == []
    assert accepted.rows(HELD) == [("e-1", "2025-10")]


def test_an_erased_invoice_is_neither_corrected_nor_billed_again(accepted):
    accepted.archive.erased.add("620547-202510")
    assert (accepted.correct().status_code, accepted.correct().json["code"]) == (410, "gone")
    lines = accepted.get("/api/bills?period=2025-10").data.splitlines()
    assert orjson.loads(lines[0])["status"] == "erased"
    assert accepted.accept("620547")["620547"]["status"] == "already"


def test_a_credit_note_that_ledger_did_not_make_is_not_guessed_at(accepted, caplog):
    accepted.correct(lines=[0])
    accepted.archive.sealed["620547-202510-C1"]["body"]["lines"][0]["why"]["basis"] = None
    answer = accepted.correct(lines=[1])
    assert (answer.status_code, "Ledger did not make it" in answer.json["detail"]) == (422, True)
    assert "a correction cannot be read" in caplog.text
    assert len(accepted.archive.sealed) == 2


def test_an_erased_body_is_told_as_gone(accepted):
    gone = {"code": "gone", "detail": "620547-202510 was erased.", "digest": "sha256:x"}
    accepted.archive.peer.answers("GET", "/api/snapshot/620547-202510/body", gone, 410)
    answer = accepted.get("/api/bills/620547/2025-10")
    assert (answer.status_code, answer.json["code"], answer.json["digest"]) == (410, "gone", "sha256:x")


def test_nothing_of_what_a_bill_says_stays_in_ledger_once_it_is_forgotten(world, case):
    """The archive may have to erase a document: no row, no kept answer may hold what it said."""
    shown = world.get("/api/bills/620547/2025-10").headers["X-Bill-Digest"]
    case.contact("Zelda", uid="c-1")
    asked = {"period": "2025-10", "accounts": ["620547"], "notes": "as Zelda wished", "digests": {"620547": shown}}
    refused = world.ledger.post("/api/bills/accept", json=asked, headers={"Idempotency-Key": "k1"})
    assert "Zelda" in refused.text, "what differs is told"
    now = world.get("/api/bills/620547/2025-10").headers["X-Bill-Digest"]
    assert world.accept("620547", notes="as Zelda wished", digests={"620547": now})["620547"]["status"] == "sealed"
    assert world.correct(lines=[0], reason="Zelda left", headers={"Idempotency-Key": "k2"}).status_code == 201
    assert "Zelda" in everything(world)
    world.archive.erased.add("620547-202510")
    for previews in (2, 0):
        answer = world.ledger.post("/api/bills/620547/2025-10/forget", json={})
        assert (answer.status_code, answer.json) == (200, {"previews": previews})
    assert "Zelda" not in everything(world)


def everything(world):
    """Every row that the service made of bills, as text; what was sent and answered too."""
    tables = ("acceptances", "corrections", "accepted_entries", "sealing", "audit.entries")
    statements = [f"SELECT t::text FROM {table} t" for table in tables]
    statements += [f"SELECT convert_from(body, 'UTF8') FROM {table}" for table in ("idempotency_keys", "previews")]
    return " ".join(row[0] for statement in statements for row in world.rows(statement))


def test_the_start_page_counts_what_is_left(accepted):
    accepted.correct(lines=[0])
    rows = accepted.rows("SELECT total::text, credited::text FROM bills")
    assert rows == [("912.5000", "-100.0000")]
    accepted.ledger.sign_in("billing_clerk")
    assert "812.50" in accepted.get("/", person=None).text


def test_a_client_sees_what_was_credited_and_not_by_whom(accepted):
    accepted.correct(lines=[0])
    accepted.ledger.sign_in("client_user", "620547")
    assert "\u2212100.00<" in accepted.get("/", person=None).text
    body = {"mode": "credit", "reason": "x"}
    path = "/api/bills/620547/2025-10/correct"
    assert accepted.ledger.post(path, None, json=body, headers=accepted.ledger.csrf()).status_code == 403


def test_every_document_can_be_computed_again(accepted, case):
    accepted.correct(lines=[0])
    case.contact("Newcomer")
    accepted.correct("replace")
    for number, kept in accepted.archive.sealed.items():
        asked = {"engine": kept["body"]["engine"]["version"], "inputs": kept["body"]["inputs"]}
        answer = accepted.ledger.post("/api/engine/replay", json=asked)
        assert (answer.status_code, answer.data == kept["data"]) == (200, True), (number, answer.text[:300])


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda inputs: inputs["lines"].append(99), "7 lines, counted from 0; got 99"),
        (lambda inputs: inputs["original"]["lines"][0].pop("amount"), "amount"),
        (lambda inputs: inputs["correction"].pop("corrects"), "corrects"),
    ],
)
def test_inputs_of_a_credit_note_are_checked_before_they_are_used(accepted, change, told):
    accepted.correct(lines=[0])
    inputs = sealed(accepted)["620547-202510-C1"]["inputs"]
    change(inputs)
    answer = accepted.ledger.post("/api/engine/replay", json={"engine": 2, "inputs": inputs})
    assert (answer.status_code, told in answer.text) == (422, True), answer.text


def test_the_database_gives_an_invoices_hours_back_once(accepted):
    """Even to a service that was mistaken."""
    accepted.correct()
    again = (
        "INSERT INTO corrections SELECT account_number, period, 2, kind, invoice_number || 'x', corrects,"
        " body_sha256, currency, total, bill, bill_sha256, bill_total, credited, prepaid_monthly, prepaid_taken,"
        " prepaid_pool, releases, log_index, sealed_at, checkpoint, corrected_by, corrected_at FROM corrections"
    )
    session = accepted.ledger.db.session
    with pytest.raises(DBAPIError, match="corrections_releases_key"), session.begin_nested():
        session.execute(text(again))
    for statement in ("UPDATE corrections SET credited = 0", "DELETE FROM corrections", "DELETE FROM accepted_entries"):
        with pytest.raises(DBAPIError, match="permission denied"), session.begin_nested():
            session.execute(text(statement))
