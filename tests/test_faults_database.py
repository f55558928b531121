"""What PostgreSQL may do to a month close: locks that cross, locks that last, statements that never end."""

import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from typing import Any
from urllib.parse import urlsplit

import psycopg2
import pytest
import requests
from faulty import slow
from hivematrix_common.conffile import read
from hivematrix_helm.system import database

pytestmark = pytest.mark.mesh
STATEMENT_SECONDS = 4  # as the strained mesh is configured
SECOND = 1.0  # PostgreSQL looks for a deadlock when someone has waited so long
WRITES = "SHARE ROW EXCLUSIVE"  # keeps writers away, and readers not
WAITERS = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = %s::regclass"
PLANT = """
    CREATE SEQUENCE public.planted_passes;
    CREATE FUNCTION public.planted() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS
        $$ BEGIN {body}; RETURN NEW; END $$;
    CREATE TRIGGER planted BEFORE INSERT ON {table} FOR EACH ROW
        WHEN ({condition}) EXECUTE FUNCTION public.planted()"""
UPROOT = "DROP FUNCTION public.planted() CASCADE; DROP SEQUENCE public.planted_passes"
DAWDLE = "PERFORM pg_sleep(60)"
STUMBLE = """IF nextval('public.planted_passes') = 1 THEN
    RAISE EXCEPTION 'could not serialize access' USING ERRCODE = '40001'; END IF"""


class Outsider:
    """Somebody else at work in a service's database, with all rights: a migration, a person with psql."""

    def __init__(self, mesh: Any, service: str) -> None:
        url = read(mesh.home / "instance" / f"{service}-owner.conf").get("database", "url")
        cluster = database.embedded(mesh.home, urlsplit(url).port)
        self._connection = psycopg2.connect(**cluster.conninfo | {"dbname": urlsplit(url).path[1:]})
        self._cursor = self._connection.cursor()

    def be_patient(self) -> None:
        """Whoever else waits in a deadlock finds it first, however busy the machine is."""
        self._cursor.execute("SET deadlock_timeout = '60s'")

    def lock(self, table: str, mode: str = "ACCESS EXCLUSIVE") -> None:
        self._cursor.execute(f"LOCK TABLE {table} IN {mode} MODE")

    def wait_for_waiter(self, table: str) -> None:
        deadline = time.monotonic() + 20
        while self._count(table) == 0:
            assert time.monotonic() < deadline, f"nobody came to wait for {table}"
            time.sleep(0.02)

    def _count(self, table: str) -> int:
        self._cursor.execute(WAITERS, (table,))
        return int(self._cursor.fetchone()[0])

    def leave(self) -> None:
        self._connection.close()


@contextmanager
def outsider(mesh: Any, service: str) -> Iterator[Outsider]:
    found = Outsider(mesh, service)
    try:
        yield found
    finally:
        found.leave()


# What is written first, what after it in the same transaction, and whether the one who dies is the outsider.
CROSSED = [
    ("archive", "billing_snapshots", "snapshot_line_items", False),
    ("archive", "billing_snapshots", "snapshot_line_items", True),
    ("ledger", "acceptances", "accepted_entries", False),
    ("archive", "archive_data.job_results", "snapshot_jobs", False),
]


def deadlocks(mesh: Any) -> int:
    return int((mesh.home / "logs" / "postgres.log").read_text().count("deadlock detected"))


@pytest.mark.parametrize("crossed", CROSSED)
def test_one_of_two_whose_locks_cross_is_told_so_and_the_month_closes(
    strained: Any, crossed: tuple[str, str, str, bool]
) -> None:
    service, first, second, outsider_dies = crossed
    month, link = CROSSED.index(crossed) + 1, strained.links["ledger"]
    before = deadlocks(strained)
    with outsider(strained, service) as other, link.giving(slow(SECOND)):
        called = len(link.calls)
        close = strained.start_close(2013, month)
        link.wait_for_call(called)
        other.lock(second, WRITES)
        other.wait_for_waiter(second)
        if outsider_dies:
            time.sleep(1.5 * SECOND)  # the service looked, and found that it only waits
            with pytest.raises(psycopg2.errors.DeadlockDetected):
                other.lock(first, WRITES)
        else:
            other.be_patient()
            other.lock(first, WRITES)
    out, err = close.communicate(timeout=120)
    assert close.returncode == 0, out + err
    assert deadlocks(strained) == before + 1
    strained.assert_foreseen(service)
    strained.assert_sound((2013, month))


@contextmanager
def migrating(mesh: Any, *tables: tuple[str, str]) -> Iterator[None]:
    """Each (service, table) is locked against everyone."""
    with ExitStack() as stack:
        for service, table in tables:
            stack.enter_context(outsider(mesh, service)).lock(table)
        yield


def test_a_long_lock_is_told_in_time_and_hangs_nothing_else(strained: Any) -> None:
    """Ten people read what two migrations hold, and a month close begins."""
    reads = {
        "archive": "/api/snapshots/search?limit=1",
        "ledger": "/api/bill/check-archived/620547?year=2013&month=5",
    }
    with ThreadPoolExecutor(20) as pool:
        with migrating(strained, ("archive", "billing_snapshots"), ("ledger", "acceptances")):
            close = strained.start_close(2013, 5)
            asked = [pool.submit(strained.ask, "GET", *read) for read in list(reads.items()) * 10]
            slowest = max(health_seconds(strained) for _ in range(30))
            answers = [one.result() for one in asked]
        told = {(answer.status_code, answer.json().get("code")) for answer in answers}
        longest = max(answer.elapsed.total_seconds() for answer in answers)
    assert told == {(503, "database_unavailable"), (503, "busy")}
    assert all(answer.headers["Retry-After"] for answer in answers)
    assert longest < STATEMENT_SECONDS + 4
    assert slowest < STATEMENT_SECONDS  # it waited for none of them; how quick it is stands in the figures
    out, err = close.communicate(timeout=120)
    assert close.returncode in {0, 1}, out + err  # with all workers waiting, it may be the next hour's run that closes
    assert all(strained.ask("GET", *read).ok for read in reads.items())
    strained.assert_closes(2013, 5)


def health_seconds(mesh: Any) -> float:
    began = time.monotonic()
    assert all(requests.get(f"{mesh.url(service)}/health", timeout=5).ok for service in ("ledger", "archive"))
    return time.monotonic() - began


@contextmanager
def planted(mesh: Any, body: str, *places: tuple[str, str, str]) -> Iterator[None]:
    """What each row of a (service, table) that meets the condition does when it is inserted."""
    for service, table, condition in places:
        mesh.sql(service, PLANT.format(body=body, table=table, condition=condition), role="owner")
    try:
        yield
    finally:
        for service, _, _ in places:
            mesh.sql(service, UPROOT, role="owner")


def test_what_the_database_asks_to_try_again_is_tried_again(strained: Any) -> None:
    """A serialization failure (40001), once in Archive and once in Ledger."""
    sealed, recorded = ("archive", "snapshot_line_items", "true"), ("ledger", "acceptances", "true")
    with planted(strained, STUMBLE, sealed, recorded):
        strained.snapshots("--year", "2013", "--month", "7", "--all")
    strained.assert_foreseen("archive")
    strained.assert_foreseen("ledger")
    strained.assert_sound((2013, 7))


def test_a_slow_statement_is_cancelled_and_leaves_nothing_behind(strained: Any) -> None:
    """One clerk's bill is slow to be noted by Ledger, another's slow to be sealed by Archive."""
    noted, sealed = ("ledger", "sealing", "NEW.account_number = '620547'"), ("archive", "snapshot_line_items", "true")

    def accept(account: str) -> Any:
        body, headers = {"account_number": account, "year": 2013, "month": 6}, {"X-Request-Deadline": "7000"}
        return strained.ask("POST", "ledger", "/api/bill/accept", json=body, headers=headers)

    with ThreadPoolExecutor(2) as pool, planted(strained, DAWDLE, noted, sealed):
        answers = list(pool.map(accept, ("620547", "183729")))
    slow, passed_on = (answer.json()["code"] for answer in answers)
    assert slow == "database_unavailable"
    assert passed_on in {"peer_unavailable", "deadline_exceeded"}  # whether there was time to ask once more
    assert max(answer.elapsed.total_seconds() for answer in answers) < STATEMENT_SECONDS + 4
    done = "SELECT 1 FROM billing_snapshots WHERE billing_year = 2013 AND billing_month = 6"
    assert strained.sql("archive", done) == []
    strained.assert_foreseen("ledger")
    strained.assert_foreseen("archive")
    strained.assert_closes(2013, 6)
