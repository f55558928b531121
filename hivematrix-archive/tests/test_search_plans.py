"""Every named query of search finds its bills through an index, however many others there are."""

from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hivematrix_archive.domain.filter import Filter
from hivematrix_archive.services import session
from hivematrix_archive.store import reading
from hivematrix_archive.store import search as store
from hivematrix_common import database
from hivematrix_common.domain.period import Period
from psycopg2.extras import NamedTupleCursor
from sqlalchemy import event

LARGE = {"billing_snapshots", "snapshot_line_items", "names"}
# 400 companies, 75 months; a bill in a thousand is a credit note.
BILLS = """
INSERT INTO billing_snapshots (id, company_account_number, company_name, invoice_number, billing_year, billing_month,
    invoice_date, due_date, archived_at, billing_plan, total_amount, total_user_charges, total_asset_charges,
    total_backup_charges, total_ticket_charges, total_line_item_charges, total_tax_charges, user_count, asset_count,
    billable_hours, kind, revision, currency, body_sha256, log_index)
SELECT n + 1, a, 'Company ' || md5(a), a || '-' || m, 2018 + m / 12, 1 + m % 12, '2018-01-01', '2018-01-01',
    timestamptz '2018-02-01' + m * interval '1 month', 'Plan ' || n % 7 % 3 || n % 397 / 395, n * 7919 % 100000, 0, 0,
    0, 0, 0, 0, 0, 0, 0, CASE WHEN n % 1000 = 7 THEN 'credit_note' ELSE 'invoice' END, 0, 'USD',
    'sha256:' || repeat('0', 64), n
FROM generate_series(0, 29999) n, LATERAL (SELECT n / 400 AS m, (100000 + n % 400)::text AS a) of
"""
LINES = """
INSERT INTO snapshot_line_items SELECT 1, id, 'asset', 'PC-' || md5(company_account_number), 'Asset: PC-' ||
    md5(company_account_number), 1, 1, 1 FROM billing_snapshots
UNION ALL SELECT 2, id, 'hours', 'Hours', 'Hours (' || id % 977 || ')', 1, 1, 1 FROM billing_snapshots
"""
UNIQUE = "billing_snapshots_company_account_number_billing_year_billi_key"
QUESTIONS = {
    "newest": (Filter(), "billing_snapshots_pkey"),
    "a month": (Filter(year=2020, month=3), "billing_snapshots_period"),
    "an account": (Filter(account_number="100042"), "billing_snapshots_account"),
    "an account's months": (Filter(account_number="100042", from_period=Period(2019, 5)), UNIQUE),
    "days": (
        Filter(since=datetime(2019, 2, 1, tzinfo=UTC), before=datetime(2019, 2, 2, tzinfo=UTC)),
        "billing_snapshots_archived",
    ),
    "amounts": (Filter(min_total=Decimal(99990)), "billing_snapshots_total"),
    "a rare plan": (Filter(plan="Plan 01"), "billing_snapshots_plan"),
    "credit notes": (Filter(kind="credit_note"), "billing_snapshots_credit"),
    "a company's name": (Filter(company="b7704798"), "names_company"),
    "a machine on a line": (Filter(item="PC-b7704798"), "names_line"),
    "anything": (Filter(q="PC-b7704798"), "names_line"),
}


@pytest.fixture
def large(own_archive):
    with closing(own_archive.owner()) as owner, owner.cursor() as cursor:
        cursor.execute(BILLS)
        cursor.execute(LINES)
        cursor.execute("ANALYZE")
        while store.fill(session(), 1000):
            session().commit()
        cursor.execute("ANALYZE")
    return own_archive


def nodes(plan):
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


def plans_of(archive, work):
    """The nodes of the plan of every statement that the work makes."""
    made = []

    def note(_connection, _cursor, statement, parameters, *_others):
        made.append((statement, parameters))

    class Noting(NamedTupleCursor):
        """What goes past SQLAlchemy is noted by the driver's cursor."""

        def execute(self, query, values=None):
            made.append((query, values))
            return super().execute(query, values)

    event.listen(archive.db.engine, "before_cursor_execute", note)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "NamedTupleCursor", Noting)
        work()
    event.remove(archive.db.engine, "before_cursor_execute", note)
    connection = session().connection()
    asked = [(statement, values) for statement, values in made if not statement.startswith("PREPARE")]
    found = [connection.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {s}", p).scalar_one() for s, p in asked]
    return [node for [plan] in found for node in nodes(plan["Plan"])]


@pytest.mark.slow
def test_every_question_is_answered_through_its_index(large):
    for question, (asked, index) in QUESTIONS.items():
        page = plans_of(large, lambda asked=asked: store.Search(session(), asked).page("-sealed", 101))
        count = plans_of(large, lambda asked=asked: store.Search(session(), asked).count())
        scanned = {node["Relation Name"] for node in [*page, *count] if node["Node Type"] == "Seq Scan"}
        assert not scanned & LARGE, question
        assert index in {node.get("Index Name") for node in page}, question


@pytest.mark.slow
def test_a_page_in_another_order_and_one_bill_come_through_their_index(large):
    beyond = store.place(session(), Filter(), "-period", 15_000)
    later = plans_of(large, lambda: store.Search(session(), Filter()).page("-period", 101, beyond=beyond))
    assert "billing_snapshots_period" in {node.get("Index Name") for node in later}
    beyond = store.place(session(), Filter(), "total", 15_000)
    later = plans_of(large, lambda: store.Search(session(), Filter()).page("total", 101, beyond=beyond))
    assert "billing_snapshots_total" in {node.get("Index Name") for node in later}
    newest = plans_of(large, lambda: store.newest(session()))
    assert {node["Node Type"] for node in newest if node.get("Relation Name") == "billing_snapshots"} == {"Index Scan"}


@pytest.mark.slow
def test_only_what_is_told_is_looked_up(large):
    for read in (reading.body, reading.snapshot, reading.csv):
        one = plans_of(large, lambda read=read: read(session(), "100042-50"))
        assert "billing_snapshots_invoice_number_key" in {node.get("Index Name") for node in one}
        years = {node["Relation Name"] for node in one if node.get("Relation Name", "").startswith("bodies_")}
        assert years == {"bodies_2022"}, "all years were looked through for one bill"
    by_amount = store.Search(session(), Filter(min_total=Decimal(1000), max_total=Decimal(3000)))
    bills = plans_of(large, lambda: by_amount.documents("-sealed", 11))
    assert "Seq Scan" not in {node["Node Type"] for node in bills}
    told, rows = by_amount.documents("-sealed", 11), by_amount.page("-sealed", 11)
    assert [row.id for row in told] == [row.id for row in rows]
