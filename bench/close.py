#!/usr/bin/env python3
"""Closes a month of N companies through the real services, and copies the same rows bare, in one run.

    bench/close.py --companies 3000

Prints companies a second, HTTP calls and SQL statements a company, the time of each stage, memory, and the ratio to a
bare binary COPY of the same rows into the same schema (500 companies a commit). The mesh lives in a folder of its own.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "bench")]
from environment import become  # noqa: E402

PERIOD = (2025, 10)
PAGE = 500
SERVICES = {"codex": 5010, "ledger": 5011, "archive": 5012}
COPIED = {
    "public.billing_snapshots": "SELECT * FROM billing_snapshots WHERE log_index BETWEEN {0} AND {1} ORDER BY id",
    "archive_data.bodies": "SELECT * FROM archive_data.bodies WHERE log_index BETWEEN {0} AND {1} ORDER BY log_index",
    "public.snapshot_line_items": (
        "SELECT i.* FROM snapshot_line_items i JOIN billing_snapshots s ON s.id = i.snapshot_id"
        " WHERE s.log_index BETWEEN {0} AND {1} ORDER BY i.snapshot_id, i.id"
    ),
}
_SAMPLE = re.compile(r"^(\w+?)(?:\{(.*)\})? (\S+)$")


@dataclass
class Figures:
    """What /metrics of the services said at one moment."""

    calls: float
    statements: float
    stages: dict[str, float]
    cpu: dict[str, float]

    def since(self, earlier: "Figures") -> "Figures":
        stages = {name: value - earlier.stages.get(name, 0.0) for name, value in self.stages.items()}
        cpu = {name: value - earlier.cpu.get(name, 0.0) for name, value in self.cpu.items()}
        return Figures(self.calls - earlier.calls, self.statements - earlier.statements, stages, cpu)


class Bench:
    """One mesh in `home`, with `companies` companies in it."""

    def __init__(self, home: Path, companies: int, offset: int) -> None:
        self.home, self.companies, self.offset = home, companies, offset

    def run(self, *command: str) -> str:
        program = [str(Path(sys.executable).with_name(command[0])), *command[1:]]
        environ = os.environ | {"HIVEMATRIX_HOME": str(self.home)}
        done = subprocess.run(program, env=environ, stdout=subprocess.PIPE, text=True, check=True)
        return done.stdout

    def load(self) -> float:
        import data

        folder = self.home.with_name("data")
        data.write(folder, self.companies)
        began = time.perf_counter()
        self.run("hivematrix-codex", "import", str(folder))
        self.run("hivematrix-ledger", "import", str(folder))
        return time.perf_counter() - began

    def close(self) -> tuple[float, float, Figures]:
        """Seconds of the job, seconds of the whole command with its start, and what the services counted."""
        year, month = PERIOD
        before = self.figures()
        script = str(ROOT / "hivematrix-archive" / "scheduled_snapshots.py")
        environ = os.environ | {"HIVEMATRIX_HOME": str(self.home)}
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, script, "--year", str(year), "--month", str(month), "--all"],
            env=environ,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        command = time.perf_counter() - began
        with self.administrator("archive_db") as archive:
            [(job,)] = query(archive, "SELECT extract(epoch FROM completed_at - started_at) FROM snapshot_jobs")
        return float(job), command, self.figures().since(before)

    def figures(self) -> Figures:
        import requests

        calls = statements = 0.0
        stages: dict[str, float] = {}
        for service, port in SERVICES.items():
            text = requests.get(f"http://127.0.0.1:{port + self.offset}/metrics", timeout=10).text
            for name, labels, value in samples(text):
                if name == "hm_requests_total" and 'route="/api/' in labels:
                    calls += value
                elif name == "hm_statements_total":
                    statements += value
                elif name == "hm_stage_seconds_sum":
                    stage = f"{service} {labels.split(chr(34))[1]}"
                    stages[stage] = stages.get(stage, 0.0) + value
        return Figures(calls, statements, stages, self.cpu())

    def cpu(self) -> dict[str, float]:
        """Seconds of processor time each process used so far, PostgreSQL's backends by the service they serve."""
        import psutil

        units = json.loads((self.home / "run" / "mesh.json").read_text())["units"]
        found = {name: sum(psutil.Process(units[name]["pid"]).cpu_times()[:2]) for name in SERVICES}
        for backend in psutil.Process(units["postgres"]["pid"]).children():
            words = " ".join(backend.cmdline()).split()
            name = f"postgres {words[1].removesuffix('_user')}" if "_user" in " ".join(words) else "postgres itself"
            found[name] = found.get(name, 0.0) + sum(backend.cpu_times()[:2])
        return found

    def memory(self) -> dict[str, int]:
        """Each service's peak resident memory in MB, where the kernel tells it."""
        found = {}
        units = json.loads((self.home / "run" / "mesh.json").read_text())["units"]
        for service in SERVICES:
            peak = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{units[service]['pid']}/status").read_text())
            found[service] = int(peak[1]) // 1024 if peak else 0
        return found

    def bare_copy(self) -> tuple[float, int, int]:
        """Seconds to COPY the month's rows into an empty archive, 500 companies a commit; rows; bytes."""
        with self.administrator("archive_db") as source, self.empty_archive() as target:
            sizes = rows = 0
            seconds = 0.0
            [(last,)] = query(source, "SELECT max(log_index) FROM billing_snapshots")
            for first in range(0, last + 1, PAGE):
                page = {table: read_rows(source, sql.format(first, first + PAGE - 1)) for table, sql in COPIED.items()}
                sizes += sum(map(len, page.values()))
                began = time.perf_counter()
                for table, rows_of_page in page.items():
                    with target.cursor() as cursor:
                        statement = f"COPY {table} FROM STDIN (FORMAT binary)"
                        cursor.copy_expert(statement, BytesIO(rows_of_page), size=256 * 1024)
                target.commit()
                seconds += time.perf_counter() - began
            for table in COPIED:
                rows += query(target, f"SELECT count(*) FROM {table}")[0][0]
            return seconds, rows, sizes

    def administrator(self, database: str) -> Any:
        import psycopg2
        from hivematrix_helm.system.database import embedded

        return psycopg2.connect(**embedded(self.home, self.postgres_port()).conninfo | {"dbname": database})

    def postgres_port(self) -> int:
        from hivematrix_common.conffile import read
        from sqlalchemy.engine import make_url

        conf = read(self.home / "instance" / "archive.conf")
        return make_url(conf.get("database", "url")).port or 5432

    def empty_archive(self) -> Any:
        from hivematrix_common import migrations
        from hivematrix_common.conffile import read
        from sqlalchemy.engine import make_url

        admin = self.administrator("postgres")
        admin.autocommit = True
        admin.cursor().execute("CREATE DATABASE bare_copy OWNER archive_owner")
        admin.close()
        owner = make_url(read(self.home / "instance" / "archive-owner.conf").get("database", "url"))
        migrations.upgrade(owner.set(database="bare_copy").render_as_string(hide_password=False), "hivematrix_archive")
        return self.administrator("bare_copy")


def samples(text: str) -> list[tuple[str, str, float]]:
    found = [_SAMPLE.match(line) for line in text.splitlines() if not line.startswith("#")]
    return [(match[1], match[2] or "", float(match[3])) for match in found if match]


def query(connection: Any, statement: str) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows


def read_rows(connection: Any, statement: str) -> bytes:
    out = BytesIO()
    with connection.cursor() as cursor:
        cursor.copy_expert(f"COPY ({statement}) TO STDOUT (FORMAT binary)", out)
    return out.getvalue()


def report(
    bench: Bench, loaded: float, closed: tuple[float, float, Figures], copied: tuple[float, int, int]
) -> dict[str, Any]:
    seconds, command, figures = closed
    n, (bare, rows, size) = bench.companies, copied
    return {
        "companies": n,
        "lines_per_company": round((rows - 2 * n) / n, 1),
        "import_seconds": round(loaded, 1),
        "job_seconds": round(seconds, 2),
        "command_seconds": round(command, 2),
        "companies_per_second": round(n / seconds),
        "http_calls_per_company": round(figures.calls / n, 4),
        "sql_statements_per_company": round(figures.statements / n, 4),
        "bare_copy_companies_per_second": round(n / bare),
        "ratio_to_bare_copy": round(bare / seconds, 3),
        "copied_megabytes": round(size / 1e6, 1),
        "peak_memory_mb": bench.memory(),
        "cpu_ms_per_company": {name: round(value * 1000 / n, 3) for name, value in sorted(figures.cpu.items())},
        "stage_ms_per_company": {name: round(value * 1000 / n, 3) for name, value in sorted(figures.stages.items())},
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--companies", type=int, default=3000)
    parser.add_argument("--port-offset", type=int, default=10_000)
    options = parser.parse_args()
    become(__file__)
    with tempfile.TemporaryDirectory(prefix="hm-bench-") as folder:
        bench = Bench(Path(folder) / "home", options.companies, options.port_offset)
        bench.run("hivematrix-helm", "up", "--detach", "--port-offset", str(options.port_offset))
        try:
            loaded = bench.load()
            closed = bench.close()
            print(json.dumps(report(bench, loaded, closed, bench.bare_copy()), indent=2))
        finally:
            bench.run("hivematrix-helm", "down")
    return 0


if __name__ == "__main__":
    sys.exit(main())
