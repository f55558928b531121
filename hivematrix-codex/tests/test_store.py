import psycopg2
import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from hivematrix_codex.models import db
from hivematrix_codex.store import billing, lists
from hivematrix_codex.store.lists import Wanted
from hivematrix_common.domain.period import Period
from sqlalchemy import text


def test_the_models_name_what_the_migration_made(codex):
    options = {"compare_type": False, "include_object": lambda _o, _n, kind, *_: kind in {"table", "column"}}
    context = MigrationContext.configure(codex.db.session.connection(), opts=options)
    assert compare_metadata(context, db.metadata) == []


@pytest.mark.parametrize(
    "statement",
    [
        "DELETE FROM companies",
        "TRUNCATE time_entries",
        "ALTER TABLE companies ADD COLUMN x int",
        "CREATE TABLE mine (x int)",
    ],
)
def test_the_services_role_deletes_nothing_and_changes_no_table(filled, statement):
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        filled.db.session.connection().connection.cursor().execute(statement)


def test_a_customers_person_sees_the_own_company_alone(filled):
    session = filled.db.session
    session.execute(text("SET LOCAL ROLE codex_client"))
    assert session.scalar(text("SELECT count(*) FROM companies")) == 0
    session.execute(text("SET LOCAL hivematrix.account_number = '183729'"))
    assert session.scalars(text("SELECT account_number FROM companies")).all() == ["183729"]
    assert session.scalars(text("SELECT uid FROM contacts")).all() == ["c3"]
    assert session.scalars(text("SELECT uid FROM time_entries")).all() == ["e3"]
    with pytest.raises(psycopg2.errors.InsufficientPrivilege):
        session.connection().connection.cursor().execute("SELECT * FROM plan_versions")


@pytest.mark.parametrize(
    ("change", "constraint"),
    [
        ("UPDATE time_entries SET hours = -1", "unsigned_decimal_check"),
        ("UPDATE assets SET billing_type = 'Laptop'", "assets_billing_type_check"),
        ("UPDATE assets SET backup_bytes = -1", "assets_backup_bytes_check"),
        ("UPDATE companies SET contract_term = '1-Year'", "companies_contract_term_check"),
        ("UPDATE companies SET currency = 'usd'", "companies_currency_check"),
        ("UPDATE contacts SET active_from = '2026-01-01'", "contacts_check"),
        ("UPDATE contacts SET account_number = '9'", "contacts_account_number_fkey"),
        ("UPDATE plan_versions SET count_policy = 'x'", "plan_versions_count_policy_check"),
    ],
)
def test_the_database_refuses_what_the_rules_forbid(filled, change, constraint):
    with pytest.raises(psycopg2.IntegrityError) as refused:
        filled.db.session.connection().connection.cursor().execute(change)
    assert refused.value.diag.constraint_name == constraint


def plan_of(session, query, values):
    return "\n".join(session.scalars(text(f"EXPLAIN {query}"), values).all())


def test_billing_inputs_walk_indexes_however_large_the_tables_are(filled):
    session = filled.db.session
    session.execute(text("SET LOCAL enable_seqscan = off"))
    since, last = Period(2024, 11).first, Period(2025, 10).last
    values = {"cursor": "", "limit": 500, "every": True, "accounts": [], "since": since, "last": last}
    billing.INPUTS_OF_ONE.on(session.connection(), "620547", since, last)
    one = plan_of(session, f"EXECUTE billing_inputs_of_one ('620547', '{since}', '{last}')", {})
    for plan in (plan_of(session, billing.INPUTS_OF_PAGE.text, values), one):
        for index in ("companies_pkey", "contacts_account", "assets_account", "time_entries_"):
            assert index in plan
        assert "Seq Scan" not in plan.replace("Seq Scan on plan_versions", "")


def test_a_part_of_a_companys_name_is_found_by_its_index(filled):
    session = filled.db.session
    session.execute(text("SET LOCAL enable_seqscan = off"))
    assert "companies_name" in plan_of(session, "SELECT 1 FROM companies WHERE name ILIKE '%abrik%'", {})


@pytest.mark.parametrize(("total", "shown", "exact"), [(10_000, 10_000, True), (10_001, 10_000, False)])
def test_a_search_counts_exactly_up_to_ten_thousand(filled, total, shown, exact):
    insert = "INSERT INTO companies (account_number, name, contract_term, status)"
    insert += f" SELECT n::text, 'Many', 'Month to Month', 'active' FROM generate_series(1, {total}) n"
    filled.db.session.execute(text(insert))
    connection = filled.db.session.connection()
    page = lists.page(connection, Wanted("companies", {"search": "many"}, limit=1))
    assert (page.total, page.total_exact) == (shown, exact)
    assert lists.page(connection, Wanted("companies", {}, limit=1)).total == total + 2
