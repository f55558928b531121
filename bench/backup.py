#!/usr/bin/env python3
"""Backs up an archive of N companies by M months beside `pg_dump | gzip` of the same database, in one run, by turns.

    bench/backup.py --companies 1700 --months 5

Prints medians in seconds, sizes in MB and ratios: ours reckons counts and digests, hashes what it writes, seals it with
age and syncs it. Then all four databases: a set made, and drilled with Archive's own verify.
"""

import argparse
import json
import statistics
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


def size_mb(url: str) -> float:
    from hivematrix_helm.system.contents import frozen

    with frozen(url) as view:
        return round(view.size() / 1e6, 1)


def gzipped(url: str, folder: Path) -> int:
    """The seed's way."""
    from hivematrix_common.postgres import program

    target = folder / "seed.sql.gz"
    with target.open("wb") as file:
        dump = subprocess.Popen([program("pg_dump"), url], stdout=subprocess.PIPE)
        subprocess.run(["gzip"], stdin=dump.stdout, stdout=file, check=True)
        if dump.wait():
            raise SystemExit("pg_dump failed")
    return target.stat().st_size


def ours(url: str, folder: Path, sealed_for: list[Any]) -> int:
    """One database as `backup run` writes it: dump, counts and digests in one snapshot, zstd, age, hashes, fsync."""
    from hivematrix_helm.services.backup import dump_and_look
    from hivematrix_helm.system.contents import frozen

    target = folder / "archive.dump.zst.age"
    target.unlink(missing_ok=True)
    with frozen(url) as view:
        written, _ = dump_and_look(view, url, target, sealed_for)
    return written.stored.bytes


def compare(home: Path, folder: Path, rounds: int) -> dict[str, Any]:
    from hivematrix_helm.system import roles, streams

    url = roles.owner(home, "archive").set(drivername="postgresql").render_as_string(hide_password=False)
    sealed_for = streams.recipients([streams.new_identity()[1]])
    ways: dict[str, Callable[[], int]] = {
        "pg_dump_gzip": lambda: gzipped(url, folder),
        "ours": lambda: ours(url, folder, sealed_for),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    sizes = {}
    for _ in range(rounds):
        for name, way in ways.items():
            began = time.monotonic()
            sizes[name] = way()
            seconds[name].append(time.monotonic() - began)
    medians = {name: round(statistics.median(found), 2) for name, found in seconds.items()}
    return {
        "archive_mb": size_mb(url),
        "seconds": medians,
        "written_mb": {name: round(size / 1e6, 1) for name, size in sizes.items()},
        "time_ratio": round(medians["ours"] / medians["pg_dump_gzip"], 3),
        "size_ratio": round(sizes["ours"] / sizes["pg_dump_gzip"], 3),
    }


def whole(home: Path) -> dict[str, Any]:
    """A set of all four databases, and its drill."""
    from hivematrix_helm.config import HelmSettings
    from hivematrix_helm.services import backup, proving

    settings = HelmSettings.load(home)
    began = time.monotonic()
    manifest, _ = backup.run(settings, lambda _line: None)
    made = time.monotonic() - began
    record = proving.drill(settings, manifest.name, proving.opener(settings))
    pace = record.pace.seconds if record.pace else None
    return {
        "plain_mb": round(manifest.plain / 1e6, 1),
        "set_mb": round(manifest.bytes / 1e6, 1),
        "made_and_verified_seconds": round(made, 2),
        "drill_seconds": pace,
        "fault": record.fault,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--companies", type=int, default=1700)
    parser.add_argument("--months", type=int, default=5)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--port-offset", type=int, default=15_000)
    options = parser.parse_args()
    become(__file__)
    from close import Bench
    from verify import seal

    with tempfile.TemporaryDirectory(prefix="hm-bench-") as folder:
        bench = Bench(Path(folder) / "home", options.companies, options.port_offset)
        bench.run("hivematrix-helm", "up", "--detach", "--port-offset", str(options.port_offset))
        try:
            bench.load()
            for month in range(LAST_MONTH - options.months + 1, LAST_MONTH + 1):
                seal(bench.home, month)
            print(json.dumps(compare(bench.home, Path(folder), options.rounds) | whole(bench.home), indent=2))
        finally:
            bench.run("hivematrix-helm", "down")
    return 0


if __name__ == "__main__":
    sys.exit(main())
