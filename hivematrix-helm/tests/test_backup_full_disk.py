"""Disks that are really full: where sets are written, where they are drilled, where they are restored."""

import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hivematrix_common.conffile import set_section
from hivematrix_common.postgres import Cluster, ClusterError, free_port
from hivematrix_helm.domain.backup import State
from hivematrix_helm.services import proving
from hivematrix_helm.system.dumps import DumpError

sys.path.insert(0, str(Path(__file__).resolve().parent))

import backed_up

MB = 10**6
# Nothing that can be compressed: it takes about as much room in a set as in the database.
MUCH = """
    INSERT INTO operations (caller, service, action, trace_id)
    SELECT 'admin', 'archive', 'restart', md5(random()::text) FROM generate_series(1, {})"""


@pytest.fixture
def disk(tmp_path):
    """disk(bytes): a small one of its own, mounted."""
    mounted = []

    def mount(size):
        folder = tmp_path / f"disk{len(mounted)}"
        folder.mkdir()
        command = ["mount", "-t", "tmpfs", "-o", f"size={size},mode=700", "none", str(folder)]
        if subprocess.run(command, capture_output=True, check=False).returncode:
            pytest.skip("nothing may be mounted here")
        mounted.append(folder)
        return folder

    yield mount
    for folder in mounted:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


@pytest.fixture
def home(postgres, tmp_path):
    made = backed_up.make(postgres, tmp_path / "home")
    made.name = made.run()[0].name
    yield made
    for database in made.databases.values():
        postgres.drop(database)


def fill(folder, leaving):
    """Take all room but that."""
    with (folder / "filler").open("wb") as file:
        left = shutil.disk_usage(folder).free - leaving
        file.write(b"." * left)


def restored(home, cluster, key):
    """Helm's database put back on that server, by the command."""
    key.write_text(home.identity)
    key.chmod(0o600)
    database = home.databases["helm"]
    options = ("--database", database, "--admin-url", cluster.admin_url, "--identity", str(key))
    return home.command("backup", "restore", "helm", home.name, *options)


def databases(cluster):
    with proving.administrator(cluster.admin_url) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT datname FROM pg_database WHERE datname LIKE 'helm%'")
        return [name for (name,) in cursor]


def test_sets_on_a_full_disk(home, disk):
    """The last set says that there is room; then there is much more to write than that time."""
    place = disk("4m")
    shutil.copytree(home.place.folder, place, dirs_exist_ok=True)
    set_section(home.home / "instance" / "helm.conf", "backup", {"directory": str(place)})
    home.execute("helm", MUCH.format(200_000))
    done = home.command("backup", "run")
    assert done.returncode == 1
    assert f"{place}/.partial-" in done.stderr
    assert "No space left on device" in done.stderr
    assert "make room there: hivematrix-helm backup prune" in done.stderr
    assert (home.place.names(), home.leftovers()) == ([home.name], [])
    assert [record.name for record in home.place.records()] == [home.name]
    assert proving.verify(home.place, home.name, home.opener).state is State.VERIFIED
    fill(place, 10_000)
    done = home.command("backup", "run")
    assert (done.returncode, f"{place}: " in done.stderr, "bytes are free, and the set may need" in done.stderr) == (
        1,
        True,
        True,
    )


def test_what_is_known_of_sets_on_a_full_disk(home, disk):
    """The set itself has room elsewhere; nobody would miss it without its record, so it is not named."""
    known = disk("1m")
    shutil.copytree(home.place.records_folder, known, dirs_exist_ok=True)
    shutil.rmtree(home.place.records_folder)
    home.place.records_folder.symlink_to(known)
    fill(known, 0)
    done = home.command("backup", "run")
    assert (done.returncode, f"{home.home}/proofs: " in done.stderr) == (1, True), done.stderr
    assert "No space left on device" in done.stderr
    assert (home.place.names(), home.leftovers()) == ([home.name], [])


def test_a_drill_on_a_full_disk_says_nothing_against_the_set(home, disk, monkeypatch):
    """Whether it is seen in time, or fills up in the midst of it."""
    small = disk("100m")
    shutil.copytree(home.home, small / "home")
    mine = replace(home, home=small / "home")
    done = mine.command("backup", "drill", "--identity", str(key_of(home)))
    assert (done.returncode, f"{mine.home}: " in done.stderr) == (1, True), done.stderr
    assert "bytes are free, and the drill may need" in done.stderr
    fill(small, 70 * MB)  # room for a server, and not for four databases
    monkeypatch.setattr(proving, "_refuse_full_disk", lambda *_: None)
    with pytest.raises((DumpError, ClusterError)):
        proving.drill(mine.settings, home.name, home.opener)
    assert mine.place.record(home.name).state is State.VERIFIED
    assert list((mine.home / "run").glob("drill-*")) == []


def test_a_drill_whose_server_fell_over_for_want_of_room_says_nothing_against_the_set(home, monkeypatch):
    """A server that cannot write its log breaks off without a word of why."""
    monkeypatch.setattr(proving, "prove_all", lambda *_: ["ledger: server closed the connection unexpectedly"])
    monkeypatch.setattr(proving, "SERVER", 10**15)
    monkeypatch.setattr(proving, "_refuse_full_disk", lambda *_: None)
    with pytest.raises(DumpError, match="the disk ran full, which says nothing of"):
        proving.drill(home.settings, home.name, home.opener)
    assert home.place.record(home.name).state is State.VERIFIED


def key_of(home):
    path = home.home.parent / "key"
    path.write_text(home.identity)
    path.chmod(0o600)
    return path


@pytest.mark.slow
def test_a_restore_on_a_full_disk_changes_nothing(home, disk, tmp_path):
    home.execute("helm", MUCH.format(300_000))
    home.name = home.run()[0].name
    data = disk("400m")
    cluster = Cluster(data / "pg", free_port(), fsync=False)
    cluster.create()
    wal = shutil.move(cluster.data_dir / "pg_wal", tmp_path / "wal")  # a server without room for it would not live on
    (cluster.data_dir / "pg_wal").symlink_to(wal)
    with cluster:
        fill(data, 30 * MB)
        done = restored(home, cluster, tmp_path / "key")
        assert done.returncode == 1
        assert "the PostgreSQL server's disk is full" in done.stderr
        assert databases(cluster) == []
        fill(data, 2 * MB)
        done = restored(home, cluster, tmp_path / "key")
        assert (done.returncode, "not made: could not" in done.stderr) == (1, True), done.stderr
        assert databases(cluster) == []
        (data / "filler").unlink()
        done = restored(home, cluster, tmp_path / "key")
        assert (done.returncode, databases(cluster)) == (0, [home.databases["helm"]]), done.stderr


@pytest.mark.slow
def test_a_recovery_on_a_full_disk_names_the_file_and_sets_up_nothing(home, disk, tmp_path):
    anew = disk("1m")
    fill(anew, 4096)
    done = replace(home, home=anew).command("recover", str(home.place.folder), "--identity", str(key_of(home)))
    assert (done.returncode, f"{anew}/" in done.stderr, "No space left on device" in done.stderr) == (1, True, True)
    assert not (anew / "instance" / "helm.conf").exists()
