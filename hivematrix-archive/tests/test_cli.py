"""The commands as scripts and timers call them: what they print, what they exit with."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hivematrix_archive.cli import main
from hivematrix_archive.services import session
from sqlalchemy import text
from werkzeug.serving import make_server
from werkzeug.wrappers import Response

FOLDER = Path(__file__).parents[1]


@pytest.fixture
def ledger(fake_peer):
    """Accepts every bill but that of account 3, which has an unknown plan; knows previews of 1, 2 and 3."""
    peer = fake_peer("ledger")

    def fate(account):
        if account == "3":
            return {"account_number": "3", "status": "failed", "reason": "unknown plan Platin"}
        return {"account_number": account, "status": "sealed", "invoice_number": f"{account}-202510", "total": "912.50"}

    def accept(request):
        accounts = json.loads(request.data)["accounts"]
        return Response(
            "".join(json.dumps(fate(account)) + "\n" for account in accounts), content_type="application/x-ndjson"
        )

    def bill(account):
        return {"account_number": account, "currency": "USD", "totals": {"total": "912.50"}}

    skipped = {"account_number": "2", "status": "skipped", "reason": "plan is Inactive"}
    unbillable = {"account_number": "3", "status": "unbillable", "reason": "unknown plan Platin"}
    previews = [bill("1"), skipped, unbillable]
    peer.answers("POST", "/api/bills/accept", accept)
    peer.answers("GET", "/api/bills", [json.dumps(line).encode() for line in previews])
    peer.answers("GET", "/api/bills/1/2025-10", bill("1"))
    return peer


@pytest.fixture
def archive(make_archive, fake_peer, ledger):
    codex = fake_peer("codex")
    companies = [{"account_number": number} for number in "123"]
    codex.answers("GET", "/api/companies", {"companies": companies, "next": None})
    return make_archive(
        "copy", {"services": {"codex_url": codex.url, "ledger_url": ledger.url, "ledger_token": "t" * 32}}
    )


@pytest.fixture
def run(archive, capsys):
    """run(*arguments) -> (exit code, stdout, stderr)"""

    def go(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(list(arguments))
        out, err = capsys.readouterr()
        return ended.value.code, out, err

    return go


OCTOBER = ("snapshot", "--year", "2025", "--month", "10")


def jobs():
    session().rollback()
    return session().execute(text("SELECT count(*) FROM snapshot_jobs")).scalar()


def test_a_month_is_sealed_and_the_failed_company_named(run):
    code, out, err = run(*OCTOBER, "--all")
    assert code == 3
    assert "2025-10: 2 sealed, 0 already, 0 skipped, 1 failed (job " in out
    assert "failed: 3: unknown plan Platin" in err


def test_programs_get_a_line_a_page_and_one_for_the_job(run):
    code, out, _ = run(*OCTOBER, "--accounts", "1,2", "--json")
    page, job = map(json.loads, out.splitlines())
    assert code == 0
    assert (page["done"], page["total"], page["sealed"]) == (2, 2, 2)
    assert (job["status"], job["job"], job["errors"]) == ("completed", page["job"], [])


def test_without_arguments_what_is_due_is_sealed_else_nothing(run):
    assert run("snapshot")[::2] == (0, "nothing due\n")
    session().execute(text("UPDATE scheduled_snapshots SET created_at = '2025-11-05'"))
    session().commit()
    code, out, _ = run("snapshot")
    assert (code, out.splitlines()[-1][:19]) == (3, "2025-11: 2 sealed, ")
    assert run("snapshot")[::2] == (0, "nothing due\n")


def test_a_dry_run_tells_each_company_and_the_total_and_writes_nothing(run):
    code, out, _ = run(*OCTOBER, "--all", "--dry-run")
    assert code == 0
    assert [line.split()[1:4] for line in out.splitlines()[:3]] == [
        ["1", "would", "seal"],
        ["2", "would", "skip"],
        ["3", "would", "fail"],
    ]
    assert "unknown plan Platin" in out
    assert out.splitlines()[-1] == "would seal in all: 912.50 USD"
    assert jobs() == 0


def test_a_dry_run_of_one_company_in_json(run, archive, seal, sealing_request):
    line, total = run(*OCTOBER, "--accounts", "1", "--dry-run", "--json")[1].splitlines()
    assert json.loads(line)["would"] == "seal"
    assert json.loads(total) == {"would_seal": {"USD": "912.50"}}
    seal(archive, sealing_request("1"))
    line, total = run(*OCTOBER, "--accounts", "1", "--dry-run", "--json")[1].splitlines()
    assert (json.loads(line)["would"], json.loads(total)) == ("already", {"would_seal": {}})


def test_a_dry_run_of_the_schedule_shows_what_is_due(run):
    assert run("snapshot", "--dry-run")[::2] == (0, "nothing due\n")
    session().execute(text("UPDATE scheduled_snapshots SET created_at = '2025-11-05'"))
    session().commit()
    code, out, _ = run("snapshot", "--dry-run")
    assert (code, out[:9]) == (0, "2025-11 1")
    assert jobs() == 0


SENSELESS = [
    (("--year", "2025"), "--year and --month go together"),
    (("--month", "10"), "--year and --month go together"),
    (("--year", "2025", "--month", "13"), "1 to 12"),
    (("--year", "2025", "--month", "12", "--all"), "2025-12 has not ended in UTC"),
    (("--year", "2025", "--month", "10", "--all", "--accounts", "1"), "not both"),
    (("--year", "2025", "--month", "10", "--accounts", " , "), "expected account numbers"),
    (("--year", "2025", "--month", "10", "--accounts", "a-b"), "expected account numbers"),
    (("--year", "ten"), "not a valid integer"),
]


def test_a_call_that_makes_no_sense_is_a_usage_error(run):
    for arguments, told in SENSELESS:
        code, _, err = run("snapshot", *arguments)
        assert (code, told in err) == (2, True), arguments
    assert jobs() == 0


def test_companies_without_a_month_mean_the_last_one_that_ended(run):
    code, out, _ = run("snapshot", "--accounts", "1")
    assert (code, out.splitlines()[-1][:8]) == (0, "2025-11:")


def test_a_row_that_names_nobody_exits_78(run):
    session().execute(text("UPDATE scheduled_snapshots SET snapshot_all_companies = false"))
    session().commit()
    code, _, err = run(*OCTOBER)
    assert (code, "account_numbers names none" in err) == (78, True)


def test_a_second_run_exits_75_and_names_the_first(run, archive):
    lock = text("SELECT pg_advisory_lock(hashtextextended('archive-jobs', 0))")
    with archive.db.engine.connect() as other:
        other.execute(lock)
        other.commit()
        code, _, err = run(*OCTOBER, "--all")
        other.invalidate()
    assert (code, "another run holds the lock" in err) == (75, True)


def test_a_ledger_that_is_down_exits_1(run, ledger):
    ledger.answers("POST", "/api/bills/accept", {"detail": "no database"}, 500)
    code, _, err = run(*OCTOBER, "--accounts", "1")
    assert (code, "failed: 1: ledger: no database" in err) == (1, True)


def test_verify_says_good_and_bad(run, archive, seal, sealing_request):
    seal(archive, sealing_request("1"), sealing_request("2"))
    code, out, _ = run("verify")
    assert (code, out) == (0, "good: 2 entries, 2 checkpoints, 2 of them kept outside\n")
    assert json.loads(run("verify", "--json")[1])["good"] is True
    with archive.owner() as owner, owner.cursor() as cursor:
        cursor.execute("ALTER TABLE billing_snapshots DISABLE TRIGGER never_changed")
        cursor.execute("UPDATE billing_snapshots SET total_amount = 1 WHERE id = 2")
    code, out, err = run("verify")
    assert (code, out) == (1, "")
    assert "bad: entry 1: column total_amount: sealed as 912.50, found 1.0000" in err
    assert json.loads(run("verify", "--json")[1]) == {
        "good": False,
        "index": 1,
        "why": "column total_amount: sealed as 912.50, found 1.0000",
    }


def test_verify_takes_a_backups_copy_of_the_checkpoints(run, archive, tmp_path):
    copy = tmp_path / "checkpoints"
    copy.write_text(archive.app.extensions["hivematrix_outside"].checkpoint_file.read_text().replace("\n0\n", "\n1\n"))
    code, _, err = run("verify", "--checkpoints", str(copy))
    assert (code, "lacks checkpoint 1 of the file" in err) == (1, True)


def test_verify_takes_the_one_checkpoint_an_outsider_kept(run, archive, seal, sealing_request, tmp_path):
    seal(archive, sealing_request("1"))
    kept = tmp_path / "kept"
    kept.write_text(archive.get("/log/checkpoint").get_data(as_text=True))
    seal(archive, sealing_request("2"))
    assert run("verify", "--checkpoints", str(kept))[0] == 0
    kept.write_text(kept.read_text().replace("\n1\n", "\n2\n"))
    code, _, err = run("verify", "--checkpoints", str(kept))
    assert (code, "lacks checkpoint 1 of the file" in err) == (1, True)


@pytest.mark.parametrize("text", ["", "no checkpoint at all\n"])
def test_a_file_without_checkpoints_is_no_reason_to_call_the_archive_bad(run, tmp_path, text):
    other = tmp_path / "other"
    other.write_text(text)
    code, _, err = run("verify", "--checkpoints", str(other))
    assert (code, "bad" in err, "nothing was compared" in err) == (1, False, True)


def test_init_prints_the_public_key_and_refuses_another_origin_later(run, archive, seal, sealing_request):
    code, out, _ = run("init", "--origin", "billing.example.com/archive/log")
    assert (code, out.split("+")[0]) == (0, "billing.example.com/archive/log")
    seal(archive, sealing_request())
    code, _, err = run("init", "--origin", "other.example.com/log")
    assert (code, "can no longer change" in err) == (78, True)
    assert run("init")[:2] == (0, out)


def test_a_database_that_is_away_is_told_in_one_line(run, archive):
    conf = archive.settings.conf
    conf.write_text(conf.read_text().replace(archive.database, "archive_gone"))
    for command in (("verify",), ("init",), (*OCTOBER, "--dry-run")):
        code, _, err = run(*command)
        assert code == 1
        assert err.count("\n") == 1
        assert err.startswith("database: ")


@pytest.mark.slow
@pytest.mark.parametrize("script", ["scheduled_snapshots.py", "init_db.py", "run.py"])
def test_the_scripts_are_programs_of_their_own(script):
    done = subprocess.run([FOLDER / script, "--help"], capture_output=True, text=True, check=False, cwd="/")
    assert (done.returncode, "Example: " in done.stdout) == (0, True)


def test_a_home_without_a_conf_exits_78(tmp_path):
    done = subprocess.run(
        [sys.executable, FOLDER / "scheduled_snapshots.py", "--home", tmp_path],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 78
    assert "archive.conf: missing; run: hivematrix-helm init" in done.stderr


@pytest.fixture
def served(archive, monkeypatch):
    """The archive behind a real port, where ARCHIVE_URL leads."""
    server = make_server("127.0.0.1", 0, archive.app, threaded=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setenv("ARCHIVE_URL", f"http://127.0.0.1:{server.server_port}")
    archive.app.extensions["hivematrix_prober"].look()
    yield archive
    server.shutdown()
    server.server_close()


WORKFLOW = ("workflow", "--account", "620547", "--year", "2025", "--month", "10")


def test_the_workflow_accepts_and_reads_everything_back(run, served, ledger, seal, sealing_request):
    def accept(_request):
        seal(served, sealing_request())
        return Response('{"message": "620547-202510 is sealed."}', 201, content_type="application/json")

    ledger.answers("GET", "/health", {"status": "ok", "service": "ledger"})
    ledger.answers("POST", "/api/bill/accept", accept)
    code, out, _ = run(*WORKFLOW)
    assert code == 0, out
    steps = ["ledger health", "archive health", "accept", "snapshot", "csv", "proof", "company", "schedule"]
    assert [line[8:24].strip() for line in out.splitlines()] == steps
    assert "620547-202510 Company 620547: 912.50 USD" in out
    assert "entry 0 of 1, signed by archive.example.com/log" in out
    assert "7 rows" in out
    assert "workflow-test" not in served.settings.conf.read_text()


def test_the_workflow_says_what_fails_and_goes_on(run, served, ledger, seal, sealing_request):
    ledger.answers("POST", "/api/bill/accept", {"code": "already_accepted", "detail": "it is"}, 409)
    code, out, _ = run(*WORKFLOW, "--skip-health")
    assert code == 1
    assert "ok      accept          620547-202510 was sealed before" in out
    assert "FAILED  snapshot        archive: No invoice 620547-202510 is sealed." in out
    seal(served, sealing_request())
    code, out, _ = run(*WORKFLOW, "--skip-health", "--skip-create")
    assert (code, "accept" in out) == (0, False)
