#!/usr/bin/env python3
"""Searches archives of several sizes through the real service, beside a bare Flask page under Waitress in the same run.

    bench/search.py --bills 10000,100000,1000000

Prints as JSON, for each size and question: requests a second at four connections, p50 and p99 in ms, and the ratio to
the bare page; and how much longer the largest archive takes than the smallest. Everything lives in a folder of its own,
or in the one that is named, where the archives stay for the next time (--make: make them and measure nothing).
"""

import argparse
import json
import os
import selectors
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from itertools import cycle
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "bench")]
from environment import become  # noqa: E402

CONNECTIONS, ROUNDS, SECONDS = 4, 3, 1.0
BARE = """
import sys, flask, waitress
app = flask.Flask("bare")
app.route("/")(lambda: "hello")
waitress.serve(app, host="127.0.0.1", port=int(sys.argv[1]), threads=4)
"""
# The company and its machine are in an archive of any size, with a bill in each of the hundred months.
QUESTIONS = {
    "newest page": "/api/snapshots/search?limit=100",
    "a later page": "/api/snapshots/search?limit=100&cursor={middle}",
    "a month": "/api/snapshots/search?limit=100&year=2021&month=3",
    "months, by month": "/api/snapshots/search?limit=100&from_period=2019-02&to_period=2019-11&sort=-period",
    "an account": "/api/snapshots/search?limit=100&account_number=100042",
    "days": "/api/snapshots/search?limit=100&from_date=2019-02-01&to_date=2019-06-30",
    "amounts": "/api/snapshots/search?limit=100&min_total=9400&max_total=9410",
    "a plan": "/api/snapshots/search?limit=100&plan=Legacy",
    "a company's name": "/api/snapshots/search?limit=100&company=Foods%2000042",
    "a machine on a line": "/api/snapshots/search?limit=100&item={machine}",
    "a numbered machine": "/api/snapshots/search?limit=100&item=WS-100042-04",
    "what is on every bill": "/api/snapshots/search?limit=100&item=internet+line",
    "anything": "/api/snapshots/search?limit=100&q={machine}",
    "one body": "/api/snapshot/{newest}/body",
}


@dataclass(frozen=True)
class Figure:
    rate: float
    p50: float
    p99: float


class Connection:
    """One request after the other on a kept connection; as little work as possible, for it shares our processors."""

    def __init__(self, port: int, requests: Iterator[bytes]) -> None:
        self.requests, self.received, self.wanted = requests, b"", 0
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.began = 0.0

    def ask(self) -> None:
        self.received, self.wanted, self.began = b"", 0, time.perf_counter()
        self.socket.sendall(next(self.requests))

    def done(self) -> bool:
        """Whether the answer is complete now; AssertionError when it is no 200."""
        self.received += self.socket.recv(1 << 20)
        if not self.wanted:
            head, end, _ = self.received.partition(b"\r\n\r\n")
            if not end:
                return False
            assert head.startswith(b"HTTP/1.1 200"), self.received[:600]
            length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
            self.wanted = len(head) + 4 + int(length)
        return len(self.received) >= self.wanted


def load(port: int, path: str | Sequence[str], token: str, seconds: float) -> list[float]:
    """Seconds each answer took, asked on CONNECTIONS connections at once; several paths in turn; all are answered."""
    rest = f" HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n\r\n"
    requests = cycle([f"GET {one}{rest}".encode() for one in ([path] if isinstance(path, str) else path)])
    taken: list[float] = []
    with selectors.DefaultSelector() as selector:
        for one in [Connection(port, requests) for _ in range(CONNECTIONS)]:
            selector.register(one.socket, selectors.EVENT_READ, one)
            one.ask()
        end = time.perf_counter() + seconds
        while selector.get_map():
            for key, _ in selector.select(1):
                if not key.data.done():
                    continue
                taken.append(time.perf_counter() - key.data.began)
                if time.perf_counter() < end:
                    key.data.ask()
                else:
                    selector.unregister(key.data.socket)
                    key.data.socket.close()
    return taken


def figure(taken: list[float], seconds: float) -> Figure:
    ordered = sorted(taken)
    return Figure(len(taken) / seconds, *(ordered[int(len(ordered) * part)] * 1000 for part in (0.5, 0.99)))


class Bench:
    def __init__(self, cluster: Any, lines: int) -> None:
        from hivematrix_common.postgres import free_port

        self.cluster, self.lines = cluster, lines
        self.ports = {"bare": free_port(), "archive": free_port()}
        self.token = ""

    def make(self, bills: int) -> dict[str, float]:
        """An archive of so many bills, and how long it took to write and to fill; nothing where it is already."""
        import archive_data
        from hivematrix_common import migrations

        if self._administer(f"SELECT FROM pg_database WHERE datname = 'bills_{bills}'"):
            return {}
        self._administer("DROP DATABASE IF EXISTS half_made")
        self._administer("CREATE DATABASE half_made OWNER archive_owner")
        self._administer("GRANT CONNECT, TEMPORARY ON DATABASE half_made TO archive_user")
        migrations.upgrade(self.url("owner", "half_made"), "hivematrix_archive")
        with closing(self.connect("half_made")) as connection:
            seconds = {"write_seconds": timed(lambda: archive_data.write(connection, bills, self.lines))}
            connection.autocommit = True
            seconds["fill_seconds"] = timed(lambda: fill(connection))
            with connection.cursor() as cursor:
                cursor.execute("VACUUM ANALYZE")
        self._administer(f"ALTER DATABASE half_made RENAME TO bills_{bills}")
        return {name: round(value, 1) for name, value in seconds.items()}

    def _administer(self, statement: str) -> int:
        """How many rows it gave."""
        with closing(self.connect("postgres")) as admin, admin.cursor() as cursor:
            admin.autocommit = True
            cursor.execute(statement)
            return int(cursor.rowcount)

    @contextmanager
    def serving(self, bills: int) -> Iterator[None]:
        """Archive on that database, as `hivematrix-archive serve` runs it."""
        program = str(Path(sys.executable).with_name("hivematrix-archive"))
        with tempfile.TemporaryDirectory(prefix="hm-bench-") as home:
            self.token = write_home(Path(home), self.url("user", f"bills_{bills}"), self.ports["archive"])
            with running([program, "serve"], self.ports["archive"], HIVEMATRIX_HOME=home):
                yield

    def measure(self, bills: int) -> dict[str, Any]:
        import archive_data

        newest = archive_data.bill(bills - 1, *divmod(bills - 1, bills // archive_data.MONTHS))[3]
        places = {"middle": bills // 2, "newest": newest, "machine": archive_data.machine(42, 6, 50)}
        found: dict[str, Any] = {}
        for name, path in QUESTIONS.items():
            bare, asked = self._beside(path.format(**places))
            found[name] = {
                "requests_per_second": round(asked.rate),
                "p50_ms": round(asked.p50, 2),
                "p99_ms": round(asked.p99, 2),
                "bare_per_second": round(bare.rate),
                "ratio_to_bare": round(asked.rate / bare.rate, 3),
            }
        return found

    def _beside(self, path: str) -> tuple[Figure, Figure]:
        """The bare page and the question in turns, so that both have the same machine."""
        bare: list[float] = []
        asked: list[float] = []
        load(self.ports["archive"], path, self.token, 0.5)
        for _ in range(ROUNDS):
            bare += load(self.ports["bare"], "/", "none", SECONDS / 2)
            asked += load(self.ports["archive"], path, self.token, SECONDS)
        return figure(bare, ROUNDS * SECONDS / 2), figure(asked, ROUNDS * SECONDS)

    def url(self, role: str, database: str) -> str:
        return f"postgresql+psycopg2://archive_{role}:bench@127.0.0.1:{self.cluster.port}/{database}"

    def connect(self, database: str) -> Any:
        import psycopg2

        return psycopg2.connect(**self.cluster.conninfo | {"dbname": database})


def fill(connection: Any) -> None:
    with connection.cursor() as cursor:
        taken = 1
        while taken:
            cursor.execute("SELECT archive_search.fill(500)")
            [(taken,)] = cursor.fetchall()


def write_home(home: Path, url: str, port: int) -> str:
    """A home for Archive alone; the token of one who may read."""
    from hivematrix_common import tokens
    from hivematrix_common.conffile import set_section

    conf = home / "instance" / "archive.conf"
    conf.parent.mkdir(parents=True)
    # One thread more than connections: a service leaves one out of database work, for health.
    set_section(conf, "service", {"port": str(port), "threads": str(CONNECTIONS + 1)})
    set_section(conf, "database", {"url": url})
    set_section(conf, "pages", {"enabled": "no"})
    token = tokens.generate("bench")
    tokens.register(conf, token, "bench", ("archive:read",))
    return token


@contextmanager
def running(command: list[str], port: int, **environ: str) -> Iterator[subprocess.Popen[bytes]]:
    """The command while it serves on `port`."""
    process = subprocess.Popen(command, env=os.environ | environ, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(port)
        yield process
    finally:
        process.terminate()
        process.wait(30)


def wait_for(port: int) -> None:
    end = time.monotonic() + 30
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            assert time.monotonic() < end, f"nothing listens on {port}"
            time.sleep(0.1)
        else:
            return


def timed(work: Callable[[], None]) -> float:
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def growth(measured: dict[int, Any]) -> dict[str, float]:
    """How many times as long a question takes in the largest archive as in the smallest, by its median."""
    small, large = measured[min(measured)]["questions"], measured[max(measured)]["questions"]
    return {name: round(large[name]["p50_ms"] / small[name]["p50_ms"], 2) for name in QUESTIONS}


def run(folder: Path, sizes: list[int], lines: int, *, measuring: bool) -> dict[int, Any]:
    from hivematrix_common.postgres import Cluster, free_port
    from hivematrix_common.provision import create_service

    measured: dict[int, Any] = {}
    with Cluster(folder / "pg", free_port()) as cluster:
        bench = Bench(cluster, lines)
        with closing(bench.connect("postgres")) as admin:
            admin.autocommit = True
            create_service(admin, "archive", "bench", "bench")
        with running([sys.executable, "-c", BARE, str(bench.ports["bare"])], bench.ports["bare"]):
            for bills in sizes:
                measured[bills] = bench.make(bills)
            for bills in sizes if measuring else ():
                with bench.serving(bills):
                    measured[bills] |= {"questions": bench.measure(bills)}
    return measured


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--bills", default="10000,100000,1000000", help="sizes, smallest first; hundreds")
    parser.add_argument("--lines", type=int, default=12, help="a bill")
    parser.add_argument("--folder", type=Path, help="where the archives stay")
    parser.add_argument("--make", action="store_true", help="measure nothing")
    options = parser.parse_args()
    become(__file__)
    sizes = [int(size) for size in options.bills.split(",")]
    with tempfile.TemporaryDirectory(prefix="hm-bench-", ignore_cleanup_errors=True) as folder:
        measured = run(options.folder or Path(folder), sizes, options.lines, measuring=not options.make)
    grown = {} if options.make else {"largest_to_smallest": growth(measured)}
    print(json.dumps({"bills": measured} | grown, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
