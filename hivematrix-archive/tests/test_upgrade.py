"""A filled database of an earlier release is brought to today's schema: nothing is lost, and sealing goes on."""

from contextlib import closing
from dataclasses import replace
from io import BytesIO
from types import SimpleNamespace

import psycopg2
import pytest
from alembic.script import ScriptDirectory
from hivematrix_archive.app import create_app
from hivematrix_archive.services import engine, history, schedule, session, verify
from hivematrix_common import migrations
from hivematrix_common.domain.period import Period
from sqlalchemy import create_engine

PACKAGE = "hivematrix_archive"
OLDER = [script.revision for script in ScriptDirectory.from_config(migrations._config(PACKAGE)).walk_revisions()][:0:-1]
COLUMNS = """
    SELECT format('%I.%I', c.table_schema, c.table_name), string_agg(quote_ident(c.column_name), ', ' ORDER BY 1)
    FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
    LEFT JOIN pg_inherits i ON i.inhrelid = format('%I.%I', c.table_schema, c.table_name)::regclass
    WHERE c.table_schema IN ('public', 'archive_data', 'archive_log', 'audit') AND t.table_type = 'BASE TABLE'
        AND i.inhrelid IS NULL
    GROUP BY c.table_schema, c.table_name
"""
SERIAL = """
    SELECT format('%I.%I', table_schema, table_name), column_name FROM information_schema.columns
    WHERE is_identity = 'YES' AND table_schema IN ('archive_log', 'audit')
"""


def rows(cursor, sql):
    cursor.execute(sql)
    return cursor.fetchall()


def fill(source, target):
    """Every row of `source` that a table and columns of the older schema can hold, as the older release wrote it."""
    with source.cursor() as old, target.cursor() as new:
        new.execute("DELETE FROM scheduled_snapshots")
        for table, columns in rows(new, COLUMNS):
            data = BytesIO()
            old.copy_expert(f"COPY (SELECT {columns} FROM {table}) TO STDOUT", data)
            data.seek(0)
            new.copy_expert(f"COPY {table} ({columns}) FROM STDIN", data)
        for table, column in rows(new, SERIAL):
            new.execute(f"SELECT setval(pg_get_serial_sequence('{table}', '{column}'), max({column})) FROM {table}")


@pytest.fixture
def filled(own_archive, seal, sealing_request):
    """Bills of two months under several checkpoints, a changed schedule, and a job that is done."""
    for period in ("2025-09", "2025-10"):
        seal(own_archive, *(sealing_request(account, period) for account in ("183729", "620547")))
    schedule.change(session(), {"day_of_month": 31, "hour": 5})
    schedule.order(session(), Period(2025, 11), ["183729"], "maya")
    session().commit()
    return own_archive


@pytest.fixture
def older(postgres, filled):
    """older(revision) -> the owner's connection to the database as that release left it."""
    made = []

    def make(revision):
        made.append(f"archive_at_{revision}")
        with closing(postgres.admin()) as admin, admin.cursor() as cursor:
            cursor.execute(f"CREATE DATABASE {made[-1]} OWNER archive_owner")
        url = postgres.url("archive_owner", made[-1])
        migrations.upgrade(url, PACKAGE, revision)
        plain = url.replace("+psycopg2", "")
        with closing(psycopg2.connect(plain)) as target, closing(filled.owner()) as source:
            fill(source, target)
            target.commit()
        return url

    yield make
    for database in made:
        postgres.drop(database)


@pytest.mark.parametrize("revision", OLDER)
def test_a_filled_database_of_an_earlier_release(filled, older, seal, sealing_request, revision):
    owner, outside = older(revision), filled.app.extensions["hivematrix_outside"]
    before = [history.page(session(), 10, 0, None)["jobs"], schedule.read(session())]
    assert migrations.upgrade(owner, PACKAGE) == migrations.head(PACKAGE)
    where = replace(filled.settings.database, url=owner.replace("archive_owner", "archive_user"))
    upgraded = create_app(replace(filled.settings, database=where))
    with upgraded.app_context():
        assert [history.page(session(), 10, 0, None)["jobs"], schedule.read(session())] == before
        assert verify.verify(engine(), outside, lambda *_: None).entries == 4
        made = seal(SimpleNamespace(app=upgraded, settings=upgraded.settings), sealing_request("9"))
        assert [one.fresh for one in made] == [True]
        assert verify.verify(engine(), outside, lambda *_: None).entries == 5
        session().remove()
        engine().dispose()


@pytest.mark.parametrize("revision", OLDER)
def test_an_upgrade_that_fails_leaves_the_database_as_it_was(older, revision, monkeypatch):
    """It is one transaction: the release before goes on with what it had."""
    url = older(revision)
    monkeypatch.setattr("alembic.op.execute", lambda statement: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        migrations.upgrade(url, PACKAGE)
    with create_engine(url).connect() as connection:
        assert migrations.current(connection) == revision
