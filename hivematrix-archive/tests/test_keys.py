"""The key that signs the log is replaced: in its turn, or after a restore that lost sealed entries."""

import html
from contextlib import closing, contextmanager

import orjson
import pytest
from hivematrix_archive.cli import main
from hivematrix_archive.domain.adoption import next_origin
from hivematrix_archive.services import engine, keys, log, session, verify
from hivematrix_archive.store.outside import Outside
from hivematrix_common.conffile import set_section
from hivematrix_common.domain.checkpoint import Checkpoint, open_checkpoint
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.note import Note
from hivematrix_common.errors import Problem
from hivematrix_common.signatures import check_signature
from sqlalchemy import text

ORIGIN = "archive.example.com/log"
LATER = {
    "snapshot_line_items": "snapshot_id > 2",
    "archive_data.bodies": "log_index >= 2",
    "billing_snapshots": "id > 2",
    "archive_log.entries": "index >= 2",
    "archive_log.checkpoints": "size > 2",
}


@pytest.fixture
def archive(own_archive, seal, sealing_request):
    """Five bills, sealed in two batches."""
    seal(own_archive, *(sealing_request(number) for number in "12"))
    seal(own_archive, *(sealing_request(number) for number in "345"))
    return own_archive


@pytest.fixture
def outside(archive):
    return archive.app.extensions["hivematrix_outside"]


@pytest.fixture
def seal_one(archive, seal, sealing_request):
    """seal_one(account): one more bill."""
    return lambda account: seal(archive, sealing_request(account))


def good(outside):
    session().rollback()
    return verify.verify(engine(), outside, lambda *_: None)


def restore_old_dump(archive):
    """The database as it was after the first batch; the file outside of it stays."""
    session().rollback()
    with closing(archive.owner()) as owner, owner.cursor() as cursor:
        for table, where in LATER.items():
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER never_changed")
            cursor.execute(f"DELETE FROM {table} WHERE {where}")
            cursor.execute(f"ALTER TABLE {table} ENABLE TRIGGER never_changed")


@contextmanager
def crash_at(step):
    """The process ends where it would do `step` to the files outside the database."""

    def crash(*_arguments):
        raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Outside, step, crash)
        yield


def refused(archive, request):
    answer = archive.post("/api/snapshot", "peer_service", json=request)
    return answer.status_code, answer.json["code"]


def test_the_checkpoint_at_which_a_key_is_rotated_carries_both_signatures(archive, outside):
    old = outside.keys()[0]
    new = keys.rotate(session(), outside, "root")
    assert archive.get("/log/key").text == f"{old}\n{new}\n"
    both = archive.get("/log/checkpoint").text
    assert len(Note.parse(both).signatures) == 2
    for key in (old, new):
        assert open_checkpoint(both, [key], check_signature).size == 5


def test_after_a_rotation_the_new_key_alone_signs_and_all_that_is_older_stays_good(
    archive, outside, seal, sealing_request
):
    old_proof = archive.get("/api/snapshot/1-202510/proof").text
    new = keys.rotate(session(), outside, "root")
    [outcome] = seal(archive, sealing_request("6"))
    assert open_checkpoint(outcome.receipt.checkpoint, [new], check_signature).size == 6
    with pytest.raises(DomainError, match="not signed by a known key"):
        open_checkpoint(outcome.receipt.checkpoint, [outside.keys()[0]], check_signature)
    assert archive.get("/api/snapshot/1-202510/proof").text == old_proof
    assert (good(outside).checkpoints, len(outside.kept()[0])) == (5, 5)


def test_a_rotation_is_in_the_audit_and_the_old_private_key_is_gone(archive, outside):
    before = outside.key_file.read_bytes()
    keys.rotate(session(), outside, "root at the command line")
    row = session().execute(text("SELECT actor, action, details FROM audit.entries ORDER BY id DESC LIMIT 1")).one()
    assert (row.actor, row.action, row.details["size"]) == ("root at the command line", "rotate-key", 5)
    assert outside.key_file.read_bytes() != before
    assert outside.key_file.stat().st_mode & 0o777 == 0o600
    assert not outside.next_file.exists()


@pytest.mark.parametrize("step", ["keep", "exchange", "write_keys", "_exchanged"])
@pytest.mark.parametrize("goes_on", [True, False])
def test_a_rotation_that_a_crash_stopped_is_completed(archive, outside, seal_one, step, goes_on):
    outside.signer()
    with crash_at(step), pytest.raises(KeyboardInterrupt):
        keys.rotate(session(), outside, "root")
    session().rollback()
    if goes_on:
        seal_one("6")
    keys.rotate(session(), outside, "root")
    seal_one("7")
    assert good(outside).entries == 6 + goes_on


def test_a_request_that_waited_while_the_key_was_rotated_is_signed_with_the_new_one(
    archive, outside, seal, sealing_request, monkeypatch
):
    growing = outside.growing

    def rotated_meanwhile():
        monkeypatch.setattr(outside, "growing", growing)
        keys.rotate(session(), Outside(archive.settings.home), "root")
        return growing()

    monkeypatch.setattr(outside, "growing", rotated_meanwhile)
    [outcome] = seal(archive, sealing_request("6"))
    assert open_checkpoint(outcome.receipt.checkpoint, [outside.keys()[1]], check_signature).size == 6


def test_an_old_key_does_not_sign_again_once_another_followed(archive, outside, seal, sealing_request):
    old = outside.signer()
    keys.rotate(session(), outside, "root")
    seal(archive, sealing_request("6"))
    note = session().execute(text("SELECT note FROM archive_log.checkpoints WHERE size = 6")).scalar()
    found = Checkpoint.parse(Note.parse(note).text)
    stolen = log.sign_checkpoint(old, found.size, found.root)
    with closing(archive.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("ALTER TABLE archive_log.checkpoints DISABLE TRIGGER never_changed")
        cursor.execute("UPDATE archive_log.checkpoints SET note = %s WHERE size = 6", [stolen])
    with pytest.raises(verify.BadError, match="entry 5: checkpoint of size 6: signed with a key that was replaced"):
        good(outside)


def test_an_archive_restored_behind_its_file_seals_nothing_until_somebody_adopts_it(archive, outside, sealing_request):
    restore_old_dump(archive)
    assert refused(archive, sealing_request("6")) == (503, "log_behind")
    with pytest.raises(verify.BadError, match="lacks checkpoint 3 of the file, of size 5"):
        good(outside)
    keys.adopt(session(), outside, "the disk was lost", "root")
    assert archive.post("/api/snapshot", "peer_service", json=sealing_request("6")).status_code == 201
    assert good(outside).entries == 4


def test_the_page_of_the_log_says_that_it_was_restored_behind_its_file_and_under_which_keys_it_went_on(
    archive, outside
):
    archive.sign_in("auditor")

    def page():
        session().rollback()
        return archive.get("/log", None, headers={"Accept": "text/html"}).text

    assert "Sealing stopped" not in page()
    restore_old_dump(archive)
    shown = page()
    assert "The log holds 2 entries" in shown
    assert "Sealing stopped" in shown
    assert f"The database lacks checkpoint 3 of {outside.checkpoint_file}, of size 5." in shown
    key = keys.adopt(session(), outside, "the disk was lost", "root")
    shown = page()
    assert "Sealing stopped" not in shown
    assert str(key) in html.unescape(shown)
    outside.key_file.unlink()  # a process that only reads has no file to compare with
    outside.checkpoint_file.unlink()
    assert "Sealing stopped" not in page()


def test_an_adopted_log_has_another_name_and_key_and_says_what_was_lost(archive, outside):
    lost = log.checkpoint(session())
    restore_old_dump(archive)
    key = keys.adopt(session(), outside, "the disk was lost", "root")
    assert (key.name, archive.get("/log/key").text.splitlines()[1]) == (f"{ORIGIN}-2", str(key))
    signed = open_checkpoint(archive.get("/log/checkpoint").text, [key], check_signature)
    assert (signed.origin, signed.size) == (f"{ORIGIN}-2", 3)
    row = session().execute(text("SELECT * FROM archive_log.documents")).one()
    body = orjson.loads(row.body)
    assert (row.index, body["format"], body["reason"]) == (2, "hivematrix.adoption/1", "the disk was lost")
    assert body["last_lost_checkpoint"] == lost
    assert body["follows"]["size"] == 2
    [file] = outside.lost_folder.iterdir()
    assert file.read_text() == lost + "\n"


def test_old_proofs_stay_good_after_an_adoption(archive, outside):
    before = archive.get("/api/snapshot/1-202510/proof").text
    restore_old_dump(archive)
    keys.adopt(session(), outside, "the disk was lost", "root")
    assert archive.get("/api/snapshot/1-202510/proof").text == before
    known = outside.keys()
    assert open_checkpoint(before.partition("\n\n")[2], known, check_signature).origin == ORIGIN


@pytest.mark.parametrize("step", ["keep_lost", "exchange", "_exchanged", "rewrite"])
def test_an_adoption_that_a_crash_stopped_is_completed_by_the_next(archive, outside, step):
    outside.signer()
    restore_old_dump(archive)
    with crash_at(step), pytest.raises(KeyboardInterrupt):
        keys.adopt(session(), outside, "the disk was lost", "root")
    session().rollback()
    assert keys.adopt(session(), outside, "the disk was lost", "root").name == f"{ORIGIN}-2"
    assert (good(outside).entries, len(outside.keys())) == (3, 2)


def test_a_checkpoint_cut_short_is_given_up_too(archive, outside):
    whole = outside.checkpoint_file.read_text()
    restore_old_dump(archive)
    outside.checkpoint_file.write_text(whole[:-20])
    keys.adopt(session(), outside, "the disk was lost", "root")
    assert good(outside).kept == 3


def test_nothing_is_adopted_while_nothing_is_lost(archive, outside):
    with pytest.raises(Problem, match="nothing is lost"):
        keys.adopt(session(), outside, "by mistake", "root")
    assert outside.keys()[-1].name == ORIGIN


def test_a_checkpoint_that_somebody_took_out_is_no_restore(archive, outside):
    with closing(archive.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("ALTER TABLE archive_log.checkpoints DISABLE TRIGGER never_changed")
        cursor.execute("DELETE FROM archive_log.checkpoints WHERE size = 2")
    with pytest.raises(Problem, match="that is no restore"):
        keys.adopt(session(), outside, "by mistake", "root")


def test_the_documents_of_an_adoption_are_verified(archive, outside):
    restore_old_dump(archive)
    keys.adopt(session(), outside, "the disk was lost", "root")
    with closing(archive.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("ALTER TABLE archive_log.documents DISABLE TRIGGER never_changed")
        cursor.execute("UPDATE archive_log.documents SET body = body || ' '")
        with pytest.raises(verify.BadError, match="entry 2: body: sealed as"):
            good(outside)
        cursor.execute("DELETE FROM archive_log.documents")
        with pytest.raises(verify.BadError, match=r"entry 2: its document \(hivematrix.adoption/1\) is missing"):
            good(outside)
        cursor.execute("INSERT INTO archive_log.documents VALUES (77, '', '')")
        cursor.execute("INSERT INTO archive_log.documents VALUES (0, '', '')")
        with pytest.raises(verify.BadError, match="entry 2: its document"):
            good(outside)


@pytest.mark.parametrize(
    ("names", "following"),
    [
        (["a/log"], "a/log-2"),
        (["a/log", "a/log"], "a/log-2"),
        (["a/log", "a/log-2"], "a/log-3"),
        (["a/log-2025"], "a/log-2025-2"),
        (["a/log", "a/log-x"], "a/log-x-2"),
    ],
)
def test_each_adoption_has_a_name_of_its_own(names, following):
    assert next_origin(names) == following


@pytest.fixture
def run(archive, capsys):
    """run(*arguments) -> (exit code, stdout, stderr), with the owner's connection in its file."""
    set_section(archive.settings.home / "instance" / "archive-owner.conf", "database", {"url": archive.owner_url})

    def go(*arguments):
        session().rollback()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        return (ended.value.code, *capsys.readouterr())

    return go


def test_the_command_prints_the_new_key_alone_for_scripts(run, outside):
    code, out, err = run("rotate-key")
    assert (code, out) == (0, f"{outside.keys()[1]}\n")
    assert "hand it to everyone who keeps the log's key" in err


def test_the_owner_adopts_what_was_restored_and_nobody_without_a_reason(run, archive, outside):
    restore_old_dump(archive)
    assert run("adopt")[0] == 2
    code, out, _ = run("adopt", "--reason", "the disk was lost")
    assert (code, out) == (0, f"{outside.keys()[1]}\n")
    assert run("adopt", "--reason", "again")[::2] == (
        1,
        f"The database holds every checkpoint of {outside.checkpoint_file}: nothing is lost.\n",
    )
    assert run("verify")[0] == 0


def test_without_the_owners_connection_nothing_is_adopted(run, archive):
    restore_old_dump(archive)
    (archive.settings.home / "instance" / "archive-owner.conf").unlink()
    code, _, err = run("adopt", "--reason", "the disk was lost")
    assert (code, "archive-owner.conf" in err) == (78, True)
