"""The deployment guide, line by line, on an installed machine: tests/guide/commands.toml has each line and its way."""

import configparser
import json
import re
import shlex
from collections.abc import Iterator

import pytest
from debian import HOME, ROOT, TOKENS, Installed, guide, type_line

pytestmark = pytest.mark.mesh
SEED = ROOT.parent / "shared" / "seeds" / "archive-deployment-guide.md"
WAYS = {"run", "stand-in", "watch", "text", "instead"}
LINES = guide()
ARCHIVE = f"{HOME}/hivematrix-archive"
SERVICE, ADMIN = (f"-H 'Authorization: Bearer {token}'" for token in TOKENS.values())
CONFIG = "http://localhost:5012/api/scheduler/config"
EXPECTED_TABLES = {"billing_snapshots", "snapshot_line_items", "scheduled_snapshots", "snapshot_jobs"}


def number_of(start: str) -> int:
    return next(number for number, line in enumerate(LINES) if line["text"].startswith(start))


def blocks(text: str) -> Iterator[tuple[str, str]]:
    for found in re.finditer(r"^```(\w+)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield found[1], found[2].rstrip("\n")


def commands(block: str) -> Iterator[str]:
    """A shell block's commands: a line goes on after a backslash, or while a quote is open."""
    part = ""
    for line in block.splitlines():
        part = f"{part}\n{line}" if part else line.split("#")[0] and line
        if part and not line.endswith("\\") and balanced(part):
            yield part
            part = ""


def balanced(text: str) -> bool:
    try:
        shlex.split(text)
    except ValueError:
        return False
    return True


@pytest.mark.skipif(not SEED.exists(), reason="the guide itself does not lie beside the checkout")
def test_the_table_has_every_line_of_the_guide_in_its_order() -> None:
    wanted: list[str] = []
    texts = {line["text"].strip("\n") for line in LINES if line["how"] == "text"}
    for language, block in blocks(SEED.read_text(encoding="utf-8")):
        wanted += [block] if language != "bash" or block in texts else commands(block)
    assert [line["text"].strip("\n") for line in LINES] == wanted


def test_whatever_does_not_run_as_it_stands_says_why() -> None:
    assert {line["how"] for line in LINES} == WAYS
    silent = [line["text"] for line in LINES if line["how"] in {"instead", "watch", "stand-in"} and "why" not in line]
    assert silent == []
    assert [line["text"].split()[4] for line in LINES if line["how"] == "instead"] == ["clone"]


@pytest.fixture(scope="module")
def walked(installed: Installed) -> Installed:
    """Everything typed, from the first line after the installation to the last."""
    for number, line in enumerate(LINES):
        if not line.get("before_install"):
            type_line(installed, number)
    return installed


@pytest.mark.parametrize("number", range(len(LINES)), ids=lambda number: LINES[number]["text"].split("\n")[0][:60])
def test_the_line_works(walked: Installed, number: int) -> None:
    line = LINES[number]
    if line["how"] == "text" and "instead" not in line:
        assert LINES[number - 1].get("types") or line["types"] == "conf"
        return
    code, said = walked.answers[number]
    assert code == 0, said
    assert line.get("shows", "") in said


def test_the_database_shows_exactly_the_expected_tables(walked: Installed) -> None:
    said = walked.answers[number_of('psql -U archive_user -d archive_db -c "SELECT tablename FROM')][1]
    assert {line.strip() for line in said.splitlines()[2:-2]} == EXPECTED_TABLES


def test_the_link_survived_the_guides_own_environment(walked: Installed) -> None:
    assert walked.debian.shell(f"readlink {HOME}/.venv").strip() == "hivematrix-archive/venv"
    assert walked.debian.shell(f"{HOME}/scripts/health-check --quiet") == ""


def test_the_guides_unit_ran_the_service_as_hivematrix(walked: Installed) -> None:
    """The unit that the guide has typed in; scripts/install puts the hardened one back."""
    debian = walked.debian
    assert "Type=simple" in debian.read("/etc/systemd/system/archive.service")
    pid = debian.read("/run/standin/archive.service.active").split()[0]
    who = debian.shell(f"ps -o user:20= -p {pid}; readlink /proc/{pid}/cwd; tr '\\0' ' ' < /proc/{pid}/cmdline")
    assert who.split() == ["hivematrix", ARCHIVE, f"{ARCHIVE}/venv/bin/python3", "run.py"]


def test_the_examples_of_tokens_are_refused_by_name(walked: Installed) -> None:
    example = LINES[number_of("FLASK_APP")]["text"]
    walked.debian.shell(f"mv {ARCHIVE}/.flaskenv /srv/kept")
    walked.debian.write(f"{ARCHIVE}/.flaskenv", example, "600")
    said = walked.debian.shell(f"{ARCHIVE}/run.py", code=78)
    walked.debian.shell(f"mv /srv/kept {ARCHIVE}/.flaskenv")
    assert "SERVICE_TOKEN: is the guide's example text" in said
    assert "ADMIN_TOKEN: is the guide's example text" in said


def test_only_the_admin_token_changes_the_schedule(walked: Installed) -> None:
    line = LINES[number_of("curl -X POST")]["text"].replace("curl", "curl -s -o /dev/null -w '%{http_code}'")
    shown = {}
    for name, token in TOKENS.items():
        shown[name] = walked.debian.shell(f"export ADMIN_TOKEN={token}; {line}")
    assert shown == {"your-service-secret-token": "403", "your-admin-secret-token": "200"}


@pytest.mark.parametrize("path", ["/api/scheduler/config", "/api/scheduler/jobs", "/api/snapshots/search?limit=10"])
def test_without_a_token_nothing_is_read(walked: Installed, path: str) -> None:
    """From outside, as a stranger; and with a token nobody gave."""
    answer = walked.debian.shell(f"curl -s -H 'Authorization: Bearer none' 'http://localhost:5012{path}'")
    assert json.loads(answer)["status"] == 401


def test_the_schedule_changed_in_sql_is_what_the_service_says(walked: Installed) -> None:
    sql = "psql -v ON_ERROR_STOP=1 -U archive_user -d archive_db -c"
    walked.debian.shell(f'{sql} "UPDATE scheduled_snapshots SET day_of_month = 3, hour = 4 WHERE id = 1"')
    config = json.loads(walked.debian.shell(f"curl -s {SERVICE} {CONFIG}"))["config"]
    assert (config["day_of_month"], config["hour"]) == (3, 4)
    refused = walked.debian.shell(f'{sql} "UPDATE scheduled_snapshots SET day_of_month = 32 WHERE id = 1"', code=1)
    assert "check" in refused


def test_october_is_sealed_once_for_every_company(walked: Installed) -> None:
    """By the workflow test, by hand for two, and for all: what one did, the next found done."""
    query = "SELECT count(*), count(DISTINCT company_account_number) FROM billing_snapshots WHERE billing_month = 10"
    sealed, companies = walked.debian.sql(query, "archive_db").split("|")
    assert sealed == companies
    assert int(sealed) > 5


def test_the_guides_indexes_stand_beside_ours(walked: Installed) -> None:
    found = walked.debian.sql("SELECT indexname FROM pg_indexes WHERE indexname LIKE 'idx_snapshots_%'", "archive_db")
    assert sorted(found.split()) == ["idx_snapshots_archived", "idx_snapshots_company_date"]


def test_the_firewall_has_both_rules(walked: Installed) -> None:
    rules = walked.debian.shell("ufw show added")
    assert "ufw allow 5012/tcp comment 'Archive Service'" in rules
    assert "ufw allow 'Nginx Full'" in rules


def test_the_guides_backup_script_writes_a_whole_dump(walked: Installed) -> None:
    """What root's crontab would do at three o'clock."""
    assert LINES[number_of("0 3")]["text"] in walked.debian.shell("crontab -l")
    walked.debian.shell(f"{HOME}/backup-archive.sh")
    dump = walked.debian.shell(f"gzip -dc {HOME}/backups/archive_*.sql.gz")
    assert "-- PostgreSQL database dump complete" in dump
    assert "COPY public.billing_snapshots" in dump
    assert "620547-202510" in dump


def test_nginx_with_the_guides_site_answers_for_archive(walked: Installed) -> None:
    name = "archive.yourdomain.com"
    answer = walked.debian.shell(f"curl -sk --resolve {name}:443:127.0.0.1 https://{name}/health")
    assert json.loads(answer) == {"status": "ok", "service": "archive"}


def test_ledgers_conf_reads_as_the_guide_has_it(walked: Installed) -> None:
    conf = configparser.RawConfigParser()
    conf.read_string(walked.debian.read(f"{HOME}/instance/ledger.conf"))
    assert (conf["services"]["codex_url"], conf["services"]["archive_url"]) == (
        "http://localhost:5010",
        "http://localhost:5012",
    )
