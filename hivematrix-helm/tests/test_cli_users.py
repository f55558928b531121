"""hivematrix-helm users, on a database of its own."""

import io
import json

import pytest
from hivematrix_helm import cli
from hivematrix_helm.app import create_app
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.services import passwords, sign_in
from hivematrix_helm.store import people
from sqlalchemy import text

HERE = "192.0.2.7"


@pytest.fixture
def helm(service):
    return service(HelmSettings, create_app, isolation="copy")


@pytest.fixture
def command(helm, capsys, monkeypatch):
    """`command("users", "list", stdin="...")` -> (exit code, stdout, stderr)."""

    def call(*arguments, stdin=""):
        monkeypatch.setattr("sys.stdin", io.StringIO(stdin))
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
        said = capsys.readouterr()
        return ended.value.code, said.out, said.err

    return call


@pytest.fixture
def ada(command, password):
    assert command("users", "add", "ada", "--role", "admin", "--password-stdin", stdin=f"{password}\n")[0] == 0
    return "ada"


def test_the_first_administrator_is_made_by_a_command(command, password):
    code, out, err = command(
        "users", "add", "Ada", "--role", "admin", "--display-name", "Ada Byron", "--password-stdin", stdin=password
    )
    assert (code, out) == (0, "")
    assert password not in err
    person = sign_in.by_password("ada", password, HERE)
    assert (person.role, person.display_name, person.must_change) == ("admin", "Ada Byron", False)


def test_a_generated_password_is_all_of_stdout_and_has_to_be_replaced(command, ada):
    for words in (("add", "maya", "--role", "billing"), ("passwd", "ada")):
        code, out, _ = command("users", *words, "--generate")
        assert (code, len(out.splitlines())) == (0, 1)
        assert sign_in.by_password(words[1], out.strip(), HERE).must_change


def test_the_password_is_asked_for_twice(command, helm, password, monkeypatch):
    answers = iter([password, "something else", password, password])
    monkeypatch.setattr("click.termui.visible_prompt_func", lambda _prompt: next(answers))
    monkeypatch.setattr("click.termui.hidden_prompt_func", lambda _prompt: next(answers))
    code, out, err = command("users", "add", "ada", "--role", "admin")
    assert (code, out) == (0, "")
    assert password not in err
    assert sign_in.by_password("ada", password, HERE)


def test_who_there_is_is_listed_without_anything_secret(command, ada, helm):
    code, out, _ = command("users", "list")
    assert (code, out.split()) == (0, ["ada", "admin", "never", "signed", "in"])
    [row] = json.loads(command("users", "list", "--json")[1])
    assert (row["name"], "password_hash" in row) == ("ada", False)


def test_a_weak_password_or_a_name_in_use_is_said_and_nothing_is_made(command, ada):
    code, _, err = command("users", "add", "maya", "--role", "billing", "--password-stdin", stdin="maya2026\n")
    assert (code, "12 to 128 characters" in err, "maya2026" in err) == (1, True, False)
    code, _, err = command("users", "add", "ada", "--role", "billing", "--generate")
    assert (code, "There is a user ada already" in err) == (1, True)
    assert [row["name"] for row in json.loads(command("users", "list", "--json")[1])] == ["ada"]


def test_the_last_administrator_stays_by_command_too(command, ada):
    for words in (("disable", "ada"), ("role", "ada", "billing")):
        code, _, err = command("users", *words)
        assert (code, "last administrator" in err) == (1, True)


@pytest.mark.parametrize("words", [("disable",), ("passwd", "--generate"), ("sign-out",), ("second-factor-off",)])
def test_somebody_unknown_is_said(command, helm, words):
    code, _, err = command("users", words[0], "paul", *words[1:])
    assert (code, "There is no user paul" in err) == (1, True)


def test_every_change_of_an_account_can_be_made(command, ada, password):
    assert command("users", "add", "maya", "--role", "billing", "--password-stdin", stdin=password)[0] == 0
    assert command("users", "role", "maya", "client", "--account", "620547")[0] == 0
    assert people.named("maya").account_number == "620547"
    for words in ("disable", "enable", "sign-out", "second-factor-off"):
        assert command("users", words, "maya")[0] == 0
    assert people.named("maya").disabled_at is None


def test_what_commands_did_stands_in_the_audit(command, ada, helm):
    command("users", "sign-out", "ada")
    rows = helm.db.session.execute(text("SELECT actor_kind, action, target FROM audit.entries ORDER BY id")).all()
    assert rows == [("command", "users add", "ada"), ("command", "users signed out", "ada")]


def test_a_password_is_given_in_one_way(command, helm):
    assert command("users", "add", "ada", "--role", "admin", "--generate", "--password-stdin")[0] == 2


def test_hashes_are_argon2id_with_the_cost_that_is_asked_for(helm):
    assert passwords.hashed("x").startswith("$argon2id$v=19$m=19456,t=2,p=1$")
