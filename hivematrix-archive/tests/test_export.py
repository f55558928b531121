"""The auditor's pack: written by the archive, whole or not at all, and checked by a stranger with files and a key."""

import shutil
import subprocess
import sys
from contextlib import closing

import pytest
from hivematrix_archive.cli import main
from hivematrix_archive.domain import pack
from hivematrix_archive.domain.pack import Manifest, Packed
from hivematrix_archive.services import engine, erasure, export, keys, log, session
from hivematrix_archive.services.signed_sizes import BadError
from hivematrix_common.domain.checkpoint import Checkpoint
from hivematrix_common.domain.note import Note
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import Problem
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

ORIGIN = "archive.example.com/log"


@pytest.fixture
def archive(audited):
    return audited


@pytest.fixture
def outside(audited):
    return audited.app.extensions["hivematrix_outside"]


def test_a_stranger_with_the_folder_and_the_key_gets_the_answer(exported, outside, tmp_path):
    folder, key = exported(), tmp_path / "known-key"
    shutil.copy(outside.vkey_file, key)
    command = [sys.executable, "verify_offline.py", "--pack", ".", "--key", str(key)]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, cwd=folder)
    assert (ran.returncode, ran.stderr) == (0, "")
    assert ran.stdout == "good: 3 bills of 2025-10; the log's checkpoints up to size 6 agree\n"


def test_a_pack_holds_the_exact_documents_the_service_gives(exported, archive):
    folder = exported()
    for invoice in ("1-202510", "2-202510", "3-202510"):
        for name, path in (("body", pack.BODY), ("csv", pack.CSV), ("proof", pack.PROOF)):
            assert (folder / path.format(invoice)).read_bytes() == archive.get(f"/api/snapshot/{invoice}/{name}").data
    assert (folder / "key").read_text() == archive.get("/log/key").text
    assert (folder / "checkpoints").read_text().endswith(archive.get("/log/checkpoint").text + "\n")
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_pack_has_a_page_that_says_how(exported):
    page = (exported() / "README.html").read_text()
    for said in ("--pack . --key", "--known", "2-202510", "Bär &amp; Söhne", ORIGIN, "does not show"):
        assert said in page


def test_a_pack_is_written_whole_or_not_at_all(exported, archive, outside, tmp_path, monkeypatch):
    monkeypatch.setattr(Manifest, "signed", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        exported()
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["home"]
    folder = exported()
    with pytest.raises(Problem, match="is not empty"):
        exported()
    assert (folder / "manifest").exists()


def test_a_month_without_bills_is_told(outside, tmp_path):
    with pytest.raises(Problem, match="No bill of 2024-01"):
        export.export(engine(), outside, Period(2024, 1), tmp_path / "pack", "auditor")


def test_nothing_is_packed_that_is_not_what_was_sealed(exported, archive):
    with closing(archive.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("ALTER TABLE archive_data.bodies DISABLE TRIGGER never_changed")
        cursor.execute("ALTER TABLE billing_snapshots DISABLE TRIGGER never_changed")
        cursor.execute("UPDATE archive_data.bodies SET body = body || ' ' WHERE log_index = 2")
        with pytest.raises(BadError, match="entry 2: its body is not what was sealed"):
            exported()
        cursor.execute("DELETE FROM archive_data.bodies WHERE log_index = 2")
        with pytest.raises(BadError, match="entry 2: its body is not what was sealed"):
            exported()
        cursor.execute("DELETE FROM billing_snapshots WHERE id = 3")
        with pytest.raises(BadError, match="entry 2: its row of billing_snapshots is missing"):
            exported()


def test_a_pack_of_a_log_whose_key_was_rotated_needs_both_keys(exported, outside, verifier):
    keys.rotate(session(), outside, "root")
    folder = exported()
    known = verifier.read_keys(outside.vkey_file.read_text())
    assert verifier.Pack(folder, known).check().startswith("3 bills of 2025-10")
    with pytest.raises(verifier.RefusedError, match="the manifest is not signed by a key of the key file"):
        verifier.Pack(folder, known[:1]).check()
    with pytest.raises(verifier.RefusedError, match="entry 0: no key of the key file signed the checkpoint"):
        verifier.Pack(folder, known[1:]).check()


def test_a_key_that_another_followed_signs_no_pack_again(exported, outside, verifier):
    old = outside.signer()
    keys.rotate(session(), outside, "root")
    folder = exported()
    found = Checkpoint.parse(Note.parse(outside.kept()[0][-1]).text)
    with (folder / "checkpoints").open("a") as file:
        file.write(log.sign_checkpoint(old, found.size, found.root) + "\n")
    known = verifier.read_keys(outside.vkey_file.read_text())
    with pytest.raises(verifier.RefusedError, match="entry 6: the checkpoint of size 6 is signed with a key that was"):
        verifier.Pack(folder, known).check()


@pytest.fixture
def erased(audited, outside):
    """The second bill is erased, as the law demands."""
    owner = create_engine(audited.owner_url)
    with Session(owner) as database:
        erasure.erase(database, outside, "2-202510", "request 17", "root")
    owner.dispose()


def test_of_an_erased_bill_a_pack_holds_its_proof_and_the_erasure_instead_of_its_names(erased, exported, check_pack):
    folder = exported()
    assert check_pack(folder) == "good: 3 bills of 2025-10; the log's checkpoints up to size 7 agree"
    assert not (folder / pack.BODY.format("2-202510")).exists()
    assert not [path for path in folder.rglob("*") if path.is_file() and "Söhne" in path.read_text()]
    assert "erased, as the law demands" in (folder / "README.html").read_text()


def test_a_bill_is_not_called_erased_that_no_entry_says_so_of(erased, exported, check_pack, outside, resigned_pack):
    folder = exported()
    for kind in (pack.ERASURE, pack.ERASURE_PROOF):
        (folder / kind.format("2-202510")).rename(folder / kind.format("1-202510"))
    for kind in (pack.BODY, pack.CSV):
        (folder / kind.format("1-202510")).unlink()
    bills = [Packed("1-202510", 1, "", erased=True), Packed("3-202510", 4, "")]
    resigned_pack(folder, outside, bills)
    assert check_pack(folder) == "bad: entry 1: 1-202510: the erasure is not one of entry 1 in this log"


@pytest.fixture
def run(archive, capsys):
    """run(*arguments) -> (exit code, stdout, stderr)"""

    def go(*arguments):
        session().rollback()
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        return (ended.value.code, *capsys.readouterr())

    return go


def test_the_command_writes_a_pack_and_the_audit_says_so(run, tmp_path):
    code, out, _ = run("export", "--period", "2025-10", "--out", str(tmp_path / "pack"))
    assert (code, out) == (0, f"{tmp_path / 'pack'}: 3 bills of 2025-10, in the log of 6 entries\n")
    row = session().execute(text("SELECT action, target, details FROM audit.entries ORDER BY id DESC LIMIT 1")).one()
    assert (row.action, row.target, row.details["bills"]) == ("export", "2025-10", 3)
    assert run("export", "--period", "2025-10", "--out", str(tmp_path / "pack"))[0] == 1
    assert run("export", "--period", "October", "--out", str(tmp_path / "other"))[0] == 2


def test_a_pack_of_a_changed_archive_is_refused_in_one_line(run, archive, tmp_path):
    with closing(archive.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("ALTER TABLE archive_data.bodies DISABLE TRIGGER never_changed")
        cursor.execute("UPDATE archive_data.bodies SET body = '' WHERE log_index = 4")
    code, _, err = run("export", "--period", "2025-10", "--out", str(tmp_path / "pack"))
    assert (code, err.startswith("bad: entry 4: "), "run: hivematrix-archive verify" in err) == (1, True, True)
    assert not (tmp_path / "pack").exists()


def test_the_verifier_takes_a_bill_or_a_pack(verifier, exported, outside, tmp_path, capsys):
    folder, key = exported(), str(outside.vkey_file)
    (tmp_path / "known").write_text(outside.kept()[0][-1])
    assert verifier.main(["--pack", str(folder), "--key", key, "--known", str(tmp_path / "known")]) == 0
    assert capsys.readouterr().out.startswith("good: 3 bills")
    for wrong in (["--key", key], ["a", "b", "--pack", "c", "--key", key], ["a", "b", "--key", key, "--known", "d"]):
        with pytest.raises(SystemExit, match="2"):
            verifier.main(wrong)
