import json
import os
import re
import socket
import stat
import subprocess
import sys

import click
import pytest
from hivematrix_common import tokens
from hivematrix_common.durable import file_lock
from hivematrix_common.postgres import free_port
from hivematrix_helm import cli, supervisor
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.system import launching, meshfile, probes, session_key
from hivematrix_helm.system.confs import Conf, registrations
from hivematrix_helm.system.processes import identify


@pytest.fixture
def made(home):
    """A home as `init` leaves it, without its databases."""
    for name in ("logs", "run"):
        (home / name).mkdir()
    ports = {name: free_port() for name in SERVICES}
    for service in SERVICES:
        conf = Conf(home, service)
        conf.add("service", {"port": str(ports[service])})
        conf.add("services", {f"{name}_url": f"http://127.0.0.1:{port}" for name, port in ports.items()})
        conf.add("database", {"url": f"postgresql+psycopg2://{service}_user:a%3Ab@127.0.0.1:5999/{service}_db"})
        conf.add("sessions", {"verify_keys": session_key.make(home)})
        conf.add("pages", {"secret_key": "signs-forms-of-tests"})
    owner = "postgresql+psycopg2://archive_owner:secret@127.0.0.1:5999/archive_db"
    Conf(home, "archive-owner").add("database", {"url": owner})
    Conf(home, "helm").add("postgres", {"embedded": "yes", "port": "5999"})
    return home


@pytest.fixture
def command(capsys):
    """`command("status", "--json")` -> (exit code, stdout, stderr)."""

    def call(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return call


def test_a_token_is_the_last_line_and_known_to_every_service_its_scopes_name(made, command):
    code, out, err = command(
        "tokens", "issue", "demo", "--scope", "ledger:read", "--scope", "archive:seal", "--expires", "30d"
    )
    token = out.splitlines()[-1]
    assert (code, tokens.well_formed(token), "ledger:read" in err) == (0, True, True)
    [at_ledger], [at_archive] = registrations(made, "ledger"), registrations(made, "archive")
    assert at_ledger.digest == at_archive.digest == tokens.digest(token)
    assert (at_ledger.scopes, at_archive.scopes) == ({"ledger:read"}, {"archive:seal"})
    assert at_ledger.expires is not None
    assert registrations(made, "codex") == []


def test_a_new_session_key_signs_and_the_old_one_holds(made, command):
    before = session_key.make(made)
    assert command("tokens", "rotate-session-key")[0] == 0
    now = session_key.make(made)
    assert now != before
    assert {Conf(made, name).section("sessions")["verify_keys"] for name in SERVICES} == {f"{now} {before}"}


def test_one_more_token_for_a_name_is_said(made, command):
    assert "one more" not in command("tokens", "issue", "demo", "--scope", "ledger:read")[2]
    assert "demo had 1 before; this is one more" in command("tokens", "issue", "demo", "--scope", "ledger:read")[2]


def test_tokens_are_listed_without_their_secrets_and_revoked_everywhere(made, command):
    token = command("tokens", "issue", "demo", "--scope", "ledger:read", "--scope", "codex:read")[1].strip()
    code, out, _ = command("tokens", "list", "--json")
    [row] = json.loads(out)
    assert (code, row["caller"], row["services"]) == (0, "demo", ["codex", "ledger"])
    assert token not in out
    assert tokens.digest(token) not in out
    assert command("tokens", "list")[1].split()[:2] == [row["id"], "demo"]
    assert command("tokens", "revoke", "demo")[:2] == (0, f"{row['id']}\n")
    assert json.loads(command("tokens", "list", "--json")[1]) == []
    assert command("tokens", "revoke", "demo")[0] == 1


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("ledger", "--scope", "codex:read"), "is a service"),
        (("Demo User", "--scope", "codex:read"), "small letters"),
        (("demo", "--scope", "codex:everything"), "unknown codex:everything"),
        (("demo",), "Missing option '--scope'"),
        (("demo", "--scope", "codex:read", "--expires", "soon"), "expected a time such as"),
        (("demo", "--scope", "codex:read", "--expires", "2020-01-01"), "expires: 2020-01-01T00:00:00Z is past"),
    ],
)
def test_a_token_that_makes_no_sense_is_a_usage_error(made, command, arguments, words):
    code, out, err = command("tokens", "issue", *arguments)
    assert (code, out) == (2, "")
    assert words in err
    assert all(registrations(made, service) == [] for service in SERVICES)


def test_a_service_s_name_revokes_nothing_its_token_s_id_does(made, command):
    tokens.register(made / "instance" / "codex.conf", tokens.generate("ledger"), "ledger", ["codex:read"])
    [entry] = registrations(made, "codex")
    assert command("tokens", "revoke", "ledger")[0] == 1
    assert command("tokens", "revoke", entry.id)[0] == 0


@pytest.mark.parametrize("words", [("status",), ("env",), ("tokens", "list")])
def test_a_home_never_set_up_is_a_configuration_fault(home, command, words):
    code, _, err = command(*words)
    assert (code, "hivematrix-helm init" in err, len(err.splitlines())) == (78, True, 1)


@pytest.mark.parametrize("words", [("status",), ("up",), ("init",), ("down",), ("up", "--detach")])
@pytest.mark.parametrize("where", ["file", "file/below"])
def test_a_home_that_cannot_be_used_is_a_configuration_fault_in_one_line(tmp_path, command, where, words):
    (tmp_path / "file").write_text("")
    code, _, err = command(*words, "--home", str(tmp_path / where))
    assert (code, len(err.splitlines())) == (78, 1)


def test_status_says_what_is_not_ready_and_exits_1(made, command):
    code, out, err = command("status")
    assert (code, "no supervisor runs here" in err) == (1, True)
    assert [line.split()[0] for line in out.splitlines()] == [*SERVICES, "postgres"]
    assert "does not answer" in out
    found = json.loads(command("status", "--json")[1])
    assert found["postgres"]["port"] == 5999


def test_status_exits_0_when_all_are_ready(made, command, monkeypatch):
    monkeypatch.setattr(probes, "fault", lambda _url: "")
    assert command("status")[0] == 0


def test_status_tells_an_earlier_end_from_what_is_now(made, command, monkeypatch):
    monkeypatch.setattr(probes, "fault", lambda _url: "")
    unit = {"state": "running", "restarts": 1, "why": "killed by signal 9", "pid": None, "since": None}
    meshfile.write(made, meshfile.Mesh(identify(os.getpid()), "2025-11-01T00:00:00Z", {"ledger": unit}))
    [line] = [line for line in command("status")[1].splitlines() if line.startswith("ledger")]
    assert line.endswith("last time: killed by signal 9")


def test_up_detached_names_no_addresses_when_it_is_to_be_quiet(made, command, monkeypatch):
    monkeypatch.setattr(launching, "detach", lambda _settings: (0, ""))
    assert command("up", "--detach", "--quiet") == (0, "", "")
    assert "ready" in command("up", "--detach")[2]


def test_what_the_configuration_keeps_from_starting_exits_78(made, command, monkeypatch):
    with socket.socket() as other:
        other.bind(("127.0.0.1", probes.port_of(HelmSettings.load(made, environ={}, folder=made).services.ledger_url)))
        other.listen()
        code, _, err = command("up")
    assert (code, "in use by another program" in err) == (78, True)


def test_env_is_for_a_shell_and_its_password_file_is_private(made, command):
    code, out, _ = command("env")
    script = out + "\nprintf '%s %s %s' $PGHOST $PGPORT $PGPASSFILE"
    shown = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True).stdout.split()
    passwords = made / "run" / "pgpass"
    assert (code, shown) == (0, ["127.0.0.1", "5999", str(passwords)])
    assert stat.S_IMODE(passwords.stat().st_mode) == 0o600
    rows = passwords.read_text().splitlines()
    assert "127.0.0.1:5999:archive_db:archive_user:a\\:b" in rows
    assert "127.0.0.1:5999:archive_db:archive_owner:secret" in rows


def test_a_second_up_exits_75_and_names_the_first(made, command):
    meshfile.write(made, meshfile.Mesh(identify(os.getpid()), "2025-11-01T00:00:00Z"))
    code, _, err = command("up")
    assert code == 75
    assert f"process {os.getpid()} since 2025-11-01T00:00:00Z" in err


def test_two_ups_at_once_are_kept_apart_by_a_lock(made):
    settings = HelmSettings.load(made, environ={}, folder=made)
    with file_lock(made / "run" / "mesh.lock"), pytest.raises(supervisor.LockedError):
        supervisor.supervise(settings)


def test_a_port_in_use_is_named_before_anything_starts(made):
    settings = HelmSettings.load(made, environ={}, folder=made)
    with socket.socket() as other:
        other.bind(("127.0.0.1", probes.port_of(settings.services.ledger_url)))
        other.listen()
        with pytest.raises(probes.PortsTakenError, match=r"ledger's port [0-9]+: in use"):
            supervisor.supervise(settings)


def test_the_port_of_postgresql_is_looked_at_too(made):
    Conf(made, "helm").add("postgres", {"port": str(free_port())}, force=True)
    settings = HelmSettings.load(made, environ={}, folder=made)
    with socket.socket() as other:
        other.bind(("127.0.0.1", settings.postgres.port))
        other.listen()
        with pytest.raises(probes.PortsTakenError, match=r"PostgreSQL's port [0-9]+: in use"):
            supervisor.supervise(settings)


def test_down_where_nothing_runs_is_done_already(made, command):
    assert command("down")[0] == 0


def test_what_will_not_start_ends_the_wait_with_its_words(made):
    unit = {"state": "refused", "failures": 0, "why": "ledger.conf: [service] prot: unknown key", "pid": None}
    meshfile.write(made, meshfile.Mesh(identify(os.getpid()), "2025-11-01T00:00:00Z", {"ledger": unit}))
    why = launching.wait_ready(HelmSettings.load(made, environ={}, folder=made))
    assert why == "ledger will not start: ledger.conf: [service] prot: unknown key"


LINE = (
    '{"time": "2025-11-01T12:00:00.000+00:00", "level": "WARNING", "service": "ledger", "message": "slow", "ms": 7}\n'
)


def test_logs_are_shown_for_people_and_for_programs(made, command):
    (made / "logs" / "ledger.log").write_text(LINE + "Traceback\n")
    code, out, _ = command("logs", "ledger")
    assert (code, out.splitlines()[0]) == (0, "2025-11-01 12:00:00 ledger   WARNING  slow ms=7")
    rows = [json.loads(line) for line in command("logs", "--json", "--level", "error")[1].splitlines()]
    assert [row["message"] for row in rows] == ["Traceback"]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [(("nexus",), "There is no log of nexus"), (("--since", "rubbish"), "expected a time such as")],
)
def test_what_logs_cannot_show_is_a_usage_error_said_once(made, command, arguments, words):
    code, _, err = command("logs", *arguments)
    assert (code, err.count(words)) == (2, 1)


def test_following_shows_what_is_written_later_and_survives_a_file_begun_anew(made):
    path = made / "logs" / "ledger.log"
    path.write_text(LINE * 3)
    arguments = [
        sys.executable,
        "-c",
        "from hivematrix_helm.cli import main; main()",
        "logs",
        "ledger",
        "-f",
        "-n",
        "1",
    ]
    environment = os.environ | {"PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert "slow" in process.stdout.readline()
        with path.open("a") as file:
            file.write(LINE.replace("slow", "appended")[:30])
            file.flush()
            file.write(LINE.replace("slow", "appended")[30:])
        assert "appended" in process.stdout.readline()
        path.write_text(LINE.replace("slow", "anew"))
        assert "anew" in process.stdout.readline()
        process.terminate()


def test_every_command_has_help_with_an_example(command):
    groups = {name: its for name, its in cli.group.commands.items() if isinstance(its, click.Group)}
    names = [[name] for name in cli.group.commands if name not in groups]
    for words in [*names, *([group, name] for group, its in groups.items() for name in its.commands)]:
        code, out, _ = command(*words, "--help")
        assert code == 0
        assert re.search(r"Example:\s+(eval \"\$\()?hivematrix-helm " + " ".join(words).replace(" ", r"\s+"), out), (
            words
        )
