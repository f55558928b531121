"""Sealing, the log and reading, on a real database."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import orjson
import pytest
from hivematrix_archive.domain.seal import Leaf
from hivematrix_archive.services import log, reading, sealing, session
from hivematrix_archive.services.sealing import Sealer
from hivematrix_archive.store.outside import Outside
from hivematrix_common import failpoints
from hivematrix_common.domain import merkle
from hivematrix_common.domain.canonical import canonical, digest
from hivematrix_common.domain.checkpoint import Checkpoint, open_checkpoint
from hivematrix_common.domain.note import Note
from hivematrix_common.errors import Problem
from hivematrix_common.failpoints import FailpointError
from hivematrix_common.signatures import check_signature
from sqlalchemy import text

ORIGIN = "archive.example.com/log"


def scalar(statement):
    return session().execute(text(statement)).scalar()


def counts():
    tables = (
        *("billing_snapshots", "snapshot_line_items", "archive_data.bodies"),
        *("archive_log.entries", "archive_log.checkpoints"),
    )
    return [scalar(f"SELECT count(*) FROM {table}") for table in tables]


def test_a_bill_is_sealed_whole_and_its_receipt_opens_with_the_logs_key(archive, outside, seal, sealing_request):
    request = sealing_request(meta={"notes": "by hand"})
    [outcome] = seal(archive, request)
    receipt = outcome.receipt
    assert outcome.fresh
    assert receipt.as_json() == {
        "invoice_number": "620547-202510",
        "body": request["digest"],
        "log_index": 0,
        "sealed_at": "2025-12-01T02:00:07Z",
        "checkpoint": receipt.checkpoint,
    }
    signed = open_checkpoint(receipt.checkpoint, outside.keys(), check_signature)
    leaf = bytes(scalar("SELECT leaf FROM archive_log.entries"))
    assert signed == Checkpoint(ORIGIN, 1, merkle.leaf_hash(leaf))
    assert Leaf.parse(leaf).body == request["digest"]
    assert Leaf.parse(leaf).meta == digest(bytes(scalar("SELECT meta FROM archive_data.bodies")))
    assert reading.body(session(), "620547-202510") == canonical(request["body"])
    assert outside.kept()[0][-1] == receipt.checkpoint


def test_what_was_said_about_a_bill_is_sealed_beside_it(archive, seal, sealing_request):
    seal(archive, sealing_request(meta={"notes": "by hand", "created_by": "ada"}), key="k1")
    meta = orjson.loads(bytes(scalar("SELECT meta FROM archive_data.bodies")))
    assert len(meta.pop("random")) == 32
    assert meta == {
        "format": "hivematrix.meta/1",
        "idempotency_key": "k1",
        "sealed_by": "ledger",
        "created_by": "ada",
        "notes": "by hand",
        "job": None,
    }
    assert reading.snapshot(session(), "620547-202510")["created_by"] == "ada"


def test_the_same_bill_again_gets_the_same_receipt_and_adds_nothing(archive, seal, sealing_request):
    [first] = seal(archive, sealing_request("1"))
    seal(archive, sealing_request("2"))
    before = counts()
    [again] = seal(archive, sealing_request("1", meta={"notes": "another word"}))
    assert (again.fresh, again.receipt) == (False, first.receipt)
    assert counts() == before


def test_another_bill_under_a_sealed_number_is_refused_with_what_differs(archive, seal, sealing_request):
    seal(archive, sealing_request())
    [outcome] = seal(archive, sealing_request(company_name="Another"))
    problem = outcome.problem.as_json()
    assert (problem["code"], problem["status"]) == ("already_accepted", 409)
    assert {"pointer": "/company_name", "sealed": "Company 620547", "sent": "Another"} in problem["differences"]
    assert counts()[0] == 1


def test_a_batch_answers_in_order_and_seals_what_it_can(archive, seal, sealing_request):
    bad = sealing_request("3") | {"digest": "sha256:" + "0" * 64}
    again, other = sealing_request("1"), sealing_request("2", company_name="x")
    outcomes = seal(archive, sealing_request("1"), bad, sealing_request("2"), again, other)
    told = [outcome.as_json()["status"] for outcome in outcomes]
    assert told == ["sealed", "refused", "sealed", "already", "refused"]
    assert [outcome.invoice_number for outcome in outcomes] == [f"{number}-202510" for number in (1, 3, 2, 1, 2)]
    assert outcomes[0].receipt == outcomes[3].receipt
    assert outcomes[1].problem.fields[0].field == "digest"
    assert outcomes[4].problem.code == "already_accepted"
    assert counts()[:4] == [2, 14, 2, 2]


def test_a_batch_that_seals_nothing_signs_nothing(archive, outside, seal, sealing_request):
    seal(archive, sealing_request("1"))
    kept = outside.kept()
    seal(archive, sealing_request("1"), {"not": "a request"})
    assert outside.kept() == kept


def test_lines_that_are_no_requests_are_refused_one_by_one(archive, seal, sealing_request):
    outcomes = seal(archive, [], "x", {"body": 7}, sealing_request("1"))
    assert [outcome.problem.code if outcome.problem else "" for outcome in outcomes] == ["invalid"] * 3 + [""]


def test_texts_with_tabs_breaks_and_backslashes_arrive_as_they_were(archive, seal, sealing_request):
    names = ["a\tb\\n", 'c\r\nd "q" \u2603', "\\N"]
    rows = [("item", name, "1", "5", "5.00") for name in names]
    seal(archive, sealing_request(rows=rows))
    found = reading.line_items(session(), "620547-202510")
    assert [line["item_name"] for line in found] == names


def test_a_process_without_the_key_names_the_one_that_seals(archive, sealing_request, tmp_path):
    sealer = Sealer(Outside(tmp_path), archive.settings.billing.timezone, "ledger", None, "https://archive.example.com")
    with pytest.raises(Problem, match=r"Send it to https://archive\.example\.com") as caught:
        sealing.seal(session(), sealer, [orjson.dumps(sealing_request())], None)
    assert caught.value.status == 421


# Where the process may die or fail inside the sealing transaction, and after its commit.
BEFORE_COMMIT = [
    *("check", "lock", "look-up", "tip", "edge", "leaves", "tree", "entries", "snapshots", "bodies", "line-items"),
    *("nodes", "checkpoint", "answer"),
]


@pytest.fixture
def fail_at(monkeypatch):
    """fail_at(place): the next pass raises; fail_at(None): none does."""

    def at(place):
        if place:
            monkeypatch.setenv("HIVEMATRIX_FAILPOINT", f"{place}=raise")
        else:
            monkeypatch.delenv("HIVEMATRIX_FAILPOINT")
            failpoints._passes.clear()

    return at


def test_a_failure_anywhere_before_the_commit_leaves_nothing(archive, outside, seal, sealing_request, fail_at):
    seal(archive, sealing_request("1"))
    before, kept = counts(), outside.kept()
    for place in BEFORE_COMMIT:
        fail_at(f"seal-{place}")
        with pytest.raises(FailpointError, match=place):
            seal(archive, sealing_request("2"))
        session().rollback()
        assert (counts(), outside.kept()) == (before, kept)
        fail_at(None)
    assert seal(archive, sealing_request("2"))[0].fresh


def test_a_failure_after_the_commit_is_mended_by_the_next_seal(archive, outside, seal, sealing_request, fail_at):
    fail_at("seal-commit")
    with pytest.raises(FailpointError):
        seal(archive, sealing_request("1"))
    fail_at(None)
    assert counts()[0] == 1
    assert len(outside.kept()[0]) == 1
    [again, fresh] = seal(archive, sealing_request("1"), sealing_request("2"))
    assert (again.fresh, fresh.fresh) == (False, True)
    sizes = [Checkpoint.parse(Note.parse(note).text).size for note in outside.kept()[0]]
    assert sizes == [0, 1, 2]


@pytest.mark.parametrize("cut", [1, 40, 150])
def test_a_note_that_a_crash_cut_short_is_completed(archive, outside, seal, sealing_request, cut):
    seal(archive, sealing_request("1"))
    whole = outside.checkpoint_file.read_bytes()
    outside.checkpoint_file.write_bytes(whole[:-cut])
    fresh = Outside(archive.settings.home)
    log.ensure_sound(session(), fresh)
    assert fresh.checkpoint_file.read_bytes() == whole


def lost(archive, request, seal):
    with pytest.raises(Problem) as caught:
        seal(archive, request)
    session().rollback()
    return caught.value


def test_a_database_behind_the_file_seals_nothing(own_archive, seal, sealing_request):
    seal(own_archive, sealing_request("1"))
    seal(own_archive, sealing_request("2"))
    with closing(own_archive.owner()) as owner, owner.cursor() as cursor:
        for table in ("billing_snapshots", "archive_data.bodies", "archive_log.entries", "archive_log.checkpoints"):
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER never_changed")
        cursor.execute("DELETE FROM billing_snapshots WHERE id = 2")
        cursor.execute("DELETE FROM archive_data.bodies WHERE log_index = 1")
        cursor.execute("DELETE FROM archive_log.entries WHERE index = 1")
        cursor.execute("DELETE FROM archive_log.checkpoints WHERE size = 2")
    problem = lost(own_archive, sealing_request("3"), seal)
    assert (problem.code, problem.status) == ("log_behind", 503)
    assert "lacks checkpoint 3 of" in problem.detail
    assert "of size 2" in problem.detail


TOUCHED = [
    ("DELETE FROM archive_log.entries WHERE index = 1", "log_broken", "level 0 holds 2 hashes of 3"),
    ("UPDATE archive_log.entries SET hash = sha256('x') WHERE index = 1", "log_broken", "root signed at size 3"),
    ("UPDATE archive_log.checkpoints SET root = sha256('x') WHERE size = 3", "log_broken", "root signed at size 3"),
    ("UPDATE archive_log.checkpoints SET note = replace(note, '3', '4') WHERE size = 3", "log_behind", "lacks"),
    ("INSERT INTO archive_log.entries VALUES (3, 'x', sha256('x'))", "log_broken", "4 hashes of 3"),
]


def test_a_log_that_was_touched_stops_sealing(own_archive, seal, sealing_request):
    seal(own_archive, *(sealing_request(str(at)) for at in range(3)))
    with closing(own_archive.owner()) as owner, owner.cursor() as cursor:
        for table in ("entries", "checkpoints"):
            cursor.execute(f"ALTER TABLE archive_log.{table} DISABLE TRIGGER never_changed")
            cursor.execute(f"CREATE TEMPORARY TABLE aside_{table} AS SELECT * FROM archive_log.{table}")
        for change, code, told in TOUCHED:
            cursor.execute(change)
            problem = lost(own_archive, sealing_request("9"), seal)
            assert (problem.code, told in problem.detail) == (code, True), problem.detail
            undo(cursor)
    assert counts()[0] == 3
    assert seal(own_archive, sealing_request("9"))[0].fresh


def undo(cursor):
    """Put back what TOUCHED changed: the entries and the checkpoints as they were set aside."""
    for table in ("entries", "checkpoints"):
        cursor.execute(f"DELETE FROM archive_log.{table}")
        cursor.execute(f"INSERT INTO archive_log.{table} OVERRIDING SYSTEM VALUE SELECT * FROM aside_{table}")


def test_a_log_that_would_not_extend_the_signed_one_is_not_signed(archive, outside, seal, sealing_request, monkeypatch):
    seal(archive, sealing_request("1"), sealing_request("2"), sealing_request("3"))
    kept = outside.kept()
    monkeypatch.setattr(merkle, "consistency_proof", lambda *_: [bytes(32)])
    problem = lost(archive, sealing_request("4"), seal)
    assert (problem.code, "does not extend the signed one of 3" in problem.detail) == ("log_broken", True)
    assert outside.kept() == kept


def test_a_process_looks_at_the_whole_file_before_it_first_seals(own_archive, seal, sealing_request):
    for number in "123":
        seal(own_archive, sealing_request(number))
    with closing(own_archive.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("ALTER TABLE archive_log.checkpoints DISABLE TRIGGER never_changed")
        cursor.execute("DELETE FROM archive_log.checkpoints WHERE size = 2")
    own_archive.app.extensions["hivematrix_outside"] = Outside(own_archive.settings.home)
    assert "lacks checkpoint 3 of" in lost(own_archive, sealing_request("4"), seal).detail


def test_a_note_cut_short_that_the_database_never_had_stops_sealing(archive, outside, seal, sealing_request):
    seal(archive, sealing_request("1"))
    with outside.checkpoint_file.open("a") as file:
        file.write(f"{ORIGIN}\n2\n")
    problem = lost(archive, sealing_request("2"), seal)
    assert (problem.code, "lacks the last checkpoint of" in problem.detail) == ("log_behind", True)


def test_two_processes_at_once_seal_each_bill_once(own_archive, seal, sealing_request):
    def one(start):
        with own_archive.app.app_context():
            return [
                seal(own_archive, *(sealing_request(str(at), rows=[]) for at in range(start, start + 4))) for _ in "ab"
            ]

    with ThreadPoolExecutor(4) as pool:
        found = [outcome for batches in pool.map(one, [0, 2, 4, 0]) for batch in batches for outcome in batch]
    assert sum(outcome.fresh for outcome in found) == 8
    assert counts()[:4] == [8, 0, 8, 8]


def test_a_lost_checkpoint_file_stops_sealing(archive, outside, seal, sealing_request):
    seal(archive, sealing_request())
    outside.checkpoint_file.unlink()
    problem = lost(archive, sealing_request("2"), seal)
    assert (problem.code, "is missing; restore it" in problem.detail) == ("log_behind", True)
