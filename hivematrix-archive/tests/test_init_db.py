"""init_db.py: an operator makes the archive's database, with and without an administrator's connection."""

import tempfile
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from click.testing import CliRunner
from hivematrix_archive.cli import group
from hivematrix_common import conffile, init_db, migrations
from hivematrix_common.config import conf_path
from hivematrix_common.postgres import Cluster, free_port
from sqlalchemy.engine import make_url

HEAD = migrations.head("hivematrix_archive")


@pytest.fixture(scope="module")
def cluster():
    """A server of its own: roles belong to a server, and here they come and go."""
    with tempfile.TemporaryDirectory(prefix="hm-", ignore_cleanup_errors=True) as folder:
        made = Cluster(Path(folder) / "pg", free_port(), fsync=False)
        with made:
            yield made


@pytest.fixture
def server(cluster):
    """The server as it was on its first day."""
    yield cluster
    with closing(psycopg2.connect(**cluster.conninfo)) as admin:
        admin.autocommit = True
        with admin.cursor() as cursor:
            for database in ("archive_db", "bills"):
                cursor.execute(f"DROP DATABASE IF EXISTS {database} WITH (FORCE)")
            for role in ("archive_user", "archive_owner", "archive_client"):
                cursor.execute(f"DROP ROLE IF EXISTS {role}")


@pytest.fixture
def sql(server):
    """sql(statement, role, password, database): what psql would answer; as the superuser without a role."""

    def run(statement, role=None, password="", database="postgres"):
        login = {"user": role, "password": password} if role else {}
        with closing(psycopg2.connect(**server.conninfo | {"dbname": database} | login)) as connection:
            connection.autocommit = True
            with connection.cursor() as cursor:
                for part in [statement] if isinstance(statement, str) else statement:
                    cursor.execute(part)
                return cursor.fetchall() if cursor.description else None

    return run


@pytest.fixture
def run(home, server, monkeypatch):
    """run(*options, typed="") -> (exit code, stdout, stderr); the server's place is given, and nobody is root."""
    monkeypatch.setattr(init_db, "peer_possible", lambda: False)

    def go(*options, typed="", place=True):
        where = ("--db-host", "127.0.0.1", "--db-port", str(server.port)) if place else ()
        done = CliRunner().invoke(group, ["init-db", *where, *options], input=typed, standalone_mode=False)
        code = done.exception.code if isinstance(done.exception, SystemExit) else done.return_value
        assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
        return code, done.stdout, done.stderr

    return go


@pytest.fixture
def guided(sql):
    """What the guide's psql session leaves: a database, and a user with all rights on it."""
    sql(
        [
            "CREATE DATABASE archive_db",
            "CREATE USER archive_user WITH ENCRYPTED PASSWORD 'your-secure-password'",
            "GRANT ALL PRIVILEGES ON DATABASE archive_db TO archive_user",
        ]
    )
    return "your-secure-password"


TABLES = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1"
FOUR = [("billing_snapshots",), ("scheduled_snapshots",), ("snapshot_jobs",), ("snapshot_line_items",)]


def url_of(home, name):
    return make_url(conffile.read(conf_path(home, name))["database"]["url"])


def test_an_administrators_connection_makes_everything(run, sql, server, home):
    code, _, err = run("--headless", "--admin-url", server.admin_url)
    assert (code, err) == (0, f"archive: schema at {HEAD}\n")
    user, owner = url_of(home, "archive"), url_of(home, "archive-owner")
    assert sql(TABLES, "archive_user", user.password, "archive_db") == FOUR
    row = sql(
        "SELECT enabled, day_of_month, hour FROM scheduled_snapshots", "archive_user", user.password, "archive_db"
    )
    assert row == [(True, 1, 2)]
    assert (owner.username, owner.password != user.password) == ("archive_owner", True)
    for name in ("archive", "archive-owner"):
        assert conf_path(home, name).stat().st_mode & 0o777 == 0o600


def test_repeating_it_changes_nothing(run, server, home):
    run("--headless", "--admin-url", server.admin_url)
    before = [conf_path(home, name).read_text() for name in ("archive", "archive-owner")]
    for options in (("--headless", "--admin-url", server.admin_url), ("--headless",), ("--migrate-only",)):
        assert run(*options, place=False)[0] == 0
    assert [conf_path(home, name).read_text() for name in ("archive", "archive-owner")] == before


def test_what_the_guide_made_is_taken_over_with_its_password(run, sql, server, guided, home):
    assert run("--headless", "--db-password", guided, "--admin-url", server.admin_url)[0] == 0
    assert sql(TABLES, "archive_user", guided, "archive_db") == FOUR
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        sql("CREATE SCHEMA mine", "archive_user", guided, "archive_db")
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        sql("DELETE FROM billing_snapshots", "archive_user", guided, "archive_db")


def test_the_services_role_alone_changes_nothing_and_prints_what_an_administrator_has_to_run(
    run, sql, server, guided, home
):
    """An administrator runs exactly what was printed, and the line that is printed beside it does the rest."""
    code, out, err = run("--headless", "--db-password", guided)
    assert (code, sql(TABLES, database="archive_db")) == (78, [])
    assert sql("SELECT count(*) FROM pg_roles WHERE rolname IN ('archive_owner', 'archive_client')") == [(0,)]
    assert not conf_path(home, "archive").exists()
    assert not conf_path(home, "archive-owner").exists()
    assert "nothing was changed" in err
    sql(out.splitlines())
    owner = err.split("--admin-url ")[1].strip()
    code, _, err = run("--headless", "--db-password", guided, "--admin-url", owner)
    assert (code, err) == (0, f"archive: schema at {HEAD}\n")
    assert sql(TABLES, "archive_user", guided, "archive_db") == FOUR


def test_another_databases_name_is_honoured_and_another_roles_refused(run, sql, server, home):
    assert run("--headless", "--db-name", "bills", "--admin-url", server.admin_url)[0] == 0
    assert sql(TABLES, "archive_user", url_of(home, "archive").password, "bills") == FOUR
    with pytest.raises(AssertionError, match="its roles; the service's is archive_user"):
        run("--headless", "--db-user", "somebody")


@pytest.mark.usefixtures("guided")
@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--headless",), "--db-password or --admin-url"),
        (("--headless", "--db-password", "wrong"), "no connection as archive_user"),
        (("--headless", "--admin-url", "postgresql://postgres:wrong@127.0.0.1:{port}/postgres"), "as administrator"),
    ],
)
def test_no_way_in_is_told_and_leaves_nothing(run, server, home, options, told):
    code, out, err = run(*(part.format(port=server.port) for part in options))
    assert (code, out, told in err) == (1, "", True), err
    assert list((home / "instance").iterdir()) == []


def test_an_operator_is_asked_and_may_try_again(run, sql, server, guided, monkeypatch):
    monkeypatch.setattr("hivematrix_common.init_db._may_ask_again", lambda: True)
    wrong = server.admin_url.replace(server.password, "wrong")
    again = f"\n\n\n{guided}\n{server.admin_url}\n"
    code, _, err = run(typed=f"\n\n\n{guided}\n{wrong}\n{again}")
    assert code == 0, err
    assert "no connection as administrator" in err
    assert sql(TABLES, "archive_user", guided, "archive_db") == FOUR


def test_settings_that_stand_beside_the_connection_stay(run, server, home):
    conffile.set_section(conf_path(home, "archive"), "database", {"statement_timeout_ms": "5000"})
    run("--headless", "--admin-url", server.admin_url)
    assert conffile.read(conf_path(home, "archive"))["database"]["statement_timeout_ms"] == "5000"


def test_migrate_only_asks_nothing_and_needs_the_owner(run, home):
    code, _, err = run("--migrate-only", place=False)
    assert (code, "archive-owner.conf" in err) == (78, True)
