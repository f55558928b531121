#!/usr/bin/env python3
"""Asks the real Codex, with a million tickets, beside a bare Flask page under Waitress in the same run.

    bench/codex.py --tickets 1000000

Prints as JSON, for each question: requests a second at four connections, p50 and p99 in ms, the ratio to the bare page,
by the clock and by the processor time of both services (and with PostgreSQL's); and how fast a month's billing inputs
are read, and what the service's memory is before and after. All lives in a folder of its own, or in the one named.
"""

import argparse
import json
import os
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "bench")]
from environment import become  # noqa: E402

COMPANIES, SECONDS, ROUNDS = 3000, 1.0, 3
TICK = os.sysconf("SC_CLK_TCK")
# Few words are in many tickets and many in few; `telex` is in a tenth of them, all of them old.
DATA = """
SET session_replication_role = replica;
SELECT setseed(0.5);
INSERT INTO plan_versions (plan_name, term, valid_from, per_user, count_policy, features)
    SELECT 'Plan ' || n, 'Month to Month', '2020-01-01', n, 'end_of_period', '{}' FROM generate_series(1, 40) n;
INSERT INTO companies (account_number, name, billing_plan, contract_term, status)
    SELECT 100000 + n, 'Company ' || md5(n::text), 'Plan ' || 1 + n %% 40, 'Month to Month', 'active'
    FROM generate_series(1, %(companies)s) n;
INSERT INTO contacts (uid, account_number, name, email, active)
    SELECT 'c' || n, 100001 + n %% %(companies)s, 'Person ' || md5(n::text), 'p' || n || '@x.example', true
    FROM generate_series(1, %(companies)s * 20) n;
INSERT INTO assets (uid, account_number, hostname, billing_type, backup_bytes)
    SELECT 'a' || n, 100001 + n %% %(companies)s, 'HOST-' || n, 'Workstation', n
    FROM generate_series(1, %(companies)s * 25) n;
INSERT INTO tickets (uid, account_number, number, subject, status, priority, opened_at, closed_at)
    SELECT 't' || n, 100001 + n %% %(companies)s, 'INC-' || n,
        (SELECT string_agg('w' || floor(power(random(), 4) * 20000 + m * 0)::int, ' ')
            FROM generate_series(1, 6) m WHERE n > 0)
            || CASE WHEN n <= %(tickets)s / 10 THEN ' telex' ELSE '' END
            || CASE WHEN n %% 3 = 0 THEN ' printer' ELSE '' END,
        'closed', 'low', timestamptz '2015-01-01' + n * interval '5 minutes',
        timestamptz '2015-01-02' + n * interval '5 minutes'
    FROM generate_series(1, %(tickets)s) n;
INSERT INTO time_entries (uid, ticket_uid, account_number, worked_on, hours, billable, first_seen)
    SELECT 'e' || n, 't' || n, 100001 + n %% %(companies)s, date '2025-10-01' - n %% 700, 0.25, true, '2025-11-01'
    FROM generate_series(1, %(tickets)s / 5) n;
"""
WORDS_INDEX = "CREATE INDEX tickets_words ON tickets USING gin (words) WITH (fastupdate = off)"
QUESTIONS: dict[str, str | list[str]] = {
    "search: a word of a third": "/api/search?q=printer",
    "search: rare words in turn": [f"/api/search?q=w{n}" for n in range(9000, 19000, 7)],
    "search: middling words in turn": [f"/api/search?q=w{n}" for n in range(20, 2000, 3)],
    "search: two words": [f"/api/search?q=w{n}+w{n + 1}" for n in range(20)],
    "search: the first letter of all": "/api/search?q=w",
    "search: of old tickets alone": "/api/search?q=telex",
    "search: a ticket's number": [f"/api/search?q=INC-{n}" for n in range(1000, 9000, 11)],
    "search: a person": [f"/api/search?q=p{n}" for n in range(1000, 9000, 11)],
    "search: nothing": "/api/search?q=nowhere",
    "search: of one company": "/api/search?q=printer&account_number=100042",
    "companies": "/api/companies?limit=100",
    "companies, a later page": "/api/companies?limit=100&cursor=101500",
    "companies, three members": "/api/companies?limit=100&fields=account_number,name,status",
    "a company's contacts": "/api/companies/100042/contacts",
    "a company's assets": "/api/companies/100042/assets",
    "a company": "/api/companies/100042",
    "tickets of all": "/api/tickets?limit=50&fields=uid,number,subject,status",
}


class Bench:
    def __init__(self, cluster: Any, folder: Path) -> None:
        from hivematrix_common.postgres import free_port

        self.cluster, self.folder = cluster, folder
        self.ports = {"bare": free_port(), "codex": free_port()}
        self.token = ""
        self.pids: dict[str, int] = {}

    def connect(self, database: str) -> Any:
        import psycopg2

        return psycopg2.connect(**self.cluster.conninfo | {"dbname": database})

    def make(self, tickets: int) -> float:
        """The facts; the seconds it took, nothing where they are already."""
        from hivematrix_common import migrations
        from hivematrix_common.provision import create_service

        with closing(self.connect("postgres")) as admin:
            admin.autocommit = True
            create_service(admin, "codex", "bench", "bench")
        migrations.upgrade(self.url("owner"), "hivematrix_codex")
        began = time.perf_counter()
        with closing(self.connect("codex_db")) as connection, connection.cursor() as cursor:
            connection.autocommit = True
            cursor.execute("SELECT count(*) FROM tickets")
            if cursor.fetchone() == (tickets,):
                return 0.0
            cursor.execute("DROP INDEX IF EXISTS tickets_words")
            cursor.execute(DATA % {"companies": COMPANIES, "tickets": tickets})
            cursor.execute(WORDS_INDEX)
            cursor.execute("VACUUM ANALYZE")
        return time.perf_counter() - began

    def url(self, role: str) -> str:
        return f"postgresql+psycopg2://codex_{role}:bench@127.0.0.1:{self.cluster.port}/codex_db"

    @contextmanager
    def serving(self) -> Iterator[None]:
        """Codex as `hivematrix-codex serve` runs it, and the bare page."""
        from search import BARE, running

        program = str(Path(sys.executable).with_name("hivematrix-codex"))
        with tempfile.TemporaryDirectory(prefix="hm-bench-") as home:
            self.token = self._write_home(Path(home))
            bare = [sys.executable, "-c", BARE, str(self.ports["bare"])]
            with (
                running(bare, self.ports["bare"]) as page,
                running([program, "serve"], self.ports["codex"], HIVEMATRIX_HOME=home) as codex,
            ):
                self.pids = {"bare": page.pid, "codex": codex.pid}
                yield

    def _write_home(self, home: Path) -> str:
        from hivematrix_common import tokens
        from hivematrix_common.conffile import set_section
        from search import CONNECTIONS

        conf = home / "instance" / "codex.conf"
        conf.parent.mkdir(parents=True)
        set_section(conf, "service", {"port": str(self.ports["codex"]), "threads": str(CONNECTIONS + 1)})
        set_section(conf, "database", {"url": self.url("user")})
        set_section(conf, "pages", {"enabled": "no"})
        token = tokens.generate("bench")
        tokens.register(conf, token, "bench", ("codex:read",))
        return token

    def measure(self) -> dict[str, Any]:
        return {name: self._beside(path) for name, path in QUESTIONS.items()}

    def _beside(self, path: str | Sequence[str]) -> dict[str, Any]:
        """The bare page and the question in turns, so that both have the same machine."""
        from search import figure, load

        taken: dict[str, list[float]] = {"bare": [], "codex": []}
        used = dict.fromkeys(("bare", "codex", "postgres"), 0.0)
        load(self.ports["codex"], path, self.token, 0.5)
        for _ in range(ROUNDS):
            before = self._processors()
            taken["bare"] += load(self.ports["bare"], "/", "none", SECONDS / 2)
            taken["codex"] += load(self.ports["codex"], path, self.token, SECONDS)
            for name, seconds in self._processors().items():
                used[name] += seconds - before[name]
        bare, asked = figure(taken["bare"], ROUNDS * SECONDS / 2), figure(taken["codex"], ROUNDS * SECONDS)
        each = {name: used[name] / len(taken["bare" if name == "bare" else "codex"]) for name in used}
        return {
            "requests_per_second": round(asked.rate),
            "p50_ms": round(asked.p50, 2),
            "p99_ms": round(asked.p99, 2),
            "bare_per_second": round(bare.rate),
            "ratio_to_bare": round(asked.rate / bare.rate, 3),
            "cpu_ms": round(each["codex"] * 1000, 3),
            "cpu_ms_postgres": round(each["postgres"] * 1000, 3),
            "ratio_by_cpu_of_the_service": round(each["bare"] / each["codex"], 3),
            "ratio_by_cpu": round(each["bare"] / (each["codex"] + each["postgres"]), 3),
        }

    def _processors(self) -> dict[str, float]:
        """Seconds of processor time so far: of both services, and of PostgreSQL with all that it started."""
        found = {name: cpu(pid) for name, pid in self.pids.items()}
        server = int((self.folder / "pg" / "postmaster.pid").read_text().splitlines()[0])
        children = [
            pid
            for pid in (int(one.name) for one in Path("/proc").iterdir() if one.name.isdigit())
            if parent(pid) == server
        ]
        return found | {"postgres": sum(cpu(pid) for pid in (server, *children))}

    def inputs(self) -> dict[str, Any]:
        """A month's billing inputs, page after page, twice; the service's memory before, between and after."""
        found: dict[str, Any] = {"memory_mb": [resident(self.pids["codex"])]}
        for _ in range(2):
            began, used, cursor, companies, size = time.perf_counter(), cpu(self.pids["codex"]), "", 0, 0
            while cursor is not None:
                path = f"/api/billing-inputs?period=2025-10&limit=500&cursor={cursor}"
                url = f"http://127.0.0.1:{self.ports['codex']}{path}"
                request = urllib.request.Request(url, headers={"Authorization": f"Bearer {self.token}"})
                with urllib.request.urlopen(request) as answer:
                    body, cursor = answer.read(), answer.headers.get("X-Next-Cursor")
                companies, size = companies + body.count(b"\n"), size + len(body)
            seconds = time.perf_counter() - began
            found["companies_per_second"] = round(companies / seconds)
            found["megabytes"] = round(size / 2**20, 1)
            found["cpu_ms_a_company"] = round((cpu(self.pids["codex"]) - used) / companies * 1000, 3)
            found["memory_mb"].append(resident(self.pids["codex"]))
        return found


def parent(pid: int) -> int:
    try:
        return int(_stat(pid)[1])
    except OSError:
        return 0


def cpu(pid: int) -> float:
    try:
        return (int(_stat(pid)[11]) + int(_stat(pid)[12])) / TICK
    except OSError:
        return 0.0


def _stat(pid: int) -> list[str]:
    """The fields of /proc/<pid>/stat after the program's name."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()


def resident(pid: int) -> int:
    [line] = [one for one in Path(f"/proc/{pid}/status").read_text().splitlines() if one.startswith("VmRSS")]
    return int(line.split()[1]) // 1024


def run(folder: Path, tickets: int) -> dict[str, Any]:
    from hivematrix_common.postgres import Cluster, free_port

    with Cluster(folder / "pg", free_port()) as cluster:
        bench = Bench(cluster, folder)
        made = bench.make(tickets)
        with bench.serving():
            found = bench.measure()
            return {"tickets": tickets, "made_in_s": round(made), "questions": found, "inputs": bench.inputs()}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tickets", type=int, default=1_000_000)
    parser.add_argument("--folder", type=Path, help="where the facts stay for the next time")
    options = parser.parse_args()
    become(__file__)
    with tempfile.TemporaryDirectory(prefix="hm-bench-", ignore_cleanup_errors=True) as folder:
        print(json.dumps(run(options.folder or Path(folder), options.tickets), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
