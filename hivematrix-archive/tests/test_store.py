"""What the database promises by itself, and that our rows arrive in it as they were meant."""

import os
import subprocess
from contextlib import closing
from datetime import UTC, date, datetime
from decimal import Decimal

import psycopg2
import pytest
from hivematrix_archive.models import db
from hivematrix_archive.services import session
from hivematrix_archive.store import binary
from hivematrix_common.database import copy_rows
from hivematrix_common.postgres import program
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

# Every table of sealed facts, with a column to try.
KEPT = {
    "billing_snapshots": "notes",
    "snapshot_line_items": "amount",
    "archive_data.bodies": "body",
    "archive_data.bodies_2025": "body",
    "archive_data.job_results": "happened",
    "archive_data.idempotency": "body",
    "archive_log.entries": "leaf",
    "archive_log.documents": "body",
    "archive_log.nodes": "hash",
    "archive_log.checkpoints": "note",
}
CHANGES = ("UPDATE {0} SET {1} = {1}", "DELETE FROM {0}", "TRUNCATE {0}")
MONEY = st.decimals(-(10**15), 10**15, places=4, allow_nan=False, allow_infinity=False)


@pytest.fixture
def rows(archive):
    """rows(statement, values) -> what the service's own role gets."""
    return lambda statement, **values: session().execute(text(statement), values).all()


def test_public_holds_exactly_the_four_tables(archive, rows):
    found = rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
    assert [row.tablename for row in found] == [
        "billing_snapshots",
        "scheduled_snapshots",
        "snapshot_jobs",
        "snapshot_line_items",
    ]


def test_the_queries_know_every_column_the_migration_makes(archive, rows):
    columns = "SELECT column_name FROM information_schema.columns WHERE table_name = :name AND table_schema = :schema"
    for table in db.metadata.tables.values():
        found = rows(columns, name=table.name, schema=table.schema or "public")
        assert {row.column_name for row in found} == set(table.c.keys()), table


def test_no_index_of_ours_has_a_name_that_the_guide_gives_to_its_own(archive, rows):
    assert rows("SELECT indexname FROM pg_indexes WHERE indexname LIKE 'idx\\_%'") == []


def test_the_schedule_has_its_one_row(archive, rows):
    [row] = rows("SELECT * FROM scheduled_snapshots")
    assert (row.id, row.enabled, row.day_of_month, row.hour) == (1, True, 1, 2)
    assert (row.snapshot_previous_month, row.snapshot_all_companies, row.account_numbers) == (True, True, None)


def test_every_year_a_period_may_have_has_its_partition(archive, rows):
    for year in (2000, 2014, 2015, 2025, 2050, 2051, 2199):
        session().execute(text("INSERT INTO archive_data.bodies VALUES (:year, 0, '', '', '')"), {"year": year})
        assert rows("SELECT billing_year FROM archive_data.bodies WHERE billing_year = :year", year=year) == [(year,)]


def check_refused(statement, why, **values):
    with pytest.raises(Exception, match=why), session().begin_nested():
        session().execute(text(statement), values)


def test_a_schedule_that_makes_no_sense_is_refused_in_sql_too(archive):
    for column, value in (("id", 2), ("day_of_month", 0), ("day_of_month", 32), ("hour", -1), ("hour", 24)):
        check_refused(f"UPDATE scheduled_snapshots SET {column} = :value", "check constraint", value=value)
    for accounts in ('"x"', '["a b"]', "[1]"):
        check_refused("UPDATE scheduled_snapshots SET account_numbers = :value", "check constraint", value=accounts)


def test_the_services_role_changes_and_removes_nothing_sealed(archive):
    for table, column in KEPT.items():
        for change in CHANGES:
            check_refused(change.format(table, column), "permission denied")
    for table in ("scheduled_snapshots", "snapshot_jobs"):
        check_refused(f"DELETE FROM {table}", "permission denied")
        check_refused(f"TRUNCATE {table}", "permission denied")


def test_the_owner_needs_a_deliberate_act(own_archive, seal, sealing_request):
    seal(own_archive, *(sealing_request(str(number)) for number in range(256)))
    with closing(own_archive.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("INSERT INTO archive_data.job_results VALUES ('j', 1, '1', 'sealed', '', false, '', 1, now())")
        cursor.execute("INSERT INTO archive_data.idempotency VALUES ('c', 'k', 'd', 200, 't', '', now())")
        cursor.execute("INSERT INTO archive_log.documents VALUES (256, '', '')")
        for table, column in KEPT.items():
            for change in CHANGES:
                with pytest.raises(psycopg2.errors.RestrictViolation, match="never changed or removed"):
                    cursor.execute(change.format(table, column))


def test_the_services_role_makes_no_table_beside_the_four(archive):
    with pytest.raises(Exception, match="permission denied"):
        session().execute(text("CREATE TABLE public.more ()"))


def test_a_second_invoice_of_a_company_and_month_is_refused_by_the_database(own_archive, seal, sealing_request):
    seal(own_archive, sealing_request("1"))
    own = {"id": "9", "log_index": "8", "invoice_number": "'x'"}
    columns = [column.name for column in db.metadata.tables["billing_snapshots"].c]
    values = ", ".join(own.get(name, name) for name in columns)
    copy = f"INSERT INTO billing_snapshots ({', '.join(columns)}) SELECT {values} FROM billing_snapshots"
    with pytest.raises(Exception, match="duplicate key"):
        session().execute(text(copy))


def test_the_guides_dump_works_as_the_services_role(own_archive, seal, sealing_request):
    seal(own_archive, sealing_request("1"), sealing_request("2"))
    url = own_archive.settings.database.sqlalchemy_url.replace("+psycopg2", "")
    dumped = subprocess.run(
        [program("pg_dump"), url], capture_output=True, text=True, check=False, env=os.environ | {"PGOPTIONS": ""}
    )
    assert dumped.returncode == 0, dumped.stderr
    assert "620547" not in dumped.stdout
    assert "COPY archive_data.bodies_2025" in dumped.stdout
    assert "1-202510" in dumped.stdout


def test_a_customer_sees_its_own_bills_and_nothing_else(own_archive, seal, sealing_request):
    seal(own_archive, sealing_request("1"), sealing_request("2"))
    session().execute(text("SET LOCAL ROLE archive_client"))
    tables = ("billing_snapshots", "snapshot_line_items", "archive_data.bodies")
    counts = "SELECT " + ", ".join(f"(SELECT count(*) FROM {table})" for table in tables)
    assert session().execute(text(counts)).one() == (0, 0, 0)
    session().execute(text("SET LOCAL hivematrix.account_number = '2'"))
    assert session().execute(text(counts)).one() == (1, 7, 1)
    assert session().execute(text("SELECT company_account_number FROM billing_snapshots")).scalars().all() == ["2"]
    hidden = ("* FROM snapshot_jobs", "* FROM archive_data.bodies_2025", "* FROM archive_data.idempotency")
    for what in (*hidden, "created_by FROM billing_snapshots", "meta FROM archive_data.bodies", "* FROM audit.entries"):
        with pytest.raises(Exception, match="permission denied"), session().begin_nested():
            session().execute(text(f"SELECT {what}"))


@given(
    st.lists(
        st.tuples(
            MONEY,
            st.integers(-(2**63), 2**63 - 1),
            st.dates(date(1, 1, 1), date(9999, 12, 31)),
            st.datetimes(datetime(1900, 1, 1), datetime(9999, 1, 1), timezones=st.just(UTC)),
            st.none() | st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=20),
            st.binary(max_size=20),
        ),
        max_size=5,
    )
)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_in_the_binary_format_arrive_as_they_were(archive, values):
    session().execute(
        text(
            "CREATE TEMPORARY TABLE IF NOT EXISTS given"
            " (n serial, m numeric(20, 4), b bigint, d date, t timestamptz, s text, x bytea)"
        )
    )
    session().execute(text("DELETE FROM given"))
    data = binary.rows(
        (binary.numeric(m), binary.bigint(b), binary.day(d), binary.instant(t), binary.text(s), x)
        for m, b, d, t, s, x in values
    )
    copy_rows(session(), "given", ("m", "b", "d", "t", "s", "x"), data, "FORMAT binary")
    found = session().execute(text("SELECT m, b, d, t, s, x FROM given ORDER BY n"))
    assert [(*row[:5], bytes(row.x)) for row in found] == values


def test_money_at_the_edges_of_its_digits_arrives_as_it_was(archive):
    session().execute(text("CREATE TEMPORARY TABLE money (n serial, m numeric(20, 4))"))
    edges = ["0", "0.0001", "-0.0001", "1", "-1", "9999", "10000", "99999999.9999", "-912.5", "100000000"]
    amounts = [Decimal(edge) for edge in edges]
    copy_rows(session(), "money", ("m",), binary.rows((binary.numeric(one),) for one in amounts), "FORMAT binary")
    found = session().execute(text("SELECT m, m::text FROM money ORDER BY n")).all()
    assert found == [(one, f"{one:.4f}") for one in amounts]
