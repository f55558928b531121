"""Search: it finds exactly what looking at every bill finds, in every order, however far its names are filled."""

import csv
import os
import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from io import StringIO
from typing import get_args

import pytest
from hivematrix_archive.domain.filter import Filter, Sort, turned
from hivematrix_archive.services import indexing, session
from hivematrix_archive.services import search as use_case
from hivematrix_archive.store import naming
from hivematrix_archive.store import search as store
from hivematrix_common import tables
from hivematrix_common.domain.period import Period
from sqlalchemy import text

ACCOUNTS = ("183729", "620547", "7", "A1")
COMPANIES = {"183729": "Harborline Logistics", "620547": "Contoso & Söhne GmbH", "7": "100 % Dental_Care", "A1": "Oak"}
MACHINES = ("SW-HLL-09", "SW-HLL-90", "WS 1", "srv1", "Größe", "50%_off", "\\path")
EVERYTHING = 1000


def bills(seed, sealing_request, months=6):
    """What four companies are billed in half a year: machines come, go and come back, one company is renamed."""
    chance, requests = random.Random(seed), []
    for month in range(months):
        for account in ACCOUNTS:
            name = "Oak & Sons" if account == "A1" and month > 2 else COMPANIES[account]
            rows = [("asset", machine, "1", "15", "15.00") for machine in MACHINES if chance.random() < 0.6]
            hours = chance.randint(1, 9)
            rows.append(("hours", f"Hours {chance.randint(1, 9)}", str(hours), "10", f"{hours * 10}.00"))
            plan = chance.choice(["Gold", "Silver"])
            period = str(Period(2025, 4).plus(month))
            requests.append(sealing_request(account, period, rows, company_name=name, billing_plan=plan))
    return requests


@pytest.fixture
def half_a_year(archive, seal, sealing_request):
    """Bills of April to September, each month sealed by itself."""
    requests = bills(1, sealing_request)
    for start in range(0, len(requests), len(ACCOUNTS)):
        outcomes = seal(archive, *requests[start : start + len(ACCOUNTS)])
        assert all(outcome.fresh for outcome in outcomes), outcomes
    archive.requests = requests
    return archive


def fill(most=EVERYTHING):
    return session().execute(text("SELECT archive_search.fill(:most)"), {"most": most}).scalar_one()


def numbers(asked, sort="-sealed", **page):
    return [row.invoice_number for row in store.Search(session(), asked).page(sort, EVERYTHING, **page)]


def looked_at(asked, requests):
    """The numbers of the bills that fit, by looking at each."""
    return {r["body"]["invoice_number"] for r in requests if fits(asked, r["body"])}


def fits(asked, body):
    amount, period = Decimal(body["totals"]["total"]), Period.parse(body["period"])
    lines = [text.casefold() for line in body["lines"] for text in (line["name"], line["description"])]
    company, q = body["company_name"].casefold(), (asked.q or "").casefold()
    return all(
        (
            asked.account_number in (None, body["account_number"]),
            asked.company is None or asked.company.casefold() in company or asked.company == body["account_number"],
            asked.from_period is None or asked.from_period <= period,
            asked.to_period is None or asked.to_period >= period,
            asked.month in (None, period.month),
            asked.min_total is None or asked.min_total <= amount,
            asked.max_total is None or asked.max_total >= amount,
            asked.plan in (None, body["billing_plan"]),
            asked.kind in (None, body["kind"]),
            asked.item is None or any(asked.item.casefold() in line for line in lines),
            asked.q is None
            or q in company
            or any(q in line for line in lines)
            or asked.q == body["account_number"]
            or ("-" in q and body["invoice_number"].startswith(asked.q)),
        )
    )


QUESTIONS = [
    Filter(),
    *(
        Filter(item=part)
        for part in ("sw-hll-09", "HLL", "w", "größe", "%", "_", "\\", "asset: ws 1", "nobody", "hours 3")
    ),
    *(Filter(company=part) for part in ("oak", "Oak & Sons", "7", "183729", "söhne", "%", "ben")),
    *(Filter(q=part) for part in ("SW-HLL-09", "oak", "7", "A1-2025", "620547-202504", "a", "A1-202504-C1")),
    Filter(item="srv1", company="oak"),
    Filter(item="srv1", account_number="7"),
    Filter(item="SW", q="Harborline", kind="invoice"),
    Filter(from_period=Period(2025, 5), to_period=Period(2025, 7)),
    Filter(from_period=Period(2025, 5), item="SW-HLL-09"),
    Filter(month=6),
    Filter(month=6, account_number="A1"),
    Filter(min_total=Decimal(60), max_total=Decimal(100)),
    Filter(plan="Silver", item="Größe", min_total=Decimal(50)),
    Filter(kind="credit_note"),
]


@pytest.mark.parametrize("steps", [(), (5,), (7, 7, 7), (1,) * 24, (EVERYTHING,)], ids=str)
@pytest.mark.parametrize("few", [0, 3, 200])
def test_it_finds_what_looking_at_every_bill_finds(half_a_year, monkeypatch, steps, few):
    """However far the names are filled, and whichever way is taken: by name, through the next bills, through all."""
    monkeypatch.setattr(naming, "FEW", few)
    monkeypatch.setattr(store, "NEAR", 1)
    for most in steps:
        assert fill(most) == min(most, 24)
    for asked in QUESTIONS:
        expected = looked_at(asked, half_a_year.requests)
        assert set(numbers(asked)) == expected, asked
        assert len(numbers(asked)) == len(expected), asked
        assert store.Search(session(), asked).count() == (len(expected), True), asked


@pytest.mark.parametrize("sort", get_args(Sort))
@pytest.mark.parametrize(
    "asked", [Filter(), Filter(item="SW"), Filter(q="oak"), Filter(since=datetime(2025, 1, 1, tzinfo=UTC))]
)
def test_pages_follow_each_other_in_every_order(half_a_year, sort, asked):
    """Each page begins where the one before ended; backwards they are the same pages."""
    fill(10)
    search, whole = store.Search(session(), asked), numbers(asked, sort)
    assert whole == sorted(whole, key=dict(zip(whole, range(len(whole)), strict=True)).get)
    seen, beyond = [], None
    while rows := search.page(sort, 5, beyond=beyond):
        seen += [row.invoice_number for row in rows]
        beyond = store.place(session(), asked, sort, rows[-1].id)
    assert seen == whole
    assert numbers(asked, turned(sort)) == whole[::-1]
    assert numbers(asked, sort, offset=3) == whole[3:]


def test_orders_are_what_they_are_called(half_a_year):
    rows = store.Search(session(), Filter()).page("-total", EVERYTHING)
    assert [row.total_amount for row in rows] == sorted((row.total_amount for row in rows), reverse=True)
    rows = store.Search(session(), Filter()).page("period", EVERYTHING)
    assert [(row.billing_year, row.billing_month) for row in rows] == sorted(
        (r.billing_year, r.billing_month) for r in rows
    )


def test_a_name_stands_once_for_as_long_as_bills_bear_it(archive, seal, sealing_request):
    """Filled bill by bill or at once: the same rows."""
    for month, machines in (("2025-04", "AB"), ("2025-05", "AB"), ("2025-06", "B"), ("2025-07", "AB")):
        rows = [("asset", name, "1", "15", "15.00") for name in machines]
        seal(archive, sealing_request("7", month, rows, company_name="Oak"))
    for most in (1, 1, 1, 1):
        fill(most)
    stepwise = names_now()
    assert stepwise == {
        ("7", "company", "Oak", 1, None),
        ("7", "line", "asset: A", 1, 3),
        ("7", "line", "asset: A", 4, None),
        ("7", "line", "asset: B", 1, None),
    }
    assert stepwise == names_made_anew()
    assert fill() == 0


def names_now():
    return {
        tuple(row)
        for row in session().execute(text("SELECT account_number, what, name, since, until FROM archive_search.names"))
    }


def names_made_anew():
    """What all bills up to the last one filled say."""
    made = """SELECT account, what, name, since, until FROM archive_search.runs(
        ARRAY (SELECT id FROM billing_snapshots WHERE id <= (SELECT upto FROM archive_search.filled)))"""
    return {tuple(row) for row in session().execute(text(made))}


@pytest.mark.parametrize("steps", [(1,) * 24, (5, 1, 9, 9), (EVERYTHING,)], ids=str)
def test_filling_in_any_steps_leads_to_the_same_names(half_a_year, steps):
    for most in steps:
        fill(most)
        assert names_now() == names_made_anew()


def test_months_are_counted_beforehand_and_those_sealed_since_are_added(half_a_year):
    fill(6)
    assert session().execute(text("SELECT sum(documents) FROM archive_search.months")).scalar_one() == 6
    assert store.Search(session(), Filter(month=4, year=2025)).count() == (4, True)
    assert store.Search(session(), Filter(from_period=Period(2025, 5))).count() == (20, True)


def test_names_that_are_erased_from_bills_are_erased_here_too(own_archive, seal, sealing_request):
    seal(own_archive, sealing_request("7", company_name="Oak"), sealing_request("8", company_name="Elm"))
    fill()
    session().commit()
    with closing(own_archive.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("ALTER TABLE billing_snapshots DISABLE TRIGGER never_changed")
        cursor.execute("UPDATE billing_snapshots SET company_name = '' WHERE company_account_number = '7'")
        cursor.execute("SELECT archive_search.refill('7')")
    assert store.Search(session(), Filter(company="Oak")).count() == (0, True)
    assert store.Search(session(), Filter(company="Elm")).count() == (1, True)
    assert store.Search(session(), Filter(item="WS1")).count() == (2, True)


def test_erasing_takes_turns_with_filling(own_archive, seal, sealing_request):
    """What a filling that is under way ends of a name is ended after the erasure too."""
    machine = [("asset", "A", "1", "15", "15.00")]
    seal(own_archive, sealing_request("7", "2025-08", machine))
    fill()
    session().commit()
    seal(own_archive, sealing_request("7", "2025-09"), sealing_request("7", "2025-10"))
    with closing(own_archive.owner()) as owner, owner.cursor() as cursor, ThreadPoolExecutor(1) as pool:
        fill(1)
        erasing = pool.submit(cursor.execute, "SELECT archive_search.refill('7')")
        wait_until_blocked(own_archive)
        session().commit()
        erasing.result()
    assert names_now() == names_made_anew()


def wait_until_blocked(archive):
    """Until somebody waits for a lock."""
    waiting = text("SELECT count(*) FROM pg_locks WHERE NOT granted")
    while True:
        with archive.db.engine.connect() as connection:
            if connection.execute(waiting).scalar_one():
                return


FILL = """
import sys
from hivematrix_archive.app import create_app
from hivematrix_archive.services import indexing
indexing.AT_ONCE = 3
app = create_app()
with app.app_context():
    indexing.Indexing(app).fill()
"""


@pytest.mark.parametrize("failpoint", ["search-fill", "search-fill@2", "search-filled", "search-filled@5", "none"])
def test_a_filler_that_is_killed_leaves_every_search_right(own_archive, seal, sealing_request, failpoint):
    requests = bills(2, sealing_request)
    seal(own_archive, *requests)
    done = subprocess.run(
        [sys.executable, "-c", FILL], env=os.environ | {"HIVEMATRIX_FAILPOINT": f"{failpoint}=kill"}, check=False
    )
    assert done.returncode == (0 if failpoint == "none" else -signal.SIGKILL)
    assert names_now() == names_made_anew()
    for asked in QUESTIONS:
        assert set(numbers(asked)) == looked_at(asked, requests), asked
    session().rollback()
    indexing.Indexing(own_archive.app).fill()
    assert session().execute(text("SELECT upto FROM archive_search.filled")).scalar_one() == len(requests)
    assert names_now() == names_made_anew()


def test_two_fillers_take_turns(own_archive, seal, sealing_request):
    """The second waits for the first and goes on where it ended."""
    seal(own_archive, *bills(3, sealing_request))
    with ThreadPoolExecutor(4) as pool:
        engine = own_archive.db.engine
        taken = sum(pool.map(lambda _: fill_by_itself(engine), range(12)))
    assert taken == 24
    assert names_now() == names_made_anew()


def fill_by_itself(engine):
    with engine.begin() as connection:
        return connection.execute(text("SELECT archive_search.fill(3)")).scalar_one()


def test_the_filler_waits_while_bills_are_sealed(archive, seal, sealing_request):
    """A page that is sealed meanwhile stops it: the month close does not pay."""
    seal(archive, *bills(4, sealing_request))
    filler = indexing.Indexing(archive.app)
    filler.wake()
    filler.fill()
    assert names_now() == set()
    archive.app.extensions["hivematrix_sealed"] = filler.wake
    archive.post("/api/snapshot", "peer_service", json=sealing_request("9"))
    assert filler._sealed.is_set()


def test_nobody_but_the_owner_makes_a_search_pass_over_a_bill(half_a_year):
    fill()
    for change in ("DELETE FROM", "TRUNCATE", "INSERT INTO"):
        for table in ("names", "months", "filled"):
            values = " DEFAULT VALUES" if change == "INSERT INTO" else ""
            with pytest.raises(Exception, match="permission denied"), session().begin_nested():
                session().execute(text(f"{change} archive_search.{table}{values}"))
    for call in ("UPDATE archive_search.filled SET upto = 0", "SELECT archive_search.refill('7')"):
        with pytest.raises(Exception, match="permission denied"), session().begin_nested():
            session().execute(text(call))


def test_a_client_searches_its_own_companys_names_alone(own_archive, seal, sealing_request):
    seal(own_archive, *bills(5, sealing_request))
    fill()
    session().commit()
    own_archive.sign_in("client_user", account="7")
    for query in ("", "&item=SW", "&q=oak", "&company=A1", "&from_period=2025-04", "&item=srv1&company=dental"):
        found = own_archive.get(f"/api/snapshots/search?limit=1000{query}", None).json
        assert {row["company_account_number"] for row in found["results"]} <= {"7"}, query
        assert found["total"] == len(found["results"]), query
    session().rollback()
    session().execute(text("SET LOCAL ROLE archive_client"))
    session().execute(text("SET LOCAL hivematrix.account_number = '7'"))
    seen = "SELECT DISTINCT account_number FROM archive_search.names"
    assert session().execute(text(seen)).scalars().all() == ["7"]
    with pytest.raises(Exception, match="permission denied"):
        session().execute(text("SELECT * FROM archive_search.months"))


def test_a_name_that_is_spelled_alike_is_offered(half_a_year):
    fill()
    assert store.close_names(session(), "SW-HLL-08", None)[0].startswith("asset: SW-HLL-0")
    assert store.close_names(session(), "SW-HLL-08", "none") == []
    assert store.close_names(session(), "zzz", None) == []


def test_a_csv_holds_all_that_fits_while_it_is_read(half_a_year):
    answer = half_a_year.get("/api/snapshots/search?format=csv&item=SW-HLL-09&limit=1&sort=total")
    assert (answer.status_code, answer.mimetype) == (200, "text/csv")
    rows = list(csv.DictReader(StringIO(answer.text)))
    assert [row["Number"] for row in rows] == numbers(Filter(item="SW-HLL-09"), "total")
    first = half_a_year.get(f"/api/snapshot/{rows[0]['Number']}").json
    assert (rows[0]["Total"], rows[0]["Company"], rows[0]["Entry"]) == (
        first["total_amount"],
        first["company_name"],
        str(first["log_index"]),
    )


def test_a_csv_is_sent_before_it_is_read_whole(half_a_year, monkeypatch):
    """Its rows are read as they are taken; the first part goes out after a few of them."""
    monkeypatch.setattr(tables, "CSV_CHUNK", 200)
    taken = []

    def counted(rows):
        for row in rows:
            taken.append(row)
            yield row

    usual = use_case._csv_rows
    monkeypatch.setattr(use_case, "_csv_rows", lambda rows: usual(counted(rows)))
    answer = half_a_year.get("/api/snapshots/search?format=csv", buffered=False)
    assert 0 < len(taken) < 5
    assert len(answer.text.splitlines()) == 25
    assert len(taken) == 24


def test_a_csv_of_many_parts_is_whole(own_archive, seal, sealing_request, monkeypatch):
    """Its rows are read on after the request's own session is gone."""
    monkeypatch.setattr(tables, "CSV_CHUNK", 50)
    monkeypatch.setattr(store, "CHUNK", 2)
    seal(own_archive, *bills(3, sealing_request))
    with ThreadPoolExecutor(1) as pool:  # the tests' own context holds a session, a worker's does not
        answer = pool.submit(lambda: own_archive.get("/api/snapshots/search?format=csv", buffered=False).text)
    assert len(answer.result().splitlines()) == 25


REFUSED = {
    "from_period=2025-13": "from_period",
    "to_period=October": "to_period",
    "sort=colour": "sort",
    "format=pdf": "format",
    "q=": "q",
    "cursor=99": "cursor",
    "cursor=x&sort=total": "cursor",
}


@pytest.mark.parametrize("query", REFUSED)
def test_what_makes_no_sense_is_refused_by_its_name(half_a_year, query):
    answer = half_a_year.get(f"/api/snapshots/search?{query}")
    assert (answer.status_code, [fault["field"] for fault in answer.json["errors"]]) == (422, [REFUSED[query]])
