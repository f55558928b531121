"""What a set is put in the place of: one database, or everything on an empty machine."""

import re
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import psycopg2
import pytest
from hivematrix_common import migrations
from hivematrix_common.conffile import set_section
from hivematrix_common.config import ConfigError
from hivematrix_common.postgres import Cluster, free_port
from hivematrix_helm.services import proving, restoring
from hivematrix_helm.system import dumps, processes
from hivematrix_helm.system.contents import frozen
from hivematrix_helm.system.dumps import DumpError
from hivematrix_helm.system.instance import initialized

sys.path.insert(0, str(Path(__file__).resolve().parent))

import backed_up


@pytest.fixture(scope="module")
def home(postgres, tmp_path_factory):
    """A home with one sealed set, `home.name`."""
    made = backed_up.make(postgres, tmp_path_factory.mktemp("restored"))
    made.name = made.run()[0].name
    return made


@pytest.fixture
def restore(home):
    """`restore("ledger")`: that service's database put back."""

    def put_back(service, into=home):
        admin = home.postgres.cluster.admin_url
        return restoring.restore(into.settings, service, home.name, home.opener, admin_url=admin, tell=print)

    return put_back


@pytest.fixture
def mine(home, tmp_path):
    """That home once more, whose files may change; the databases are the same."""
    shutil.copytree(home.home, tmp_path / "mine")
    return replace(home, home=tmp_path / "mine")


def fees(home, database):
    with frozen(home.postgres.url("ledger_owner", database)) as view:
        return view.rows("SELECT fee FROM public.line_items WHERE uid = 'fw-7'")[0][0]


def names(home, like):
    with closing(home.postgres.admin()) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE %s ORDER BY 1", [like])
        return [name for (name,) in cursor]


def test_a_database_is_put_back_under_its_name_and_what_was_there_stays(home, restore):
    database = home.databases["ledger"]
    home.execute("ledger", "UPDATE line_items SET fee = 99 WHERE uid = 'fw-7'")
    done = restore("ledger")
    assert (str(fees(home, database)), str(fees(home, done.before))) == ("7.2500", "99.0000")
    assert names(home, f"{database}%") == [database, done.before]
    with closing(psycopg2.connect(home.postgres.url("ledger_user", database).replace("+psycopg2", ""))) as connection:
        connection.cursor().execute("SELECT FROM line_items")  # the service's role has its rights again


def test_a_service_that_runs_is_refused(home, restore):
    database = home.databases["ledger"]
    url = home.postgres.url("ledger_user", database).replace("+psycopg2", "")
    before = names(home, f"{database}%")
    with closing(psycopg2.connect(url)), pytest.raises(DumpError, match="in use by 1 connections; stop ledger first"):
        restore("ledger")
    assert names(home, f"{database}%") == before


def test_a_service_that_starts_meanwhile_keeps_its_database(home, restore, monkeypatch):
    database = home.databases["ledger"]
    before = names(home, f"{database}%")
    monkeypatch.setattr(restoring, "_refuse_running", lambda *_: None)
    url = home.postgres.url("ledger_user", database).replace("+psycopg2", "")
    with closing(psycopg2.connect(url)), pytest.raises(DumpError, match="not swapped, and nothing changed"):
        restore("ledger")
    assert names(home, f"{database}%") == before


def test_what_comes_out_other_than_it_went_in_takes_no_name(home, restore, monkeypatch):
    before = names(home, f"{home.databases['ledger']}%")
    contents = proving.content_faults

    def spoilt(url, dump):
        backed_up.execute(url, "UPDATE line_items SET fee = fee + 0.01 WHERE uid = 'fw-7'")
        return contents(url, dump)

    monkeypatch.setattr(proving, "content_faults", spoilt)
    with pytest.raises(DumpError, match="line_items: its rows are not those"):
        restore("ledger")
    assert names(home, f"{home.databases['ledger']}%") == before


def test_another_name_typed_does_nothing(home):
    done = home.command("backup", "restore", "ledger", home.name, "--database", "archive_db")
    assert (done.returncode, "nothing was done" in done.stderr) == (2, True), done.stderr
    done = home.command("backup", "restore", "ledger", "hivematrix_19990101_000000", "--database", "x", input="")
    assert done.returncode == 2


RENAMES = ("proved", "renaming", "between", "renamed", "committed")


@pytest.mark.slow
def test_a_restore_killed_at_any_of_its_renames_leaves_the_old_database_or_the_new_one(home, tmp_path):
    """Each of these runs finds what the one before it left, and says so."""
    database, cents = home.databases["ledger"], "UPDATE line_items SET fee = 99 WHERE uid = 'fw-7'"
    home.execute("ledger", cents)
    before, made = names(home, f"{database}%"), []
    for place in RENAMES:
        done = killed_restore(home, tmp_path, place)
        assert done.returncode == -signal.SIGKILL, done.stderr
        assert [f"{name}: left by a restore that was killed; removed" in done.stderr for name in made] == [True] * len(
            made
        )
        made = [name for name in names(home, f"{database}%") if "_restored_" in name]
        assert str(fees(home, database)) == ("7.2500" if place == "committed" else "99.0000"), place
        assert len(made) == (place != "committed")
    done = killed_restore(home, tmp_path, "nowhere")
    assert done.returncode == 0, done.stderr
    kept = set(names(home, f"{database}%")) - set(before)
    assert [str(fees(home, name)) for name in sorted(kept)] == ["99.0000", "7.2500"]
    assert all("_before_" in name for name in kept)


def killed_restore(home, folder, place):
    """Ledger's, killed at that place."""
    key = folder / "key"
    key.write_text(home.identity)
    key.chmod(0o600)
    admin = ("--admin-url", home.postgres.cluster.admin_url, "--identity", str(key))
    arguments = ("backup", "restore", "ledger", home.name, "--database", home.databases["ledger"], *admin)
    environ = processes.environment(home.home) | {"HIVEMATRIX_FAILPOINT": f"restore.{place}=kill"}
    return home.command(*arguments, env=environ)


def test_an_archive_restored_behind_its_checkpoints_is_told_so_and_does_not_verify(mine, restore):
    assert restore("archive", mine).lost == ""
    sign_anew = [*processes.command("archive", "init"), "--origin", "billing.example.com/archive/log"]
    subprocess.run(sign_anew, env=processes.environment(mine.home), check=True, capture_output=True)
    assert "hivematrix-archive adopt" in restore("archive", mine).lost
    verify = processes.command("archive", "verify")
    done = subprocess.run(verify, env=processes.environment(mine.home), check=False, capture_output=True, text=True)
    assert (done.returncode, "the database lacks checkpoint" in done.stderr) == (1, True), done.stderr


@pytest.fixture
def empty_machine(home, tmp_path):
    """`empty_machine(folder)`: everything made anew, on a server where there is nothing."""
    told = []

    def recover(folder, opener=home.opener):
        with proving.scratch(tmp_path / "server") as server:
            done = restoring.recover(tmp_path / "anew", folder, opener, server.admin_url, told.append)
            return done, told, contents(server.admin_url, home)

    (tmp_path / "server").mkdir()
    return recover


def contents(admin_url, home):
    found = {}
    for service, database in home.databases.items():
        with frozen(re.sub(r"/postgres$", f"/{database}", admin_url)) as view:
            found[service] = without_notes(view.tables())
    return found


def without_notes(tables):
    """Archive writes down that it was verified, which it was."""
    return {name: held for name, held in tables.items() if name != "archive_log.verifications"}


def test_everything_is_recovered_on_an_empty_machine_from_sets_and_key(home, empty_machine, tmp_path):
    offsite = tmp_path / "offsite"
    shutil.copytree(home.place.folder, offsite)
    torn = shutil.copytree(offsite / home.name, offsite / "hivematrix_20990101_000000")
    next(torn.glob("helm_*")).write_bytes(b"torn")
    done, told, found = empty_machine(offsite)
    manifest = home.place.manifest(home.name)
    assert (done.name, done.seconds > 0) == (home.name, True)
    assert found == {dump.service: without_notes(dump.tables) for dump in manifest.dumps}
    assert told[0].startswith("hivematrix_20990101_000000: passed over")
    assert "by no drill, at the slowest" in told[1]
    assert "put a checkpoint" in done.lost
    anew = tmp_path / "anew"
    for name in ("instance/helm.conf", "instance/archive-owner.conf", "log/key", "log/vkey"):
        assert (anew / name).read_bytes() == (home.home / name).read_bytes()
        assert (anew / name).stat().st_mode & 0o077 == 0
    assert initialized(anew)
    with pytest.raises(ConfigError, match="set up here"):
        empty_machine(offsite)


@pytest.mark.slow
def test_checkpoints_that_a_witness_kept_are_laid_out_so_that_none_is_signed_twice(mine, empty_machine, tmp_path):
    witness = tmp_path / "witness"
    witness.mkdir()
    set_section(mine.home / "instance" / "helm.conf", "witness", {"directory": str(witness)})
    manifest, _ = mine.run()
    kept = (mine.home / "log" / "checkpoints").read_text()
    later = kept.split("\n\n")[0].replace("\n0\n", "\n7\n") + "\n\n" + kept.split("\n\n")[1] + "\n\n"
    (witness / "checkpoints").write_text(kept + later)
    done, _, _ = empty_machine(mine.place.path(manifest.name))
    assert "1 more, the newest of 7 entries" in done.lost
    assert (tmp_path / "anew" / "log" / "checkpoints").read_text() == kept + later


@pytest.mark.slow
def test_a_recovery_cut_short_looks_not_complete_and_is_repeated(home, empty_machine, monkeypatch, tmp_path):
    swap = restoring._swap
    monkeypatch.setattr(restoring, "_swap", lambda *_: (_ for _ in ()).throw(DumpError("power cut")))
    with pytest.raises(DumpError, match="power cut"):
        empty_machine(home.place.folder)
    assert not initialized(tmp_path / "anew")
    monkeypatch.setattr(restoring, "_swap", swap)
    assert empty_machine(home.place.folder)[0].name == home.name


@pytest.mark.slow
def test_a_server_older_than_the_embedded_programs_is_dumped_and_restored_by_its_own(tmp_path, monkeypatch):
    """Debian's 15 beside the embedded 18, whose pg_restore would send it a setting it does not know."""
    monkeypatch.setenv("HIVEMATRIX_PG_BIN", str(dumps.DEBIAN / "15" / "bin"))
    with Cluster(tmp_path / "pg", free_port(), fsync=False) as cluster:
        monkeypatch.delenv("HIVEMATRIX_PG_BIN")
        server = proving.Server(cluster.admin_url, tmp_path, lambda _service: ("owner", "user"))
        first, second = server.make("ledger", "ledger_db"), server.make("ledger", "ledger_again")
        migrations.upgrade(first, "hivematrix_ledger")
        with frozen(first) as view:
            version, tables = view.server, view.tables()
            dumps.dump(first, version, view.export(), tmp_path / "ledger.dump.zst", [])
        dumps.restore(tmp_path / "ledger.dump.zst", second, version, None)
        with frozen(second) as view:
            assert (version // 10_000, view.tables()) == (15, tables)
