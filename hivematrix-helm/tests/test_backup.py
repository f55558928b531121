"""Backups of four real databases: what a set holds, its proof by restoring it, and that no fault goes unseen."""

import os
import random
import resource
import shutil
import signal
import stat
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest
from hivematrix_common.conffile import set_section
from hivematrix_helm.domain.backup import ORDER, State
from hivematrix_helm.services import backup, proving
from hivematrix_helm.services.proving import Opener
from hivematrix_helm.system import kept_files, sets, streams
from hivematrix_helm.system.dumps import DumpError
from hivematrix_helm.system.streams import StreamError

sys.path.insert(0, str(Path(__file__).resolve().parent))

import backed_up

BACKUPS = int(os.environ.get("PROOF_BACKUPS", "2"))
FLIPS, TRUNCATIONS = int(os.environ.get("PROOF_FLIPS", "12")), int(os.environ.get("PROOF_TRUNCATIONS", "4"))
KILLS = int(os.environ.get("PROOF_KILLS", "2"))
CENT = "UPDATE line_items SET fee = fee + 0.01 WHERE uid = 'fw-7'"


@pytest.fixture(scope="module")
def kept(postgres, tmp_path_factory):
    """A home with one sealed set, `kept.name`, that nobody changes."""
    home = backed_up.make(postgres, tmp_path_factory.mktemp("kept"))
    home.name = home.run()[0].name
    yield home
    for database in home.databases.values():
        postgres.drop(database)


@pytest.fixture
def copied(kept, tmp_path):
    """That home and set once more, to be spoilt; the databases are the same."""
    shutil.copytree(kept.home, tmp_path / "home")
    return replace(kept, home=tmp_path / "home")


def test_a_set_is_whole_private_and_verified(kept):
    manifest, record = kept.place.manifest(kept.name), kept.place.record(kept.name)
    folder = kept.place.path(kept.name)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} | {stat.S_IMODE(folder.stat().st_mode)}
    assert [dump.service for dump in manifest.dumps] == list(ORDER)
    assert (record.state, kept.leftovers()) == (State.VERIFIED, [])
    assert modes == {0o600, 0o700}
    assert manifest.dump_of("codex").tables["public.companies"].rows == backed_up.COMPANIES
    assert manifest.dump_of("archive").tree.size == 0


def test_a_sealed_set_shows_no_name_address_password_or_key(kept):
    everything = b"".join(path.read_bytes() for path in kept.place.path(kept.name).iterdir())
    secret = (kept.home / "log" / "key").read_bytes().splitlines()[1]
    assert secret in b"".join(kept_files.read(kept.home).secret.values())
    for word in (b"Harbor", b"@harbor.example", b"test-only", b"archive.example.com/log", secret):
        assert word not in everything


def test_without_a_recipient_a_set_holds_no_secrets(postgres, tmp_path):
    home = backed_up.make(postgres, tmp_path / "home", sealed=False)
    manifest, _ = home.run()
    log = kept_files.unpack(home.place.path(manifest.name) / manifest.log_file, None)
    assert (manifest.encrypted, manifest.secrets_file) == (False, None)
    assert set(log) == {"log/checkpoints", "log/vkey"}
    assert proving.verify(home.place, manifest.name, Opener(None)).state is State.VERIFIED


def test_a_drill_restores_everything_in_a_server_of_its_own_and_says_how_long_it_took(copied):
    record = proving.drill(copied.settings, copied.name, copied.opener)
    assert (record.fault, record.state) == ("", State.PROVED)
    assert record.pace.seconds > 0
    assert list((copied.home / "run").glob("drill-*")) == []
    assert copied.run()[0].pace == record.pace


def test_a_drill_without_room_says_nothing_of_the_set_and_clears_what_a_killed_one_left(copied, monkeypatch):
    left = copied.home / "run" / "drill-killed"
    (left / "postgres").mkdir(parents=True)
    with proving.scratch(copied.home):
        assert not left.exists()
    monkeypatch.setattr(proving, "ROOM", 10**12)
    with pytest.raises(DumpError, match="bytes are free, and the drill may need"):
        proving.drill(copied.settings, copied.name, copied.opener)
    assert copied.place.record(copied.name).state is State.VERIFIED


def test_a_drill_of_a_sealed_set_needs_its_key_and_another_key_does_not_make_the_set_bad(copied):
    with pytest.raises(DumpError, match="needs the secret key"):
        proving.drill(copied.settings, copied.name, Opener(None))
    stranger = Opener(streams.identity(streams.new_identity()[0]))
    with pytest.raises(StreamError, match="No matching keys"):
        proving.drill(copied.settings, copied.name, stranger)
    assert copied.place.record(copied.name).state is State.VERIFIED


def test_backups_under_concurrent_writes_restore_to_what_their_manifests_say(copied):
    stop, written = threading.Event(), []
    writers = [threading.Thread(target=write_until, args=(stop, copied, each, written)) for each in ("codex", "ledger")]
    for writer in writers:
        writer.start()
    try:
        names = [copied.run()[0].name for _ in range(BACKUPS)]
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert written, "nobody wrote meanwhile"
    for name in names:
        assert restored(copied, name) == [[], ["ledger: public.line_items: its rows are not those that were dumped"]]


def test_one_changed_cent_in_a_restored_row_is_found(kept):
    held = kept.at_hand(kept.name)
    dump = held.manifest.dump_of("ledger")
    url = kept.server.make("ledger", "ledger_with_a_cent")
    try:
        assert proving.restored_faults(url, dump, held) == []
        backed_up.execute(url, CENT)
        assert proving.content_faults(url, dump) == [
            "ledger: public.line_items: its rows are not those that were dumped",
            "ledger: public.rule_changes: 41 rows, 40 were dumped",
        ]
    finally:
        kept.postgres.drop("ledger_with_a_cent")


def test_flipped_bytes_are_found_wherever_they_are(copied):
    chance = random.Random(5)
    for _ in range(FLIPS):
        path = chance.choice(sorted(copied.place.path(copied.name).iterdir()))
        good = path.read_bytes()
        at = chance.randrange(len(good))
        path.write_bytes(good[:at] + bytes([good[at] ^ 1 << chance.randrange(8)]) + good[at + 1 :])
        assert proving.verify(copied.place, copied.name, Opener(None)).state is State.BAD, (path.name, at)
        path.write_bytes(good)
    assert proving.verify(copied.place, copied.name, copied.opener).state is State.VERIFIED


def test_truncated_files_are_found(copied):
    chance = random.Random(6)
    for _ in range(TRUNCATIONS):
        path = chance.choice(sorted(copied.place.path(copied.name).iterdir()))
        good = path.read_bytes()
        path.write_bytes(good[: chance.randrange(len(good))])
        assert proving.verify(copied.place, copied.name, Opener(None)).state is State.BAD, path.name
        path.write_bytes(good)


def test_a_missing_file_an_extra_one_and_a_whole_set_gone_are_found(copied):
    folder = copied.place.path(copied.name)
    dump = next(folder.glob("ledger_*"))
    found = proving.verify
    (folder / "notes.txt").write_text("mine")
    assert found(copied.place, copied.name, Opener(None)).fault == "notes.txt: not of this set"
    (folder / "notes.txt").unlink()
    dump.rename(folder.parent / dump.name)
    assert found(copied.place, copied.name, Opener(None)).fault == f"{dump.name}: missing"
    shutil.rmtree(folder)
    assert found(copied.place, copied.name, Opener(None)).fault == "the whole set is gone"
    assert [(row["name"], row["state"]) for row in backup.listed(copied.place)] == [(copied.name, "gone")]


def test_another_set_in_the_place_of_one_that_was_proved_is_found(copied):
    """Its files fit its manifest; the record outside knows another one."""
    folder = copied.place.path(copied.name)
    manifest = copied.place.manifest(copied.name)
    (folder / "manifest.json").unlink()
    (folder / "manifest.json.sha256").unlink()
    record = copied.place.record(copied.name)
    forged = copied.place.folder / "forged"
    folder.rename(forged)
    copied.place.finish(forged, replace(manifest, encrypted=False))
    copied.place.keep(record)
    assert "not the one that was written" in proving.verify(copied.place, copied.name, Opener(None)).fault


@pytest.fixture
def nothing_lost(copied):
    """A home with a good set; afterwards it is still there, and nothing else."""
    yield copied
    assert copied.place.names() == [copied.name]
    assert copied.leftovers() == []
    assert proving.verify(copied.place, copied.name, copied.opener).state is State.VERIFIED


def test_a_database_that_is_missing_leaves_nothing_and_deletes_nothing(nothing_lost):
    conf = nothing_lost.home / "instance" / "archive-owner.conf"
    set_section(conf, "database", {"url": nothing_lost.postgres.url("archive_owner", "archive_nowhere")})
    done = nothing_lost.command("backup", "run")
    assert (done.returncode, "archive_nowhere" in done.stderr) == (1, True), done.stderr


@pytest.mark.parametrize("who", ["pg_dump", ""])
def test_a_backend_killed_in_mid_dump_leaves_nothing_and_deletes_nothing(nothing_lost, who):
    """Both connections wait for a table that somebody holds: that of pg_dump, and the one that reckons the digests."""
    url = nothing_lost.url("codex").replace("+psycopg2", "")
    with closing(psycopg2.connect(url)) as holder, holder.cursor() as cursor:
        cursor.execute("LOCK TABLE companies")
        run = in_background(nothing_lost.run)
        terminate(nothing_lost.postgres, nothing_lost.databases["codex"], who)
        holder.rollback()
        with pytest.raises(DumpError, match=f"{nothing_lost.databases['codex']}: "):
            run()


def test_a_dump_tool_that_is_missing_or_older_than_its_server_is_refused(nothing_lost, tmp_path):
    environ = os.environ | {"HIVEMATRIX_PG_BIN": str(tmp_path)}
    done = nothing_lost.command("backup", "run", env=environ)
    assert (done.returncode, f"no PostgreSQL program at {tmp_path}/pg_dump" in done.stderr) == (1, True), done.stderr
    (tmp_path / "pg_dump").write_text("#!/bin/sh\necho 'pg_dump (PostgreSQL) 14.9'\n")
    (tmp_path / "pg_dump").chmod(0o755)
    done = nothing_lost.command("backup", "run", env=environ)
    assert (done.returncode, "14.9 is older than its server" in done.stderr) == (1, True), done.stderr


def test_a_full_disk_leaves_nothing_and_deletes_nothing(nothing_lost, monkeypatch):
    done = nothing_lost.command(
        "backup", "run", preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (6000, 6000))
    )
    assert (done.returncode, "File too large" in done.stderr) == (1, True), done.stderr
    monkeypatch.setattr(sets.Sets, "free", lambda _self: 1000)
    with pytest.raises(DumpError, match="1000 bytes are free, and the set may need"):
        nothing_lost.run()


def test_a_failing_fsync_leaves_nothing_and_deletes_nothing(nothing_lost, monkeypatch):
    sync = os.fsync

    def fail(handle):
        if ".partial-" in str(Path(f"/proc/self/fd/{handle}").readlink()):
            raise OSError(5, "Input/output error")
        sync(handle)

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(StreamError, match="Input/output error"):
        nothing_lost.run()


def test_keys_that_are_none_are_configuration_faults(nothing_lost, tmp_path):
    set_section(nothing_lost.home / "instance" / "helm.conf", "backup", {"recipients": "age1nobody"})
    done = nothing_lost.command("backup", "run")
    assert (done.returncode, "[backup] recipients: expected an age key" in done.stderr) == (78, True), done.stderr
    (tmp_path / "key").write_text("AGE-SECRET-KEY-1NONE")
    (tmp_path / "key").chmod(0o600)
    done = nothing_lost.command("backup", "drill", "--identity", str(tmp_path / "key"))
    assert (done.returncode, "NONE" in done.stderr) == (78, False), done.stderr


def test_a_folder_that_others_may_look_into_is_refused(nothing_lost):
    nothing_lost.place.folder.chmod(0o755)
    done = nothing_lost.command("backup", "run")
    nothing_lost.place.folder.chmod(0o700)
    assert (done.returncode, "chmod 700" in done.stderr) == (78, True), done.stderr


def test_a_second_run_at_the_same_time_exits_75(nothing_lost):
    with sets.locked(nothing_lost.home):
        done = nothing_lost.command("backup", "run")
    assert (done.returncode, "another backup" in done.stderr) == (75, True), done.stderr


STAGES = ("dumping", "dumped.ledger", "dumped.codex", "dumped.archive", "dumped.helm", "written", "noted")


@pytest.mark.slow
def test_a_run_killed_at_any_stage_leaves_no_set_and_the_next_one_clears_what_it_left_and_says_so(copied, tmp_path):
    """Each run finds what the one before it left. No password stays behind in the folder for temporary files."""
    (tmp_path / "temporary").mkdir()
    environ = os.environ | {"TMPDIR": str(tmp_path / "temporary")}
    left = []
    for stage in STAGES:
        done = copied.command("backup", "run", env=environ | {"HIVEMATRIX_FAILPOINT": f"backup.{stage}=kill"})
        assert (done.returncode, copied.place.names()) == (-signal.SIGKILL, [copied.name]), stage
        assert all(f"{name}: left by a run that was killed; removed" in done.stderr for name in left)
        left = copied.leftovers()
        assert [name.startswith(".partial-") for name in left] == [True]
    done = copied.command("backup", "run", env=environ)
    assert (done.returncode, left[0] in done.stderr) == (0, True), done.stderr
    assert (len(copied.place.names()), copied.leftovers()) == (2, [])
    # What was noted of a set that never got its name is forgotten: nobody misses it.
    assert [record.name for record in copied.place.records()] == copied.place.names()
    assert list((tmp_path / "temporary").iterdir()) == []


def test_a_run_killed_after_its_set_was_named_leaves_a_good_set(copied):
    done = copied.command("backup", "run", env=os.environ | {"HIVEMATRIX_FAILPOINT": "backup.named=kill"})
    name = copied.place.names()[1]
    assert (done.returncode, copied.place.record(name).state) == (-signal.SIGKILL, State.UNVERIFIED)
    assert proving.verify(copied.place, name, copied.opener).state is State.VERIFIED


@pytest.mark.slow
def test_a_run_killed_at_any_moment_leaves_whole_sets_only(copied):
    """A moment is drawn from the time that a run which nobody kills takes."""
    chance = random.Random(7)
    began = time.monotonic()
    assert copied.command("backup", "run").returncode == 0
    whole = time.monotonic() - began
    for _ in range(KILLS):
        copied.command("backup", "run", killed_after=chance.uniform(0, whole))
        for name in copied.place.names():
            assert proving.verify(copied.place, name, copied.opener).state is State.VERIFIED, name
    copied.run()
    assert copied.leftovers() == []
    assert [record.name for record in copied.place.records()] == copied.place.names()


def write_until(stop, home, service, written):
    """What people do meanwhile: rows come, change and go."""
    statements = {
        "codex": "UPDATE companies SET email = md5(random()::text) WHERE account_number = '620001'",
        "ledger": "UPDATE line_items SET fee = fee + 0.01 WHERE uid = 'fw-1'",
    }
    while not stop.is_set():
        home.execute(service, statements[service])
        written.append(service)
        stop.wait(0.01)


def restored(home, name) -> list[list[str]]:
    """A set restored beside the others, all of it compared; and compared once more after a cent was changed in it."""
    held, suffix = home.at_hand(name), f"_{name[-6:]}"
    ledger = held.manifest.dump_of("ledger")
    try:
        faults = proving.prove_all(home.server, held, suffix)
        url = home.postgres.url("ledger_owner", ledger.database + suffix)
        backed_up.execute(url, f"ALTER TABLE line_items DISABLE TRIGGER USER; {CENT}")
        return [faults, proving.content_faults(url, ledger)]
    finally:
        for dump in held.manifest.dumps:
            home.postgres.drop(dump.database + suffix)


def in_background(act):
    """Begin; the call of what is returned waits for the end, and raises what was raised."""
    ended = []

    def run():
        try:
            ended.append(act())
        except DumpError as error:
            ended.append(error)

    thread = threading.Thread(target=run)
    thread.start()

    def finish():
        thread.join()
        if isinstance(ended[0], DumpError):
            raise ended[0]
        return ended[0]

    return finish


def terminate(postgres, database, application) -> None:
    """End the waiting connections of a program to a database, once there is one."""
    query = """SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = %s AND application_name = %s AND wait_event_type = 'Lock'"""
    with closing(postgres.admin()) as admin, admin.cursor() as cursor:
        while not cursor.rowcount > 0:
            time.sleep(0.02)
            cursor.execute(query, [database, application])
