"""`init` against a PostgreSQL of its own; what the services do themselves is recorded instead of run."""

import configparser
import shutil
import socket
from contextlib import nullcontext

import psycopg2
import pytest
from hivematrix_common import tokens
from hivematrix_common.conffile import drop_section
from hivematrix_common.config import Billing, ConfigError
from hivematrix_common.postgres import Cluster, free_port
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain.mesh import GRANTS, SERVICES
from hivematrix_helm.system import database, instance, meshfile, processes, session_key
from hivematrix_helm.system.confs import Conf, registrations
from hivematrix_helm.system.instance import InitializeError, Options, initialize
from hivematrix_helm.system.probes import PortsTakenError

pytestmark = pytest.mark.mesh


@pytest.fixture(scope="module")
def base(tmp_path_factory):
    cluster = Cluster(tmp_path_factory.mktemp("base") / "data", free_port(), fsync=False)
    cluster.create()
    cluster.stop()
    return cluster


@pytest.fixture
def calls(monkeypatch):
    made = []
    monkeypatch.setattr(instance, "_call", lambda _home, service, *arguments: made.append((service, *arguments)))
    return made


@pytest.fixture
def home(base, calls, tmp_path, monkeypatch):
    """Empty but for the data folder, which takes a second to make."""
    monkeypatch.setattr(instance, "POSTGRES_PORT", free_port())
    monkeypatch.setattr(database, "embedded", lambda home, port: Cluster(home / "postgres" / "data", port, fsync=False))
    (tmp_path / "postgres").mkdir()
    shutil.copytree(base.data_dir, tmp_path / "postgres" / "data")
    return tmp_path


@pytest.fixture
def without_server(calls, tmp_path, monkeypatch):
    """As if the databases were there: for what is about files only."""
    monkeypatch.setattr(instance, "_administrator", lambda *_, **__: nullcontext(None))
    return tmp_path


def confs(home):
    return {path.name: path.read_text() for path in sorted((home / "instance").glob("*.conf"))}


def connect(url):
    return psycopg2.connect(url.replace("+psycopg2", ""))


def test_init_writes_every_conf_for_its_owner_only(without_server):
    home = without_server
    initialize(home, Options())
    wanted = sorted([f"{name}.conf" for name in SERVICES] + [f"{name}-owner.conf" for name in SERVICES])
    assert sorted(confs(home)) == wanted
    assert {path.stat().st_mode & 0o777 for path in (home / "instance").glob("*.conf")} == {0o600}
    assert {(home / name).stat().st_mode & 0o777 for name in ("instance", "logs", "run")} == {0o700}
    settings = HelmSettings.load(home, environ={}, folder=home)
    assert settings.postgres.embedded
    assert settings.port == 5004


def test_repeating_it_changes_nothing(home):
    initialize(home, Options())
    before = confs(home)
    initialize(home, Options())
    assert confs(home) == before


def test_every_peer_has_exactly_the_scopes_it_was_granted(without_server):
    home = without_server
    initialize(home, Options())
    for (caller, peer), scopes in GRANTS.items():
        token = Conf(home, caller).section("services")[f"{peer}_token"]
        [entry] = [entry for entry in registrations(home, peer) if entry.caller == caller]
        assert (entry.digest, entry.scopes) == (tokens.digest(token), frozenset(scopes))
    assert len(registrations(home, "helm")) == 3


def test_every_service_takes_helms_sessions_and_signs_its_own_forms(without_server):
    home = without_server
    initialize(home, Options(public_url="https://billing.example.com/"))
    key = home / "instance" / "session-key.pem"
    assert key.stat().st_mode & 0o777 == 0o600
    keys = {Conf(home, name).section("sessions")["verify_keys"] for name in SERVICES}
    assert keys == {session_key.public_text(session_key.read(home))}
    pages = [Conf(home, name).section("pages") for name in SERVICES]
    assert len({section["secret_key"] for section in pages}) == len(SERVICES)
    assert {section["helm_url"] for section in pages} == {"https://billing.example.com/helm"}


def test_a_home_made_before_there_were_sessions_gets_what_they_need(without_server):
    home = without_server
    initialize(home, Options())
    for name in SERVICES:
        for section in ("sessions", "pages"):
            drop_section(Conf(home, name).path, section)
    with pytest.raises(ConfigError, match="run: hivematrix-helm init"):
        HelmSettings.load(home, environ={}, folder=home)
    initialize(home, Options())
    assert HelmSettings.load(home, environ={}, folder=home).pages.secret_key


def test_a_new_session_key_is_known_everywhere_before_it_signs_and_the_old_one_holds_on(without_server):
    home = without_server
    initialize(home, Options())
    first = session_key.public_text(session_key.read(home))
    session_key.rotate(home)
    second = session_key.public_text(session_key.read(home))
    assert verify_keys(home) == {f"{second} {first}"}
    initialize(home, Options())
    assert verify_keys(home) == {f"{second} {first}"}
    session_key.rotate(home)
    assert verify_keys(home) == {f"{session_key.public_text(session_key.read(home))} {second}"}


def test_a_rotation_cut_short_leaves_a_key_that_everybody_knows(without_server, monkeypatch):
    home = without_server
    initialize(home, Options())
    monkeypatch.setattr(session_key, "write_key", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        session_key.rotate(home)
    [known] = verify_keys(home)
    assert session_key.public_text(session_key.read(home)) in known.split()


def verify_keys(home):
    return {Conf(home, name).section("sessions")["verify_keys"] for name in SERVICES}


def test_each_service_reaches_its_database_by_its_conf_and_no_other(home):
    initialize(home, Options())
    with Cluster(home / "postgres" / "data", instance.POSTGRES_PORT, fsync=False):
        url = Conf(home, "ledger").section("database")["url"]
        connect(url).close()
        connect(Conf(home, "ledger-owner").section("database")["url"]).close()
        with pytest.raises(psycopg2.OperationalError, match="permission denied"):
            connect(url.replace("ledger_db", "codex_db"))


def test_each_service_migrates_itself_and_archive_names_its_log(without_server, calls):
    home = without_server
    initialize(home, Options(public_url="https://billing.example.com/"))
    assert sorted(calls[:4]) == sorted((name, "init-db", "--migrate-only") for name in SERVICES)
    assert calls[4:] == [("archive", "init", "--origin", "billing.example.com/archive/log")]
    assert Conf(home, "ledger").section("service")["url"] == "https://billing.example.com/ledger"


def test_a_run_cut_short_is_completed_by_the_next(home, monkeypatch):
    def power_cut(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as cut:
        cut.setattr(instance, "_migrate", power_cut)
        with pytest.raises(KeyboardInterrupt):
            initialize(home, Options())
    assert not instance.initialized(home)
    before = Conf(home, "ledger").section("database")
    initialize(home, Options())
    assert instance.initialized(home)
    assert Conf(home, "ledger").section("database") == before


def test_a_token_registered_but_never_stored_is_replaced(without_server):
    home = without_server
    initialize(home, Options())
    conf = Conf(home, "ledger")
    kept = {name: value for name, value in conf.section("services").items() if name != "codex_token"}
    instance.Conf(home, "ledger").path.write_text("")
    for name, values in {"database": {"url": Conf(home, "codex").section("database")["url"]}, "services": kept}.items():
        conf.add(name, values)
    initialize(home, Options())
    assert len([entry for entry in registrations(home, "codex") if entry.caller == "ledger"]) == 1


def test_ports_move_together_and_stay_moved(without_server, monkeypatch):
    home = without_server
    initialize(home, Options())
    base_port = free_port() - 100
    monkeypatch.setattr(instance, "POSTGRES_PORT", base_port)
    initialize(home, Options(port_offset=100))
    initialize(home, Options(timezone="UTC"))
    assert instance.port_offset(home) == 100
    for name, port in {"codex": 5110, "ledger": 5111, "archive": 5112, "helm": 5104}.items():
        assert Conf(home, name).section("service")["port"] == str(port)
        assert Conf(home, "ledger").section("services")[f"{name}_url"] == f"http://127.0.0.1:{port}"
        assert f"@127.0.0.1:{base_port + 100}/" in Conf(home, name).section("database")["url"]
    assert Conf(home, "helm").section("postgres")["port"] == str(base_port + 100)


def test_what_a_person_wrote_stays(without_server):
    home = without_server
    (home / "instance").mkdir()
    mine = "[database]\nurl = postgresql://me:50%25@db.example.com/codex\n\n[service]\nthreads = 8\n"
    (home / "instance" / "codex.conf").write_text(mine)
    (home / "instance" / "codex.conf").chmod(0o600)
    initialize(home, Options())
    conf = Conf(home, "codex")
    assert conf.section("database") == {"url": "postgresql://me:50%25@db.example.com/codex"}
    assert conf.section("service") == {"threads": "8", "port": "5010"}
    assert not (home / "instance" / "codex-owner.conf").exists()


def test_time_zone_and_currency_are_the_same_everywhere(without_server):
    home = without_server
    initialize(home, Options(timezone="Europe/Berlin", currency="EUR"))
    wanted = {"timezone": "Europe/Berlin", "currency": "EUR"}
    assert all(Conf(home, name).section("billing") == wanted for name in SERVICES)
    assert Billing().currency == "USD"


def test_time_zone_and_currency_are_chosen_once(without_server):
    home = without_server
    initialize(home, Options(timezone="Europe/Berlin"))
    before = confs(home)
    with pytest.raises(ConfigError) as refused:
        initialize(home, Options(timezone="UTC", currency="EUR"))
    assert all(words in fault for words, fault in zip(("Europe/Berlin", "USD"), refused.value.faults, strict=True))
    assert all("edit it in the conf of every service" in fault for fault in refused.value.faults)
    initialize(home, Options(timezone="Europe/Berlin", currency="USD"))
    assert confs(home) == before


def test_bad_options_are_refused_all_at_once_and_before_anything_is_written(without_server):
    home = without_server
    with pytest.raises(ConfigError) as refused:
        initialize(home, Options(timezone="Mars/Olympus", currency="euro", public_url="billing.example.com"))
    assert [fault.partition(":")[0] for fault in refused.value.faults] == ["--timezone", "--currency", "--public-url"]
    assert not (home / "instance").exists()


def test_another_server_is_used_by_its_administrator_and_not_embedded(base, calls, tmp_path):
    base.port = free_port()
    with base:
        initialize(tmp_path, Options(admin_url=base.admin_url.replace("+psycopg2", "")))
        connect(Conf(tmp_path, "archive").section("database")["url"]).close()
        initialize(tmp_path, Options())
    assert not (tmp_path / "postgres").exists()
    assert base.password not in "".join(confs(tmp_path).values())
    assert not HelmSettings.load(tmp_path, environ={}, folder=tmp_path).postgres.embedded


def test_a_home_with_its_own_server_is_not_pointed_elsewhere(without_server):
    home = without_server
    initialize(home, Options())
    with pytest.raises(ConfigError, match="has a PostgreSQL of its own"):
        initialize(home, Options(admin_url="postgresql://postgres@db.example.com/postgres"))


def test_a_taken_port_of_postgresql_is_named_before_it_starts(home):
    with socket.socket() as other:
        other.bind(("127.0.0.1", instance.POSTGRES_PORT))
        other.listen()
        with pytest.raises(PortsTakenError, match=rf"PostgreSQL's port {instance.POSTGRES_PORT}: in use"):
            initialize(home, Options())


def test_a_step_that_fails_is_named_with_its_words(tmp_path, monkeypatch):
    program = "import sys; sys.stderr.write('origin: cannot change\\n'); sys.exit(78)"
    monkeypatch.setattr(processes, "command", lambda *_: [processes.sys.executable, "-c", program])
    with pytest.raises(InitializeError, match="hivematrix-archive init: origin: cannot change") as failed:
        instance._call(tmp_path, "archive", "init")
    assert failed.value.code == 78


def test_nothing_but_ini_is_written(without_server):
    home = without_server
    initialize(home, Options())
    for path in (home / "instance").glob("*.conf"):
        parser = configparser.RawConfigParser()
        parser.read(path)
        assert parser.sections()
    assert meshfile.read(home) is None
