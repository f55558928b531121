#!/usr/bin/env python3
"""Asks the real Ledger for bills, the month board and the difference of two months, beside a bare Flask page.

    bench/bills.py --companies 1000

Prints as JSON: requests a second at four connections, p50 and p99 in ms of one bill (open and sealed), their ratio
to the bare page of the same run; the seconds that the board and the difference take, first and again. The mesh lives in
a folder of its own; the month before the measured one is closed in it.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "bench")]
from environment import become  # noqa: E402

SEALED, OPEN = "2025-09", "2025-10"
SECONDS, TIMES, IN_TURN = 5.0, 3, 1000
ONE: dict[str, str | list[str]] = {
    "an open bill": f"/api/bills/100042/{OPEN}",
    "a sealed bill": f"/api/bills/100042/{SEALED}",
    "an open bill, under its earlier names": "/api/billing/100042?year=2025&month=10",
    "open bills of many companies in turn": [f"/api/bills/{100_000 + n}/{OPEN}" for n in range(IN_TURN)],
}
ALL = {
    "board of an open month": f"/api/months/{OPEN}",
    "board of a sealed month": f"/api/months/{SEALED}",
    "difference of the two months": f"/api/months/{OPEN}/diff?limit=500",
}


def measure(mesh: Any, offset: int) -> dict[str, Any]:
    from hivematrix_common.postgres import free_port
    from search import BARE, figure, load, running

    issued = mesh.run("hivematrix-helm", "tokens", "issue", "bench", "--scope", "ledger:read")
    token, ledger, bare = issued.split()[-1], 5011 + offset, free_port()
    time.sleep(2)  # a new token is known everywhere within two seconds
    found: dict[str, Any] = {}
    with running([sys.executable, "-c", BARE, str(bare)], bare):
        for name, path in ONE.items():
            load(ledger, path, token, 1.0)
            beside = figure(load(bare, "/", "none", SECONDS), SECONDS)
            asked = figure(load(ledger, path, token, SECONDS), SECONDS)
            figures = {"requests_per_second": asked.rate, "p50_ms": asked.p50, "p99_ms": asked.p99}
            found[name] = {key: round(value, 1) for key, value in figures.items()}
            found[name] |= {"bare_requests_per_second": round(beside.rate), "bare_p99_ms": round(beside.p99, 1)}
            found[name]["ratio"] = round(asked.rate / beside.rate, 3)
    for name, path in ALL.items():
        found[name] = [round(whole(f"http://127.0.0.1:{ledger}{path}", token), 2) for _ in range(TIMES)]
    return found


def whole(address: str, token: str) -> float:
    """Seconds for all pages of an answer."""
    import requests

    began, cursor = time.perf_counter(), ""
    while cursor is not None:
        query = {"cursor": cursor} if cursor else {}
        answer = requests.get(address, query, headers={"Authorization": f"Bearer {token}"}, timeout=120)
        answer.raise_for_status()
        cursor = answer.headers.get("X-Next-Cursor")
    return time.perf_counter() - began


def close(mesh: Any) -> None:
    year, month = SEALED.split("-")
    script = str(ROOT / "hivematrix-archive" / "scheduled_snapshots.py")
    command = [sys.executable, script, "--year", year, "--month", month, "--all"]
    subprocess.run(command, env=os.environ | {"HIVEMATRIX_HOME": str(mesh.home)}, check=True, stdout=sys.stderr)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--companies", type=int, default=1000)
    parser.add_argument("--port-offset", type=int, default=11_000)
    options = parser.parse_args()
    become(__file__)
    assert options.companies >= IN_TURN
    from close import Bench

    with tempfile.TemporaryDirectory(prefix="hm-bench-") as folder:
        mesh = Bench(Path(folder) / "home", options.companies, options.port_offset)
        mesh.run("hivematrix-helm", "up", "--detach", "--port-offset", str(options.port_offset))
        try:
            mesh.load()
            close(mesh)
            print(json.dumps({"companies": options.companies, **measure(mesh, options.port_offset)}, indent=2))
        finally:
            mesh.run("hivematrix-helm", "down")
    return 0


if __name__ == "__main__":
    sys.exit(main())
