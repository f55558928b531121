#!/usr/bin/env python3
"""Recovers about a gigabyte on an empty machine: N companies by M sealed months, from a sealed set and its key.

    bench/restore.py --companies 5400 --months 10

Prints the databases' size, the seconds of the backup, of its drill, of the recovery as it was predicted by that drill,
and as it was: everything restored, every row compared, and the archive's whole log verified.
"""

import argparse
import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "bench")]
from environment import become  # noqa: E402

LAST_MONTH = 10


def sizes(home: Path) -> dict[str, float]:
    """Each database's megabytes on the server's disk."""
    from hivematrix_helm.domain.backup import ORDER
    from hivematrix_helm.system import roles
    from hivematrix_helm.system.contents import frozen

    found = {}
    with roles.serving(home):
        for service in ORDER:
            with frozen(roles.owner(home, service).render_as_string(hide_password=False)) as view:
                found[service] = round(view.size() / 1e6, 1)
    return found


def measure(home: Path) -> dict[str, Any]:
    """Two sealed sets of a home whose mesh is down, the first one drilled; and a new home made of the second."""
    from hivematrix_helm.config import HelmSettings
    from hivematrix_helm.services import backup, proving, restoring
    from hivematrix_helm.system import streams

    secret, public = streams.new_identity()
    backup.add_recipient(HelmSettings.load(home), public)
    settings, key = HelmSettings.load(home), proving.Opener(streams.identity(secret))
    first, _ = backup.run(settings, print_aside)
    drilled = proving.drill(settings, first.name, key)
    began = time.monotonic()
    second, _ = backup.run(settings, print_aside)
    made = time.monotonic() - began
    anew = home.with_name("anew")
    done = restoring.recover(anew, settings.home / "backups", key, None, print_aside)
    megabytes = sizes(home)
    return {
        "databases_mb": megabytes | {"all": round(sum(megabytes.values()), 1)},
        "set_mb": round(second.bytes / 1e6, 1),
        "made_and_verified_seconds": round(made, 1),
        "drill_seconds": drilled.pace.seconds if drilled.pace else drilled.fault,
        "predicted_seconds": round(second.pace.predict(second.plain), 1) if second.pace else None,
        "recovered_and_proved_seconds": done.seconds,
        "seconds_per_gb": round(done.seconds / sum(megabytes.values()) * 1000, 1),
    }


def print_aside(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--companies", type=int, default=5400)
    parser.add_argument("--months", type=int, default=10)
    parser.add_argument("--port-offset", type=int, default=17_000)
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
        finally:
            bench.run("hivematrix-helm", "down")
        print(json.dumps(measure(bench.home), indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
