"""Helm's copy of what was done everywhere: complete, each row once, and found again."""

import logging
import threading
import uuid
from contextlib import closing
from datetime import UTC, datetime, timedelta

import psycopg2
import pytest
from hivematrix_common.failpoints import FailpointError
from hivematrix_common.peers import PeerError
from hivematrix_helm.app import create_app
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.services import audit, background
from sqlalchemy import text

NOON = datetime(2025, 11, 2, 12, tzinfo=UTC)


def row(number=1, **values):
    base = {
        "uid": str(uuid.uuid4()),
        "at": (NOON + timedelta(seconds=number)).isoformat(),
        "service": "ledger",
        "actor": "maya",
        "actor_kind": "person",
        "role": "billing",
        "action": "POST /api/bill/accept",
        "target": "620547 2025-10",
        "outcome": "allowed",
        "status": None,
        "address": "10.0.0.7",
        "trace_id": f"{number:032x}",
        "details": {},
    }
    return base | values


class Book:
    """A service's rows, given out as the service does."""

    def __init__(self, *rows, size=2):
        self.rows, self.size, self.source, self.asked = list(rows), size, "a", []

    def __call__(self, source, after):
        self.asked.append((source, after))
        after = after if source == self.source else 0
        found = self.rows[after : after + self.size]
        last = after + len(found)
        return {"source": self.source, "last": last, "more": last < len(self.rows), "entries": found}


@pytest.fixture
def own_helm(service, home):
    """Helm on a database of its own."""
    return service(HelmSettings, create_app, isolation="copy")


@pytest.fixture
def kept(helm):
    """kept() -> the uids that Helm holds, in the order they came."""

    def read(name="uid"):
        query = text(f"SELECT {name} FROM audit.collected ORDER BY id")
        return [str(found) for found in helm.db.session.execute(query).scalars()]

    return read


def uids(book):
    return [entry["uid"] for entry in book.rows]


def test_everything_is_taken_over_page_by_page(helm, kept):
    book = Book(*map(row, range(5)))
    assert audit.collect("ledger", book) == 5
    assert kept() == uids(book)
    assert book.asked == [("", 0), ("a", 2), ("a", 4)]


def test_what_came_while_helm_was_down_is_taken_over_later(helm, kept):
    book = Book(*map(row, range(2)))
    audit.collect("ledger", book)
    book.rows += map(row, range(2, 9))
    assert audit.collect("ledger", book) == 7
    assert audit.collect("ledger", book) == 0
    assert kept() == uids(book)


@pytest.mark.parametrize("place", ["audit-fetched", "audit-taken", "audit-kept"])
def test_wherever_it_ends_nothing_is_lost_and_nothing_comes_twice(helm, kept, monkeypatch, place):
    book = Book(*map(row, range(5)))
    monkeypatch.setenv("HIVEMATRIX_FAILPOINT", f"{place}@2=raise")
    with pytest.raises(FailpointError):
        audit.collect("ledger", book)
    helm.db.session.rollback()
    monkeypatch.delenv("HIVEMATRIX_FAILPOINT")
    assert len(kept()) < 5
    audit.collect("ledger", book)
    assert kept() == uids(book)


def test_a_restored_database_is_read_from_its_beginning(helm, kept):
    """It lost its newest rows and gives their ids out again."""
    book = Book(*map(row, range(4)))
    audit.collect("ledger", book)
    before = uids(book)
    book.source, book.rows = "restored", [*book.rows[:2], row(7), row(8)]
    assert audit.collect("ledger", book) == 2
    assert kept() == [*before, *uids(book)[2:]]


def test_a_service_that_is_down_keeps_nobody_else_waiting_and_is_told_once(helm, kept, caplog):
    caplog.set_level(logging.WARNING, "hivematrix.helm")
    book, faults = Book(row()), {}

    def down(_source, _after):
        raise PeerError("codex", "no answer", retryable=True)

    for _ in range(3):
        audit.collect_all({"codex": down, "ledger": book}, faults)
    assert kept() == uids(book)
    assert [record.peer for record in caplog.records] == ["codex"]
    late = Book(row(service="codex"))
    audit.collect_all({"codex": late, "ledger": book}, faults)
    assert (kept(), faults) == ([*uids(book), *uids(late)], {})


def test_two_collectors_at_once_take_each_row_once(own_helm):
    """Both have read the same place and bring the same pages; a row is known by its uid."""
    book, both = Book(*map(row, range(40)), size=3), threading.Barrier(2)

    def meeting(source, after):
        page = book(source, after)
        if after < 12:
            both.wait(timeout=10)
        return page

    def collect():
        with own_helm.app.app_context():
            audit.collect("ledger", meeting)

    threads = [threading.Thread(target=collect) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
        both.abort()
    with closing(own_helm.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("SELECT uid::text FROM audit.collected ORDER BY id")
        assert [found[0] for found in cursor.fetchall()] == uids(book)
        cursor.execute("SELECT last, collected FROM audit.sources WHERE service = 'ledger'")
        assert cursor.fetchall() == [(40, 40)]


def test_a_service_is_asked_with_the_place_it_gave(helm, fake_peer, kept):
    peer, book = fake_peer("ledger"), Book(row(), row(2))
    peer.answers("GET", "/api/audit/entries", book("", 0) | {"last": 77})
    object.__setattr__(helm.settings.services, "ledger_url", peer.url)
    ask = audit.feeds(helm.settings)["ledger"]
    audit.collect("ledger", ask)
    audit.collect("ledger", ask)
    queries = [dict(call.args) for call in peer.calls if call.path == "/api/audit/entries"]
    assert queries == [
        {"source": "", "after": "0", "limit": "1000"},
        {"source": "a", "after": "77", "limit": "1000"},
    ]
    assert kept() == uids(book)


def test_helms_own_rows_are_collected_like_all_others(helm, kept):
    helm.post("/api/users", "billing_clerk", json={})
    audit.collect("helm", audit.own_rows)
    assert (kept("service"), kept("actor"), kept("outcome")) == (["helm"], ["billing-clerk"], ["refused"])


def test_what_is_collected_is_never_changed(own_helm):
    with own_helm.app.app_context():
        audit.collect("ledger", Book(row()))
    for change in ("UPDATE audit.collected SET actor = 'x'", "DELETE FROM audit.collected", "TRUNCATE audit.collected"):
        with pytest.raises(Exception, match="permission denied"), own_helm.db.session.begin_nested():
            own_helm.db.session.execute(text(change))
        with closing(own_helm.owner()) as owner, pytest.raises(psycopg2.errors.RestrictViolation):
            owner.cursor().execute(change)


# ------------------------------------------------------------------ search


@pytest.fixture
def trail(helm):
    """Twelve rows of one hour, of two services and three people."""
    rows = [row(number, actor=("maya", "tom", None)[number % 3]) for number in range(8)]
    rows += [row(7, service="codex", action="POST /api/import", target="/api/import", actor="tom") for _ in range(2)]
    rows += [row(10, outcome="refused", status=403, actor="eve"), row(11, outcome="failed", status=500)]
    audit.collect("ledger", Book(*rows, size=100))
    return helm


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ({}, 12),
        ({"actor": "tom"}, 5),
        ({"service": "codex"}, 2),
        ({"action": "bill/ACCEPT"}, 10),
        ({"target": "620547"}, 10),
        ({"target": "%"}, 0),
        ({"outcome": "refused"}, 1),
        ({"trace_id": f"{10:032x}"}, 1),
        ({"from": "2025-11-02T12:00:07Z"}, 5),
        ({"to": "2025-11-02T13:00:07+01:00"}, 7),
        ({"to": "2025-11-03T11:00:07+23:00"}, 7),
        ({"from": "2025-11-02T12:00:07Z", "to": "2025-11-02T12:00:08Z", "actor": "tom", "service": "ledger"}, 1),
        ({"actor": "nobody"}, 0),
    ],
)
def test_a_search_finds_what_fits(trail, query, number):
    found = trail.get("/api/audit", query_string=query).json
    assert (len(found["entries"]), found["next"]) == (number, None)
    if query != {"service": "codex"}:  # these came with ledger's page, and are counted so
        assert (found["total"], found["total_exact"]) == (number, True)


def test_a_page_leads_to_the_next_and_none_repeats_a_row(trail, kept):
    seen, cursor = [], ""
    while cursor is not None:
        page = trail.get("/api/audit", query_string={"limit": 3, "cursor": cursor}).json
        seen += page["entries"]
        cursor = page["next"]
    assert [entry["at"] for entry in seen] == sorted((entry["at"] for entry in seen), reverse=True)
    assert sorted(entry["uid"] for entry in seen) == sorted(kept())


def test_a_row_says_who_did_what_to_what_from_where(trail):
    [found] = trail.get("/api/audit?outcome=refused").json["entries"]
    assert found["at"] == "2025-11-02T12:00:10+00:00"
    named = ("service", "actor", "actor_kind", "role", "action", "target", "status", "address")
    assert [found[name] for name in named] == [
        *("ledger", "eve", "person", "billing", "POST /api/bill/accept"),
        *("620547 2025-10", 403, "10.0.0.7"),
    ]


def test_it_says_up_to_when_each_service_was_asked(trail):
    until = trail.get("/api/audit").json["collected_until"]
    assert {name for name, at in until.items() if at} == {"ledger"}
    assert set(until) == {"codex", "ledger", "archive", "helm"}


def test_totals_above_ten_thousand_are_exact_for_all_and_for_a_service(helm):
    copies = "INSERT INTO audit.collected ({0}) SELECT {0} FROM (SELECT gen_random_uuid() AS uid, {1}) r"
    names = "at, service, actor_kind, action, outcome, details, collected_at"
    values = "now() AS at, 'ledger' AS service, 'job' AS actor_kind, 'x' AS action, 'allowed' AS outcome,"
    values += " '{}'::jsonb AS details, now() AS collected_at FROM generate_series(1, 10001)"
    helm.db.session.execute(text(copies.format(f"uid, {names}", values)))
    helm.db.session.execute(text("UPDATE audit.sources SET collected = 10001 WHERE service = 'ledger'"))
    totals = [helm.get(f"/api/audit?limit=1{query}").json for query in ("", "&service=ledger", "&outcome=allowed")]
    assert [(found["total"], found["total_exact"]) for found in totals] == [
        (10001, True),
        (10001, True),
        (10000, False),
    ]


@pytest.mark.parametrize(
    "query",
    [
        *("cursor=x", "cursor=999999999999999999-1", "outcome=maybe", "when=now"),
        *("from=yesterday", "from=2025-11-02", "from=0001-01-01T00:00:00%2B01:00"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(trail, query):
    answer = trail.get(f"/api/audit?{query}")
    assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, query.split("=", maxsplit=1)[0])


@pytest.mark.parametrize("condition", ["service = 'x'", "actor = 'x'", "outcome = 'x'", "trace_id = 'x'", "at < now()"])
def test_a_page_is_read_by_an_index(helm, condition):
    session = helm.db.session
    session.execute(text("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off"))
    query = f"EXPLAIN SELECT * FROM audit.collected WHERE {condition} ORDER BY at DESC, id DESC LIMIT 100"
    plan = "\n".join(session.execute(text(query)).scalars())
    assert "Index Scan using collected_" in plan
    assert "Sort" not in plan


@pytest.mark.parametrize(("person", "status"), [("admin", 200), ("auditor", 200), ("billing_clerk", 403)])
def test_administrators_and_auditors_may_search(helm, person, status):
    helm.sign_in(person)
    assert helm.get("/api/audit", None).status_code == status


# ------------------------------------------------------------------ by itself


@pytest.fixture
def scheduler(own_helm):
    """scheduler(sections) -> a scheduler that runs; it ends with the test."""
    made = []

    def start():
        made.append(background.start(own_helm.app, own_helm.settings))
        return made[-1]

    yield start
    for one in made:
        one.shutdown()


def test_a_serving_helm_collects_by_itself(own_helm, scheduler, monkeypatch):
    book, done = Book(row()), threading.Event()

    def last(source, after):
        done.set()
        return Book()(source, after)

    monkeypatch.setattr(audit, "feeds", lambda _settings: {"ledger": book, "helm": last})
    scheduler()
    assert done.wait(10)
    with closing(own_helm.owner()) as owner, owner.cursor() as cursor:
        cursor.execute("SELECT uid::text FROM audit.collected")
        assert cursor.fetchall() == [(book.rows[0]["uid"],)]


def test_a_helm_that_is_told_to_end_begins_no_further_page(helm, kept):
    book = Book(*map(row, range(9)))
    answers = iter([True, True, False])
    audit.collect_all({"ledger": book}, {}, lambda: next(answers))
    assert len(kept()) == 4


def test_collecting_can_be_switched_off(own_helm, scheduler):
    object.__setattr__(own_helm.settings.audit, "collect", False)
    assert [job.name for job in scheduler().get_jobs() if "collect" in job.name] == []
