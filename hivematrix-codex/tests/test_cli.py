import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from hivematrix_codex import cli
from hivematrix_codex.app import create_app
from hivematrix_codex.config import CodexSettings
from hivematrix_codex.models import contacts
from hivematrix_common.conffile import set_section
from sqlalchemy import func, select, text

SCRIPTS = Path(__file__).resolve().parents[1]


@pytest.fixture
def codex(service):
    """Codex on a database of its own: the command brings its own connections."""
    return service(CodexSettings, create_app, isolation="copy")


@pytest.fixture
def command(capsys):
    """`command("import", ...)` gives exit code, stdout and stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as done:
            cli.main([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return done.value.code, told.out, told.err

    return run


def count(codex):
    with codex.db.engine.connect() as connection:
        return connection.scalar(select(func.count()).select_from(contacts))


def test_a_folder_is_imported_and_the_other_services_files_are_passed_over(codex, command, facts):
    code, out, err = command("import", facts({"tax_rates.csv": "nonsense", "READ.ME": ""}))
    assert (code, err) == (0, "")
    assert out.splitlines()[:2] == ["plans: 3 rows, 3 new or changed", "companies: 2 rows, 2 new or changed"]
    assert count(codex) == 3
    code, out, _ = command("import", facts(), "--json")
    assert json.loads(out)["imported"]["contacts"] == {"rows": 3, "changed": 0}


def test_a_bad_row_refuses_everything_by_file_line_and_column(codex, command, facts):
    path = facts({"contacts.csv": "uid,account_number,name\nc1,620547,Ada\nc1,620547,Ada\n"})
    code, out, err = command("import", path)
    assert (code, out) == (1, "")
    assert err.splitlines() == ["1 fault, nothing was imported", "  contacts.csv:3: uid: repeats c1 of contacts.csv:2"]
    assert count(codex) == 0
    assert json.loads(command("import", path, "--json")[1])["errors"] == [
        {"field": "uid", "message": "repeats c1 of contacts.csv:2", "file": "contacts.csv", "line": 3}
    ]


def test_partial_imports_the_rest_says_what_it_left_out_and_exits_3(codex, command, facts):
    path = facts({"contacts.csv": "uid,account_number,name\nc1,620547,Ada\nc1,620547,Ada\n", "compnies.csv": ""})
    code, out, err = command("import", path, "--partial")
    assert code == 3
    assert "contacts: 1 rows, 1 new or changed" in out
    assert err.splitlines() == [
        "warning: compnies.csv: passed over: no service imports a file of this name",
        "left out: contacts.csv:3: uid: repeats c1 of contacts.csv:2",
    ]
    assert count(codex) == 1


def test_a_folder_that_is_not_there_is_a_usage_error(codex, command, tmp_path):
    code, _, err = command("import", tmp_path / "nowhere")
    assert code == 2
    assert "does not exist" in err


def test_a_dead_database_is_one_line(codex, command, facts, home):
    set_section(home / "instance" / "codex.conf", "database", {"url": "postgresql://codex_user@127.0.0.1:1/codex_db"})
    code, _, err = command("import", facts())
    assert code == 1
    assert err.startswith("database: ")
    assert "Connection refused" in err
    assert len(err.splitlines()) == 1


def test_a_typo_in_the_configuration_is_named_and_exits_78(codex, command, facts, home):
    set_section(home / "instance" / "codex.conf", "billing", {"timezon": "UTC"})
    code, _, err = command("import", facts())
    assert code == 78
    assert "[billing] timezon: unknown key" in err


def test_a_new_day_in_a_home_without_a_conf_says_what_to_do(command, home, facts):
    code, _, err = command("import", facts())
    assert code == 78
    assert "run: hivematrix-helm init" in err


@pytest.mark.parametrize("script", ["run.py", "init_db.py"])
def test_the_thin_scripts_answer_help(script):
    done = subprocess.run([sys.executable, SCRIPTS / script, "--help"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "Example: hivematrix-codex" in done.stdout


def test_help_has_an_example(command):
    assert "Example: hivematrix-codex import ./data" in command("import", "--help")[1]


def written(codex):
    query = text("SELECT actor_kind, action, outcome FROM audit.entries")
    with codex.db.engine.connect() as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_who_imported_at_the_command_line_is_written_down(codex, command, facts):
    assert command("import", facts())[0] == 0
    assert written(codex) == [("command", "codex import", "allowed")]


# A request to a process of its own, so that it may be killed.
REQUEST = """
import sys
from hivematrix_codex.app import create_app
client = create_app().test_client()
headers = {"Authorization": f"Bearer {sys.argv[1]}"}
with open(sys.argv[2], "rb") as file:
    client.post("/api/import", headers=headers, data={"f": (file, "companies.csv")}, content_type="multipart/form-data")
"""


@pytest.mark.parametrize(("place", "there"), [("audit-added", False), ("import-committed", True)])
def test_a_killed_request_leaves_act_and_row_or_neither(codex, facts, place, there):
    home, file = codex.settings.home, facts() / "companies.csv"
    environ = os.environ | {"HIVEMATRIX_HOME": str(home), "HIVEMATRIX_FAILPOINT": f"{place}=kill"}
    command = [sys.executable, "-c", REQUEST, codex.people["technician"], str(file)]
    killed = subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=60)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    with codex.db.engine.connect() as connection:
        acts = connection.scalar(text("SELECT count(*) FROM companies"))
    rows = [("service", "POST /api/import", "allowed")]
    assert (acts, written(codex)) == ((2, rows) if there else (0, []))
