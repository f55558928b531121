#!/usr/bin/env python3
"""Can somebody at the sign-in page tell a wrong password from a name that nobody has, by time?

    bench/sign_in.py --tries 400

Both kinds, in random order, over HTTP against a mesh of its own. Prints the medians, their ratio, and how often a
wrong password took longer than an unknown name: 0.5 says nothing, 0 or 1 says all.
"""

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "scripts"), str(ROOT / "bench")]
from environment import become  # noqa: E402

HELM_PORT, PROXY = 5004, "127.0.0.1"
A_NAME_S_TRIES = 80  # a name is closed at 100, an address at 30


def run(home: Path, *command: str, said: str = "") -> None:
    program = [str(Path(sys.executable).with_name(command[0])), *command[1:]]
    environ = os.environ | {"HIVEMATRIX_HOME": str(home)}
    subprocess.run(program, env=environ, input=said, stdout=subprocess.DEVNULL, text=True, check=True)


def prepare(home: Path, offset: int, names: list[str]) -> None:
    """A mesh whose Helm believes us where a try comes from, so that no address is closed."""
    from hivematrix_helm.system.confs import Conf

    run(home, "hivematrix-helm", "up", "--detach", "--port-offset", str(offset))
    for name in names:
        run(
            home, "hivematrix-helm", "users", "add", name, "--role", "billing", "--password-stdin", said=f"{secret()}\n"
        )
    run(home, "hivematrix-helm", "down")
    Conf(home, "helm").add("service", {"trusted_proxy": PROXY}, force=True)
    run(home, "hivematrix-helm", "up", "--detach")


def secret() -> str:
    return "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=24))


class Door:
    """The sign-in page, with its cookie and form token."""

    def __init__(self, url: str) -> None:
        import requests

        self.url, self.session = url, requests.Session()
        page = self.session.get(url, headers={"Accept": "text/html"}, timeout=30).text
        found = re.search(r'name="csrf_token" value="([^"]+)"', page)
        assert found
        self.token = found[1]

    def try_once(self, name: str) -> float:
        """Seconds until the answer; it has to be that both do not go together."""
        address = ".".join(str(random.randint(1, 254)) for _ in range(4))
        form = {"name": name, "password": secret(), "csrf_token": self.token}
        began = time.perf_counter()
        answer = self.session.post(self.url, form, headers={"X-Forwarded-For": address}, timeout=30)
        seconds = time.perf_counter() - began
        assert answer.status_code == 422, (answer.status_code, answer.text)
        return seconds


def measure(door: Door, names: list[str], tries: int) -> dict[str, list[float]]:
    known = [names[n % len(names)] for n in range(tries)]
    order = [("wrong password", name) for name in known] + [("unknown name", secret()[:8]) for _ in range(tries)]
    random.shuffle(order)
    found: dict[str, list[float]] = {"wrong password": [], "unknown name": []}
    for kind, name in order:
        found[kind].append(door.try_once(name))
    return found


def report(found: dict[str, list[float]]) -> dict[str, Any]:
    wrong, unknown = found["wrong password"], found["unknown name"]
    longer = sum((one > other) + (one == other) / 2 for one in wrong for other in unknown)
    return {
        "tries_of_each": len(wrong),
        "median_ms": {kind: round(statistics.median(values) * 1000, 2) for kind, values in found.items()},
        "ratio_of_medians": round(statistics.median(wrong) / statistics.median(unknown), 4),
        "wrong_took_longer": round(longer / len(wrong) / len(unknown), 4),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tries", type=int, default=400, help="of each kind")
    parser.add_argument("--port-offset", type=int, default=12_000)
    options = parser.parse_args()
    become(__file__)
    names = [f"user{n}" for n in range(-(-options.tries // A_NAME_S_TRIES))]
    with tempfile.TemporaryDirectory(prefix="hm-bench-") as folder:
        home = Path(folder) / "home"
        prepare(home, options.port_offset, names)
        try:
            door = Door(f"http://127.0.0.1:{HELM_PORT + options.port_offset}/login")
            measure(door, names, 10)  # the first ones warm up
            print(json.dumps(report(measure(door, names, options.tries)), indent=2))
        finally:
            run(home, "hivematrix-helm", "down")
    return 0


if __name__ == "__main__":
    sys.exit(main())
