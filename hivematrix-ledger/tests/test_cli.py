import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from hivematrix_common.conffile import set_section
from hivematrix_ledger import cli

SCRIPTS = Path(__file__).resolve().parents[1]


@pytest.fixture
def command(own_world, capsys):
    """`command("import", ...)` gives exit code, stdout and stderr; the command brings its own connections."""

    def run(*arguments):
        with pytest.raises(SystemExit) as done:
            cli.main([str(argument) for argument in arguments])
        told = capsys.readouterr()
        return done.value.code, told.out, told.err

    return run


def test_a_bill_is_shown_line_by_line_with_its_why(command):
    code, out, err = command("bill", "620547", "2025-10")
    assert (code, err) == (0, "")
    assert "620547-202510  Acme Ltd  2025-10  (preview)" in out
    assert "User: Ann (Paid)" in out
    assert re.search(r"^ *0 +user +User: Ann", out, re.MULTILINE), "a line has the number that `correct` takes"
    assert "total 912.50 USD, due 2025-11-30" in out


def test_a_strangers_names_are_text_and_nothing_else(command, case):
    case.contact("[bold]B[/bold]")
    case.contact("line\nbreak")
    _, out, _ = command("bill", "620547", "2025-10")
    assert "[bold]B[/bold]" in out
    assert "\nbreak" not in out


def test_a_bill_for_programs_is_the_body(command, own_world):
    code, out, _ = command("bill", "620547", "2025-10", "--json")
    assert (code, json.loads(out)["totals"]["total"]) == (0, "912.50")
    own_world.accept("620547")
    assert "(sealed)" in command("bill", "620547", "2025-10")[1]


def test_a_company_without_a_bill_exits_1_with_the_reason(command, case):
    case.facts["billing_plan"] = "Inactive"
    assert command("bill", "620547", "2025-10")[:2] == (1, "620547: skipped, the plan is Inactive\n")
    assert json.loads(command("bill", "620547", "2025-10", "--json")[1])["status"] == "skipped"


def test_an_unknown_company_exits_1(command):
    code, _, err = command("bill", "999999", "2025-10")
    assert (code, err) == (1, "There is no company 999999.\n")


@pytest.mark.parametrize("period", ["2025-13", "October", "25-10"])
def test_a_bad_period_is_a_usage_error(command, period):
    code, _, err = command("bill", "620547", period)
    assert code == 2
    assert period in err


@pytest.mark.parametrize("account", ["6/../x", "", "62 05", "\x1b[31m"])
def test_a_text_that_is_no_account_number_is_a_usage_error(command, account):
    code, out, err = command("bill", account, "2025-10")
    assert (code, out) == (2, "")
    assert "expected 1 to 32 letters and digits" in err
    assert "\x1b" not in err


def test_a_close_is_listed_with_its_total_and_writes_nothing(command, own_world, company):
    lost = company("183729")
    lost.facts["billing_plan"] = "Lost"
    own_world.codex.hold(lost)
    code, out, _ = command("close", "2025-10", "--preview")
    assert code == 0
    assert out.splitlines() == [
        "183729  unbillable: no plan 'Lost' with term '1 Year' is valid on 2025-10-31",
        "620547-202510          912.50 USD  Acme Ltd",
        "companies: 1 open, 1 unbillable",
        "total: 912.50 USD (user 200.00, asset 140.00, backup 72.50, hours 500.00)",
        "recurring: 412.50 USD",
    ]
    rows = [json.loads(line) for line in command("close", "2025-10", "--preview", "--json")[1].splitlines()]
    assert (rows[1]["totals"]["total"], rows[1]["state"]) == ("912.50", "open")
    assert own_world.archive.sealed == {}


def test_a_sealed_bill_is_marked_in_the_list(command, own_world):
    own_world.accept("620547")
    assert command("close", "2025-10", "--preview")[1].splitlines() == [
        "620547-202510          912.50 USD  Acme Ltd  (sealed)",
        "companies: 1 sealed",
        "total: 912.50 USD (user 200.00, asset 140.00, backup 72.50, hours 500.00)",
        "recurring: 412.50 USD",
    ]
    assert json.loads(command("close", "2025-10", "--preview", "--json")[1])["state"] == "sealed"


def test_closing_without_preview_names_the_command_that_does(command):
    code, _, err = command("close", "2025-10")
    assert code == 2
    assert "hivematrix-archive snapshot" in err


def test_a_folder_is_imported(command, tmp_path, own_world):
    (tmp_path / "tax_rates.csv").write_text("account_number,category,percent\n620547,user,10\n")
    (tmp_path / "companies.csv").write_text("nonsense")
    assert command("import", tmp_path) == (0, "tax_rates: 1 rows, 1 new or changed\n", "")
    assert command("import", tmp_path) == (0, "tax_rates: 1 rows, 0 new or changed\n", "")
    assert own_world.rows("SELECT category FROM tax_rates") == [("user",)]


def test_a_folder_with_nothing_to_import_exits_1_and_with_the_other_services_files_0(command, tmp_path):
    nothing = "No file to import; known are client_overrides,"
    code, out, err = command("import", tmp_path)
    assert (code, out, err[: len(nothing)]) == (1, "", nothing)
    (tmp_path / "companys.csv").write_text("account_number,name\n620547,Acme\n")
    code, out, err = command("import", tmp_path)
    assert (code, out) == (1, "")
    assert "  companys.csv: passed over: no service imports a file of this name" in err.splitlines()
    (tmp_path / "companies.csv").write_text("")
    code, out, err = command("import", tmp_path)
    assert (code, out) == (0, "")
    assert "warning: companys.csv: passed over" in err
    assert "warning: no file to import" in err


def test_bad_rows_exit_1_and_partial_exits_3(command, tmp_path, own_world):
    (tmp_path / "tax_rates.csv").write_text("account_number,category,percent\n620547,user,x\n620547,item,5\n")
    code, out, err = command("import", tmp_path)
    assert (code, out) == (1, "")
    assert "tax_rates.csv:2 percent: expected a decimal" in err.replace(": percent", " percent")
    assert own_world.rows("SELECT * FROM tax_rates") == []
    code, out, err = command("import", tmp_path, "--partial")
    assert (code, out) == (3, "tax_rates: 0 rows, 0 new or changed\n")
    assert "left out: tax_rates.csv:2: account_number: 620547 keeps what it had here" in err
    assert json.loads(command("import", tmp_path, "--json")[1])["code"] == "invalid_rows"


def test_a_misspelt_key_exits_78_and_is_named(command, home):
    set_section(home / "instance" / "ledger.conf", "invoice", {"payment_term_days": "30"})
    code, _, err = command("bill", "620547", "2025-10")
    assert code == 78
    assert "[invoice] payment_term_days: unknown key" in err


@pytest.mark.parametrize("script", ["run.py", "init_db.py"])
def test_the_thin_scripts_run_from_any_folder(script, tmp_path):
    done = subprocess.run(
        [sys.executable, str(SCRIPTS / script), "--help"], capture_output=True, text=True, cwd=tmp_path, check=False
    )
    assert (done.returncode, "hivematrix-ledger" in done.stdout) == (0, True)


def test_an_invoice_is_corrected_at_the_command_line(command, own_world):
    own_world.accept("620547")
    said = ("--reason", "billed twice", "--line", 0, "--line", 1)
    code, out, _ = command("correct", "620547", "2025-10", "--mode", "credit", *said)
    assert (code, out) == (0, "620547-202510 is credited by 620547-202510-C1.\n")
    code, out, _ = command("correct", "620547", "2025-10", "--mode", "replace", "--reason", "anew", "--json")
    assert (code, json.loads(out)["invoice_number"]) == (0, "620547-202510-C3")
    rows = own_world.rows(
        "SELECT DISTINCT action, target, actor_kind FROM audit.entries WHERE action = 'ledger correct'"
    )
    assert rows == [("ledger correct", "620547 2025-10", "command")]


def test_a_correction_that_cannot_be_made_exits_1_and_says_why(command, own_world):
    asked = ("correct", "620547", "2025-10", "--mode", "credit", "--reason", "billed twice")
    assert command(*asked)[2].startswith("620547 has no sealed bill for 2025-10")
    own_world.accept("620547")
    assert [command(*asked)[0] for _ in range(2)] == [0, 0], "the same again is done already"
    code, _, err = command(*asked, "--line", "0")
    assert (code, "credits never exceed 620547-202510" in err) == (1, True)


@pytest.mark.parametrize(
    "wrong", [("--mode", "replace", "--line", "0", "--reason", "x"), ("--mode", "credit", "--reason", " ")]
)
def test_a_correction_that_makes_no_sense_is_a_usage_error(command, wrong):
    assert command("correct", "620547", "2025-10", *wrong)[0] == 2


def test_the_history_of_a_company_is_listed_with_who_and_what(command, own_world, tmp_path, monkeypatch):
    monkeypatch.setattr("getpass.getuser", lambda: "olga")
    (tmp_path / "tax_rates.csv").write_text("account_number,category,percent\n620547,user,20\n")
    assert command("import", tmp_path)[0] == 0
    path = "/api/overrides/tax-rates"
    own_world.ledger.call("PUT", f"{path}/620547", json={"category": "user", "percent": "7.5"})
    code, out, _ = command("history", "620547")
    assert (code, out.splitlines()) == (
        0,
        [
            f"2025-11-02T10:00:00Z  admin  tax_rates  user: percent 20 → 7.5  (PUT {path}/<account_number>)",
            "2025-11-02T10:00:00Z  olga  tax_rates  user added: percent 20  (ledger import)",
        ],
    )
    [newest] = command("history", "620547", "--limit", "1", "--json")[1].splitlines()
    assert json.loads(newest)["after"]["percent"] == "7.5"
