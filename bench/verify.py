#!/usr/bin/env python3
"""Verifies an archive of N companies by M months, and reads and hashes the same bodies bare, in one run.

    bench/verify.py --companies 1500 --months 4

Prints snapshots a second for bodies and roots, and with every column and line item compared; the ratio of each to the
bare way (COPY of the bodies, SHA-256 of each); and the peak memory of the command at one month and at all of them.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "bench")]
from environment import become  # noqa: E402

LAST_MONTH = 10
PAGE = 500
MEMORY = (
    "import resource, subprocess, sys; subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL);"
    "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024)"
)


def seal(home: Path, month: int) -> None:
    script = str(ROOT / "hivematrix-archive" / "scheduled_snapshots.py")
    command = [sys.executable, script, "--year", "2025", "--month", str(month), "--all"]
    environ = os.environ | {"HIVEMATRIX_HOME": str(home)}
    subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def peak_megabytes(home: Path) -> int:
    """Of the whole command, every line item compared."""
    command = [str(Path(sys.executable).with_name("hivematrix-archive")), "verify"]
    environ = os.environ | {"HIVEMATRIX_HOME": str(home)}
    done = subprocess.run(
        [sys.executable, "-c", MEMORY, *command], env=environ, check=True, stdout=subprocess.PIPE, text=True
    )
    return int(done.stdout)


def bare(engine: Any) -> int:
    """Bodies read and hashed, and nothing else."""
    import hashlib
    from io import BytesIO

    from hivematrix_archive.store import binary

    with engine.connect() as connection, connection.connection.cursor() as cursor:
        cursor.execute("SELECT max(log_index) + 1 FROM archive_data.bodies")
        count = int(cursor.fetchone()[0])
        for start in range(0, count, PAGE):
            out = BytesIO()
            query = f"SELECT body FROM archive_data.bodies WHERE log_index >= {start} AND log_index < {start + PAGE}"
            cursor.copy_expert(f"COPY ({query}) TO STDOUT (FORMAT binary)", out, size=256 * 1024)
            for (body,) in binary.read(out.getvalue()):
                hashlib.sha256(body or b"").digest()
        return count


def best(work: Callable[[], Any], times: int = 3) -> float:
    """Seconds of the quickest; other work on the machine only ever adds."""
    found = []
    for _ in range(times):
        began = time.perf_counter()
        work()
        found.append(time.perf_counter() - began)
    return min(found)


def measure(home: Path) -> dict[str, Any]:
    from hivematrix_archive.config import ArchiveSettings
    from hivematrix_archive.services.opened import opened
    from hivematrix_archive.services.verify import verify

    with opened(ArchiveSettings.load(home)) as archive:
        count = bare(archive.engine)
        seconds = {
            "bare": best(lambda: bare(archive.engine)),
            "bodies": best(lambda: verify(archive.engine, archive.outside, lambda *_: None, bodies_only=True)),
            "all": best(lambda: verify(archive.engine, archive.outside, lambda *_: None)),
        }
    return {
        "snapshots": count,
        "bare_read_and_hash_per_second": round(count / seconds["bare"]),
        "bodies_and_root_per_second": round(count / seconds["bodies"]),
        "bodies_ratio_to_bare": round(seconds["bare"] / seconds["bodies"], 3),
        "every_line_item_per_second": round(count / seconds["all"]),
        "every_line_item_ratio_to_bare": round(seconds["bare"] / seconds["all"], 3),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--companies", type=int, default=1500)
    parser.add_argument("--months", type=int, default=4)
    parser.add_argument("--port-offset", type=int, default=13_000)
    options = parser.parse_args()
    become(__file__)
    from close import Bench

    with tempfile.TemporaryDirectory(prefix="hm-bench-") as folder:
        bench = Bench(Path(folder) / "home", options.companies, options.port_offset)
        bench.run("hivematrix-helm", "up", "--detach", "--port-offset", str(options.port_offset))
        try:
            bench.load()
            peaks = []
            for month in range(LAST_MONTH - options.months + 1, LAST_MONTH + 1):
                seal(bench.home, month)
                peaks.append(peak_megabytes(bench.home))
            megabytes = {"peak_mb_at_one_month": peaks[0], "peak_mb_at_all": peaks[-1]}
            print(json.dumps(measure(bench.home) | megabytes, indent=2))
        finally:
            bench.run("hivematrix-helm", "down")
    return 0


if __name__ == "__main__":
    sys.exit(main())
