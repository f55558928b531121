"""Sealing, the log and reading, on a real database."""

from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import orjson
import pytest
from hivematrix_archive.app import create_app
from hivematrix_archive.config import ArchiveSettings
from hivematrix_archive.domain import merkle
from hivematrix_archive.domain.checkpoint import Checkpoint, open_checkpoint
from hivematrix_archive.domain.note import Note, VerifierKey
from hivematrix_archive.domain.proof import Proof, check_proof
from hivematrix_archive.domain.seal import Leaf
from hivematrix_archive.domain.tiles import Tile, tile_path
from hivematrix_archive.services import log, reading, sealing, session
from hivematrix_archive.services.sealing import Sealer
from hivematrix_archive.store.outside import Outside, check_signature
from hivematrix_common import failpoints
from hivematrix_common.config import ConfigError
from hivematrix_common.domain.canonical import canonical, digest
from hivematrix_common.errors import Problem
from hivematrix_common.failpoints import FailpointError
from sqlalchemy import text

ORIGIN = "archive.example.com/log"


@pytest.fixture
def outside(archive):
    return archive.app.extensions["hivematrix_outside"]


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


@pytest.mark.parametrize("batches", [[100] * 6, [255, 1, 1], [256, 256], [1, 1, 600]])
def test_the_log_grows_in_batches_and_every_entry_proves_itself(archive, outside, seal, sealing_request, batches):
    number = 0
    for size in batches:
        seal(archive, *(sealing_request(str(number + at), rows=[]) for at in range(size)))
        number += size
    for index in {0, 1, 99, 100, 255, 256, number - 1} & set(range(number)):
        proof = Proof.parse(log.proof(session(), index))
        body = reading.body(session(), f"{index}-202510")
        first = next(sum(batches[: at + 1]) for at in range(len(batches)) if index < sum(batches[: at + 1]))
        assert check_proof(proof, body, outside.keys(), check_signature).size == first
        newest = Proof.parse(log.proof(session(), index, number))
        assert check_proof(newest, body, outside.keys(), check_signature).size == number


def test_a_proof_for_a_size_that_was_never_signed_is_refused(archive, seal, sealing_request):
    seal(archive, sealing_request("1"), sealing_request("2"))
    for index, size in ((0, 1), (0, 3), (1, 1), (0, 2**63)):
        with pytest.raises(Problem, match="No signed checkpoint"):
            log.proof(session(), index, size)
    with pytest.raises(Problem, match="No signed checkpoint"):
        log.proof(session(), 2)


def test_tiles_are_served_at_every_width_a_signed_size_needs(archive, seal, sealing_request):
    for size in (100, 200):
        seal(archive, *(sealing_request(f"{size}x{at}", rows=[]) for at in range(size)))
    leaves = [bytes(row.hash) for row in session().execute(text("SELECT hash FROM archive_log.entries ORDER BY index"))]
    assert log.tile(session(), "0/000") == b"".join(leaves[:256])
    assert log.tile(session(), "0/000.p/100") == b"".join(leaves[:100])
    assert log.tile(session(), "0/001.p/44") == b"".join(leaves[256:])
    assert log.tile(session(), "1/000.p/1") == merkle.subtree_root(leaves[:256])
    bundle = log.tile(session(), "entries/001.p/44")
    assert int.from_bytes(bundle[:2], "big") == len(Leaf.parse(bundle[2 : 2 + int.from_bytes(bundle[:2], "big")]).data)
    for missing in ("0/000.p/101", "0/001", "0/001.p/43", "1/000", "2/000.p/1", "63/x999/999", "0/000.p/256", "0/0"):
        with pytest.raises(Problem, match="No signed checkpoint"):
            log.tile(session(), missing)


def test_entries_hash_to_their_tile_and_tiles_to_the_signed_root(archive, outside, seal, sealing_request):
    seal(archive, *(sealing_request(str(at), rows=[]) for at in range(300)))
    signed = open_checkpoint(log.checkpoint(session()), outside.keys(), check_signature)
    left = merkle.subtree_root(split(log.tile(session(), "0/000")))
    edge = split(log.tile(session(), tile_path(Tile(0, 1, 44))))
    peaks = [merkle.subtree_root(edge[:32]), merkle.subtree_root(edge[32:40]), merkle.subtree_root(edge[40:])]
    assert signed.root == merkle.fold_peaks([left, *peaks])


def split(data):
    return [data[at : at + 32] for at in range(0, len(data), 32)]


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


def test_no_proof_is_given_that_does_not_hold(own_archive, seal, sealing_request):
    seal(own_archive, *(sealing_request(number) for number in "123"))
    with closing(own_archive.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("ALTER TABLE archive_log.entries DISABLE TRIGGER never_changed")
        cursor.execute("UPDATE archive_log.entries SET hash = sha256('x') WHERE index = 1")
    with pytest.raises(Problem, match="Entry 0 does not lead to the root signed at size 3"):
        log.proof(session(), 0)


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


def test_init_makes_the_key_once_and_names_the_log(archive, outside):
    key = log.begin(session(), outside)
    assert key.name == ORIGIN
    assert outside.key_file.stat().st_mode & 0o777 == 0o600
    assert outside.vkey_file.read_text() == f"{key}\n"
    signed = open_checkpoint(log.checkpoint(session()), [key], check_signature)
    assert (signed.size, signed.root) == (0, merkle.EMPTY_ROOT)
    assert len(outside.kept()[0]) == 1


def test_the_origin_may_change_until_the_first_bill_and_never_after(archive, outside, seal, sealing_request):
    log.begin(session(), outside, "billing.example.com/archive/log")
    signed = open_checkpoint(log.checkpoint(session()), outside.keys(), check_signature)
    assert signed.origin == "billing.example.com/archive/log"
    seal(archive, sealing_request())
    with pytest.raises(ConfigError, match="can no longer change: 1 entries"):
        log.begin(session(), outside, "other.example.com/log")
    assert log.begin(session(), outside).name == "billing.example.com/archive/log"


def test_an_origin_with_a_scheme_is_a_configuration_error(archive, outside):
    with pytest.raises(ConfigError, match="without a scheme"):
        log.begin(session(), outside, "https://archive.example.com/log")


def test_a_log_without_a_public_name_is_named_after_its_key(service, set_clock):
    set_clock("2025-12-01T02:00:07Z")
    outside = service(ArchiveSettings, create_app).app.extensions["hivematrix_outside"]
    key = log.begin(session(), outside)
    assert key.name == f"hivematrix.invalid/{key.public[:4].hex()}"


def test_a_lost_key_is_not_replaced_once_bills_are_sealed(archive, outside, seal, sealing_request):
    seal(archive, sealing_request())
    outside.key_file.unlink()
    with pytest.raises(ConfigError, match="missing, and 1 entries are signed with it"):
        log.begin(session(), Outside(archive.settings.home))


def test_a_lost_checkpoint_file_stops_sealing(archive, outside, seal, sealing_request):
    seal(archive, sealing_request())
    outside.checkpoint_file.unlink()
    problem = lost(archive, sealing_request("2"), seal)
    assert (problem.code, "is missing; restore it" in problem.detail) == ("log_behind", True)


def test_a_key_that_others_may_read_is_refused(archive, outside):
    outside.key_file.chmod(0o644)
    with pytest.raises(ConfigError, match="lets others read secrets"):
        Outside(archive.settings.home).signer()


def test_a_key_file_of_another_kind_is_refused(archive, outside):
    outside.key_file.write_text("not a key")
    with pytest.raises(ConfigError, match="not a private key"):
        Outside(archive.settings.home).signer()


def test_a_vkey_that_is_not_the_keys_is_refused(archive, outside):
    outside.write_keys([VerifierKey(ORIGIN, bytes(32))])
    with pytest.raises(ConfigError, match="its last key is not that of"):
        Outside(archive.settings.home).signer()
