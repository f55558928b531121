"""init_db.py: an operator makes the archive's database, with and without an administrator's connection."""

import re
import tempfile
from contextlib import closing
from pathlib import Path

import psycopg2
import pytest
from click.testing import CliRunner
from hivematrix_archive.cli import group
from hivematrix_common import conffile, init_db, migrations, provision
from hivematrix_common.config import conf_path
from hivematrix_common.postgres import Cluster, free_port
from hivematrix_common.provision import Roles, statements
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
            for role in ("archive_user", "archive_owner", "archive_client", "poor"):
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
    monkeypatch.setattr(init_db, "peer_url", lambda _port: None)

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


def test_a_role_without_the_rights_is_told_what_an_administrator_has_to_run(run, sql, server, home):
    """Here nobody knows a password of the service yet: the line that is printed holds the one of the SQL."""
    sql("CREATE ROLE poor LOGIN PASSWORD 'poor'")
    code, out, err = run("--headless", "--admin-url", f"postgresql://poor:poor@127.0.0.1:{server.port}/postgres")
    assert (code, "permission denied to create role" in err) == (78, True)
    sql(out.splitlines())
    password, owner = re.findall(r"--(?:db-password|admin-url) (\S+)", err)
    assert run("--headless", "--db-password", password, "--admin-url", owner)[0] == 0
    assert sql(TABLES, "archive_user", password, "archive_db") == FOUR


@pytest.mark.parametrize("done", [1, 3, 4, 7])
def test_what_was_cut_short_among_its_statements_is_completed_by_the_next(run, sql, server, home, done):
    """The passwords of the first run are lost with it."""
    with closing(psycopg2.connect(**server.conninfo)) as seen_by:
        made = [one.as_string(seen_by) for one in statements(seen_by, Roles("archive", "lost", "lost"))]
    sql(made[:done])
    assert run("--headless", "--admin-url", server.admin_url)[0] == 0
    assert sql(TABLES, "archive_user", url_of(home, "archive").password, "archive_db") == FOUR


def test_what_was_cut_short_before_the_services_connection_was_kept_is_not_taken_for_done(run, server, home):
    assert run("--headless", "--admin-url", server.admin_url)[0] == 0
    conf_path(home, "archive").unlink()
    code, _, err = run("--headless")
    assert (code, "the password of archive_user is not known" in err) == (1, True)
    assert run("--headless", "--admin-url", server.admin_url)[0] == 0
    assert run("--headless")[0] == 0


def test_root_is_the_administrator_of_the_server_it_means_and_of_no_other(tmp_path, monkeypatch):
    """On this machine's sockets: two servers may run, and only one listens at the port."""
    monkeypatch.setattr(provision, "SOCKETS", tmp_path)
    monkeypatch.setattr(provision, "SYSTEM_USER", "root")
    monkeypatch.setattr("os.geteuid", lambda: 0)
    (tmp_path / ".s.PGSQL.5433").touch()
    assert provision.peer_url(5432) is None
    assert provision.peer_url(5433) == f"postgresql://root@/root?host={tmp_path}&port=5433"
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert provision.peer_url(5433) is None


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
