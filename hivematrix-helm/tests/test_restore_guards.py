"""What a restore and a recovery refuse, and that nothing has changed then."""

import os
import shutil
import signal
import sys
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest
from hivematrix_common.conffile import set_section
from hivematrix_common.domain.errors import DomainError
from hivematrix_helm.domain.backup import ORDER, Dump, State, Tree
from hivematrix_helm.services import proving, restoring
from hivematrix_helm.services.proving import Opener
from hivematrix_helm.system import kept_files, meshfile, processes, sets, streams
from hivematrix_helm.system.dumps import DumpError
from hivematrix_helm.system.meshfile import Mesh
from hivematrix_helm.system.sets import LockedError, MissingError
from hivematrix_helm.system.streams import StreamError, WrongKeyError

sys.path.insert(0, str(Path(__file__).resolve().parent))

import backed_up

PLACES = ("recover.laid_out", "restore.proved", "restore.between@3", "restore.renamed", "restore.committed")
ACCEPTED = """
    INSERT INTO acceptances (account_number, period, invoice_number, body_sha256, currency, total, prepaid_monthly,
        prepaid_taken, prepaid_pool, log_index, sealed_at, checkpoint, accepted_by, accepted_at)
    VALUES ('{0}', '2025-10', '{0}-202510', 'sha256:' || repeat('0', 64), 'USD', 1, 0, '[]', 0, 0, now(), '', 'maya',
        now())"""


@pytest.fixture(scope="module")
def home(postgres, tmp_path_factory):
    """A home with one sealed set, `home.name`."""
    made = backed_up.make(postgres, tmp_path_factory.mktemp("guarded"))
    made.name = made.run()[0].name
    yield made
    for database in made.databases.values():
        postgres.drop(database)


@pytest.fixture
def mine(home, tmp_path):
    """That home once more, whose files may change; the databases are the same."""
    shutil.copytree(home.home, tmp_path / "mine")
    return replace(home, home=tmp_path / "mine")


@pytest.fixture
def spoilt(postgres, tmp_path):
    """A home of its own, whose databases may be spoilt before the set is made."""
    made = backed_up.make(postgres, tmp_path / "spoilt")
    yield made
    for database in made.databases.values():
        postgres.drop(database)


def refusal(home, service, name="", error=DumpError):
    """Why a restore is refused; no database came, went or changed."""
    before = databases(home)
    with pytest.raises(error) as why:
        put_back(home, service, name or home.name)
    assert databases(home) == before
    return str(why.value)


def put_back(home, service, name):
    admin = home.postgres.cluster.admin_url
    return restoring.restore(home.settings, service, name, home.opener, admin_url=admin, tell=print)


def databases(home):
    """By name, with what only the same database has."""
    with closing(home.postgres.admin()) as admin, admin.cursor() as cursor:
        cursor.execute("SELECT datname, oid FROM pg_database ORDER BY 1")
        return cursor.fetchall()


def dump_file(home, service):
    return next(home.place.path(home.name).glob(f"{service}_*"))


def test_while_a_backup_is_at_work_nothing_is_restored(mine):
    with sets.locked(mine.home):
        assert "another backup" in refusal(mine, "ledger", error=LockedError)


@pytest.mark.parametrize("state", ["running", "waiting", "stopping"])
def test_a_service_that_helm_keeps_running_is_refused_though_it_is_not_connected_now(mine, state):
    unit = {"pid": None, "created": None, "state": state}
    meshfile.write(mine.home, Mesh(processes.identify(os.getpid()), "2025-11-01T00:00:00Z", {"ledger": unit}))
    assert refusal(mine, "ledger") == "ledger runs; stop it first: hivematrix-helm down"


@pytest.mark.parametrize("name", ["../backups", "hivematrix_19990101_000000"])
def test_what_is_no_set_is_refused(home, name):
    assert "there is no set" in refusal(home, "ledger", name, MissingError)


def test_a_dump_with_a_flipped_byte_takes_no_name(mine):
    path = dump_file(mine, "ledger")
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    assert "was removed: ledger_" in refusal(mine, "ledger")


def test_a_dump_of_another_set_takes_no_name(mine):
    """It is a good dump, sealed for the same key; it is not the one that was written."""
    mine.execute("ledger", "UPDATE line_items SET fee = 98 WHERE uid = 'fw-9'")
    other = mine.run()[0].name
    shutil.copy(dump_file(replace(mine, name=other), "ledger"), dump_file(mine, "ledger"))
    assert "its content is not what was written" in refusal(mine, "ledger")


def test_a_manifest_that_was_changed_is_refused(mine):
    path = mine.place.path(mine.name) / "manifest.json"
    path.write_text(path.read_text().replace('"rows": 40', '"rows": 39'))
    assert "it is not what manifest.json.sha256 was made of" in refusal(mine, "ledger", error=DomainError)


def test_an_archive_that_does_not_verify_takes_no_name_and_is_no_proof(spoilt):
    """Somebody wrote into the database before it was dumped: what is restored is what was dumped, and is not good."""
    spoilt.execute(
        "archive",
        "ALTER TABLE archive_log.checkpoints DISABLE TRIGGER USER;"
        "UPDATE archive_log.checkpoints SET note = replace(note, 'archive.example.com', 'archive.example.net')",
    )
    spoilt.name = spoilt.run()[0].name
    assert "archive: verify: " in refusal(spoilt, "archive")
    record = proving.drill(spoilt.settings, spoilt.name, spoilt.opener)
    assert (record.state, record.fault.startswith("archive: verify: ")) == (State.BAD, True)


def test_another_schema_or_log_than_was_dumped_is_found(home):
    dump = home.place.manifest(home.name).dump_of("archive")
    url = home.url("archive")
    assert proving.content_faults(url, dump) == []
    found = proving.content_faults(url, replace(dump, revision="0001"))
    assert found == [f"archive: its schema is at {dump.revision}, 0001 was dumped"]
    other = replace(dump, tree=Tree(7, dump.tree.root))
    assert proving.content_faults(url, other) == ["archive: its log is not the one that was dumped"]
    held = home.at_hand(home.name)
    changed = tuple(other if one.service == "archive" else one for one in held.manifest.dumps)
    held = replace(held, manifest=replace(held.manifest, dumps=changed))
    run = meshfile.run_folder(home.home)
    assert proving.archive_faults(url, held, run) == [
        "archive: the restored log has another size or root than was dumped"
    ]


def test_what_ledger_refers_to_and_a_later_dump_lacks_is_found(spoilt):
    urls = {service: spoilt.url(service) for service in ORDER}
    assert proving._reference_faults(urls) == []
    for account in ("620001", "999999"):
        spoilt.execute("ledger", ACCEPTED.format(account))
    assert proving._reference_faults(urls) == [
        "ledger: an acceptance 620001-202510 is not in archive, and 1 more",
        "ledger: an acceptance of account 999999 is not in codex, and 0 more",
    ]
    record = proving.drill(spoilt.settings, spoilt.run()[0].name, spoilt.opener)
    assert (record.state, "620001-202510 is not in archive" in record.fault) == (State.BAD, True)


def test_a_database_that_is_lost_is_put_back_too(home, postgres):
    name = postgres.copy("ledger")
    conf = home.home / "instance" / "ledger-owner.conf"
    before = conf.read_text()
    set_section(conf, "database", {"url": postgres.url("ledger_owner", name)})
    postgres.drop(name)
    try:
        assert put_back(home, "ledger", home.name).before == ""
        assert proving.content_faults(postgres.url("ledger_owner", name), dump_of(home, "ledger")) == []
    finally:
        conf.write_text(before)
        postgres.drop(name)


def dump_of(home, service) -> Dump:
    return home.place.manifest(home.name).dump_of(service)


@pytest.fixture(scope="module")
def machine(tmp_path_factory):
    """A server with nothing in it."""
    with proving.scratch(tmp_path_factory.mktemp("machine")) as server:
        yield server


class TestRecovery:
    """On a machine where nothing is; its server has no database of ours before, and none after a refusal."""

    @pytest.fixture
    def refusal(self, machine, tmp_path):
        """refusal(folder, opener): why a recovery is refused, of which nothing is left."""

        def recover(folder, opener, error=DumpError):
            with pytest.raises(error) as why:
                restoring.recover(tmp_path / "anew", folder, opener, machine.admin_url, print)
            assert self.made(machine) == []
            assert not (tmp_path / "anew" / "instance" / "helm.conf").exists()
            return str(why.value)

        return recover

    def made(self, machine):
        with restoring.administrator(machine.admin_url) as admin, admin.cursor() as cursor:
            cursor.execute("SELECT datname FROM pg_database WHERE datname ~ '^(ledger|codex|archive|helm)' ORDER BY 1")
            return [name for (name,) in cursor]

    def test_a_folder_without_a_good_set(self, mine, refusal, tmp_path):
        (tmp_path / "empty").mkdir()
        assert "no good set in it" in refusal(tmp_path / "empty", mine.opener)
        dump_file(mine, "helm").write_bytes(b"torn")
        assert "no good set in it" in refusal(mine.place.folder, mine.opener)

    def test_a_set_without_confs_and_keys(self, spoilt, refusal):
        set_section(spoilt.home / "instance" / "helm.conf", "backup", {"recipients": ""})
        spoilt.run()
        assert "holds no confs and keys" in refusal(spoilt.place.folder, spoilt.opener)

    def test_a_strangers_key(self, home, refusal):
        stranger = Opener(streams.identity(streams.new_identity()[0]))
        assert "No matching keys" in refusal(home.place.folder, stranger, WrongKeyError)

    def test_a_set_whose_databases_do_not_fit_together(self, spoilt, refusal):
        """All is restored as it was dumped; what Ledger accepted, Archive does not hold."""
        spoilt.execute("ledger", ACCEPTED.format("620001"))
        spoilt.run()
        assert "620001-202510 is not in archive" in refusal(spoilt.place.folder, spoilt.opener)

    def test_a_key_that_others_may_read_and_none_at_all(self, home, tmp_path):
        anew, key = tmp_path / "nowhere", tmp_path / "key"
        key.write_text(home.identity)
        key.chmod(0o644)
        away = replace(home, home=anew)
        done = away.command("recover", str(home.place.folder), "--identity", str(key))
        assert (done.returncode, "chmod 600" in done.stderr) == (78, True), done.stderr
        done = away.command("recover", str(home.place.folder))
        assert (done.returncode, "--identity: the secret key is needed" in done.stderr) == (2, True), done.stderr
        assert not anew.exists()

    @pytest.mark.slow
    def test_killed_at_any_moment_it_leaves_all_databases_or_none_and_is_repeated(self, home, machine, tmp_path):
        """Helm's conf comes last: until then the home is not set up, and the same line goes on."""
        key, anew = tmp_path / "key", tmp_path / "anew"
        key.write_text(home.identity)
        key.chmod(0o600)
        away, wanted = replace(home, home=anew), sorted(home.databases.values())
        line = ("recover", str(home.place.folder), "--identity", str(key), "--admin-url", machine.admin_url)
        for place in (
            "recover.laid_out",
            "restore.proved",
            "restore.between@3",
            "restore.renamed",
            "restore.committed",
        ):
            environ = processes.environment(anew) | {"HIVEMATRIX_FAILPOINT": f"{place}=kill"}
            left = [name for name in self.made(machine) if "_restored_" in name]
            done = away.command(*line, env=environ)
            assert done.returncode == -signal.SIGKILL, done.stderr
            assert all(f"{name}: left by a restore that was killed; removed" in done.stderr for name in left)
            there = sorted(set(wanted) & set(self.made(machine)))
            assert there == (wanted if place == "restore.committed" else []), place
            assert not (anew / "instance" / "helm.conf").exists()
        done = away.command(*line)
        assert (done.returncode, "all is as in" in done.stderr) == (0, True), done.stderr
        assert not [name for name in self.made(machine) if "_restored_" in name]


def test_nothing_is_laid_out_outside_of_the_home(tmp_path):
    (tmp_path / "home").mkdir()
    with pytest.raises(StreamError, match="it leads out of"):
        kept_files.lay_out({"../evil": b""}, tmp_path / "home")
    assert not (tmp_path / "evil").exists()


def test_a_witness_of_another_log_is_not_believed(mine, tmp_path):
    """Only what goes on from the set's own checkpoints is laid out."""
    witness = tmp_path / "witness"
    witness.mkdir()
    ours = (mine.home / "log" / "checkpoints").read_text()
    set_section(mine.home / "instance" / "helm.recovering.conf", "witness", {"directory": str(witness)})
    held = mine.at_hand(mine.name)
    for strange in (ours.replace("archive.example.com", "archive.example.net") + ours, ""):
        (witness / "checkpoints").write_text(strange)
        assert "is lost. If anything was" in restoring._witnessed(mine.home, held)
        assert (mine.home / "log" / "checkpoints").read_text() == ours
