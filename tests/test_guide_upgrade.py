"""scripts/upgrade and scripts/uninstall on the machine that holds a sealed month: forward, back, away, and gone."""

import os
from pathlib import Path

import pytest
from debian import HOME, INSTALL_OPTIONS, Debian, Installed

pytestmark = [
    pytest.mark.mesh,
    pytest.mark.skipif("PROOF_DEBIAN" not in os.environ, reason="takes ten minutes: scripts/prove install runs it"),
]
SERVICES = ("codex", "ledger", "archive", "helm")
HELM = f"{HOME}/.venv/bin/hivematrix-helm"
BILLS = "SELECT count(*), sum(total_amount) FROM billing_snapshots"
COUNTS = """
SELECT string_agg(schemaname || '.' || relname || ' ' || (xpath('/row/c/text()', query_to_xml(
    format('SELECT count(*) AS c FROM %I.%I', schemaname, relname), false, true, '')))[1]::text, E'\\n' ORDER BY 1)
FROM pg_stat_user_tables WHERE schemaname <> 'migrations'"""
# A release that follows this one: one more table in Ledger.
MIGRATION = '''"""What the next release keeps."""

from alembic import op

revision = "{next}"
down_revision = "{newest}"


def upgrade() -> None:
    op.execute("{up}")


def downgrade() -> None:
    op.execute("DROP TABLE next_release")
'''
UP = "CREATE TABLE next_release (id bigint PRIMARY KEY); GRANT SELECT ON next_release TO ledger_user"
VERSIONS = "hivematrix-ledger/hivematrix_ledger/migrations/versions"


@pytest.fixture(scope="module")
def debian(installed: Installed) -> Debian:
    """With October sealed, as the guide's lines leave it."""
    seal = f"{HOME}/hivematrix-archive/scheduled_snapshots.py --year 2025 --month 10 --all"
    installed.debian.shell(seal, user="hivematrix")
    return installed.debian


@pytest.fixture(scope="module")
def schema(installed: Installed) -> str:
    """Ledger's newest schema in this release."""
    names = installed.debian.shell(f"ls {HOME}/{VERSIONS}").split()
    return max(Path(name).stem.partition("_")[0] for name in names if name[0].isdigit())


def sealed(debian: Debian) -> str:
    found = debian.sql(BILLS, "archive_db")
    assert int(found.split("|")[0]) > 0
    return found


def counts(debian: Debian, service: str) -> dict[str, str]:
    return dict(line.split() for line in debian.sql(COUNTS, f"{service}_db").splitlines())


def release(debian: Debian, schema: str, up: str = UP) -> str:
    """A next release at the place updates are pulled from; its commit."""
    text = MIGRATION.format(next=f"{int(schema) + 1:04}", newest=schema, up=up)
    debian.shell("rm -rf /srv/next && git clone -q /srv/hivematrix.git /srv/next")
    debian.write(f"/srv/next/{VERSIONS}/{int(schema) + 1:04}_next.py", text)
    author = "-c user.name=Release -c user.email=release@example.com"
    line = f"git add -A && git {author} commit -q --allow-empty -m 'Next release' && git push -qf origin HEAD"
    return debian.shell(f"{line} && git rev-parse HEAD", cwd="/srv/next").strip()


def backup(debian: Debian) -> str:
    """Where this release can make backups, it makes one before it is left."""
    known = debian.run("runuser", "-u", "hivematrix", "--", HELM, "backup", "--help", code=None).returncode == 0
    return "" if known else "--no-backup"


@pytest.mark.parametrize("service", SERVICES)
def test_the_schema_before_is_a_way_back_that_keeps_its_rows(debian, service):
    """One step down and up again on a filled database: what the older release has tables for is all still there."""
    init_db = f"{HOME}/hivematrix-{service}/init_db.py --migrate-only"
    names = sorted(debian.shell(f"ls {HOME}/hivematrix-{service}/hivematrix_{service}/migrations/versions").split())
    *_, before, newest = [name.partition("_")[0] for name in names if name[0].isdigit()]
    debian.shell("systemctl stop hivematrix.target")
    full = counts(debian, service)
    assert f"schema at {before}" in debian.shell(f"{init_db} --to {before}", user="hivematrix")
    lower = counts(debian, service)
    assert {name: full[name] for name in lower if name in full} == {name: lower[name] for name in lower if name in full}
    assert f"schema at {newest}" in debian.shell(init_db, user="hivematrix")
    assert set(counts(debian, service)) == set(full)


def test_a_schema_that_nobody_knows_is_refused(debian):
    said = debian.shell(f"{HOME}/hivematrix-ledger/init_db.py --migrate-only --to 9999", user="hivematrix", code=2)
    assert "there is no revision 9999; there are 0001, " in said


def test_without_a_backup_nothing_is_changed(debian, schema):
    debian.shell(f"{HOME}/scripts/install")
    release(debian, schema)
    before = debian.shell(f"git -C {HOME} rev-parse HEAD", user="hivematrix")
    debian.shell(
        f"mv {HELM} {HELM}.kept && printf '#!/bin/sh\\necho disk full >&2; exit 1\\n' > {HELM} && chmod +x {HELM}"
    )
    said = debian.shell(f"{HOME}/scripts/upgrade", code=1)
    debian.shell(f"mv {HELM}.kept {HELM}")
    assert "disk full" in said
    assert debian.shell(f"git -C {HOME} rev-parse HEAD", user="hivematrix") == before
    assert debian.shell(f"{HOME}/scripts/health-check --quiet") == ""


def test_an_upgrade_moves_code_and_schemas_and_keeps_every_bill(debian, schema):
    bills, target = sealed(debian), release(debian, schema)
    dry = debian.shell(f"{HOME}/scripts/upgrade --dry-run")
    assert f"would do  checkout at {target[:12]}" in dry
    said = debian.shell(f"{HOME}/scripts/upgrade {backup(debian)}")
    assert f"doing     schema of ledger: at {schema}, this release needs {int(schema) + 1:04}" in said
    assert debian.shell(f"git -C {HOME} rev-parse HEAD", user="hivematrix").strip() == target
    assert debian.sql("SELECT count(*) FROM next_release", "ledger_db") == "0"
    assert sealed(debian) == bills
    assert debian.shell(f"{HOME}/scripts/health-check --quiet") == ""


def test_the_same_line_again_has_nothing_to_do(debian):
    assert "0 steps done" in debian.shell(f"{HOME}/scripts/upgrade --no-backup")


def test_back_is_the_release_before_with_its_schema_and_every_bill(debian, schema):
    bills = sealed(debian)
    said = debian.shell(f"{HOME}/scripts/upgrade --back")
    assert f"doing     schema of ledger: at {int(schema) + 1:04}, the release before had {schema}" in said
    assert debian.sql("SELECT to_regclass('next_release') IS NULL", "ledger_db") == "t"
    assert sealed(debian) == bills
    assert debian.shell(f"{HOME}/scripts/health-check --quiet") == ""
    assert "every bill" not in debian.shell(f"{HOME}/.venv/bin/hivematrix-archive verify", user="hivematrix")


def test_a_release_that_cannot_be_installed_says_so_and_the_way_back_is_open(debian, schema):
    release(debian, schema, up="SELECT broken")
    said = debian.shell(f"{HOME}/scripts/upgrade --no-backup", code=1)
    assert 'column "broken" does not exist' in said
    assert "scripts/upgrade --back" in said
    debian.shell(f"{HOME}/scripts/upgrade --back")
    assert debian.shell(f"{HOME}/scripts/health-check --quiet") == ""


def test_changes_of_ones_own_are_not_run_over(debian):
    debian.shell(f"echo >> {HOME}/README.md", user="hivematrix")
    said = debian.shell(f"{HOME}/scripts/upgrade --no-backup", code=1)
    debian.shell(f"git -C {HOME} checkout -q README.md", user="hivematrix")
    assert "README.md" in said


def test_uninstalling_takes_the_programs_and_keeps_the_bills(debian):
    bills = sealed(debian)
    debian.shell(f"{HOME}/scripts/uninstall")
    assert debian.shell("ls /etc/systemd/system | grep -E 'hivematrix|codex|ledger|archive|helm'", code=1) == ""
    assert debian.shell("grep -rl hivematrix /etc/nginx /etc/postgresql /etc/systemd ~root/.pgpass", code=1) == ""
    debian.shell("nginx -t -q")
    assert sealed(debian) == bills
    assert debian.shell(f"{HOME}/scripts/uninstall").splitlines()[-1] == "0 steps done"
    debian.shell(f"{HOME}/scripts/install {INSTALL_OPTIONS}")
    assert sealed(debian) == bills
    assert debian.shell(f"{HOME}/scripts/health-check --quiet") == ""


def test_data_goes_only_when_somebody_types_it(debian):
    said = debian.shell(f"{HOME}/scripts/uninstall --delete-data", typed="yes\n", code=2)
    assert "nothing was deleted" in said
    sealed(debian)
    debian.shell(f"{HOME}/scripts/uninstall --delete-data", typed="delete\n")
    assert debian.shell(f"ls -d {HOME}; getent passwd hivematrix", code=2).count("hivematrix") == 1
    assert debian.sql("SELECT count(*) FROM pg_database WHERE datname LIKE '%_db'") == "0"
    assert debian.sql("SELECT count(*) FROM pg_roles WHERE rolname ~ '^(codex|ledger|archive|helm)_'") == "0"
