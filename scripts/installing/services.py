"""The units, the web server's site, the logs' retention, and everything running; then somebody who may sign in."""

import json
import time
from collections.abc import Iterator
from pathlib import Path

from installing import site
from installing.database import HELM
from installing.machine import HOME, USER, FailedError, Machine
from installing.options import Options
from installing.steps import Step, file
from installing.system import SOURCE

UNITS, RULES = "/etc/systemd/system", "/etc/polkit-1/rules.d"
JOURNAL = "/etc/systemd/journald.conf.d/hivematrix.conf"
TARGET = "hivematrix.target"
HEALTH = f"{HOME}/scripts/health-check"
READY_SECONDS, SETTLE_SECONDS = 90, 20
_KEEP = """# Written by HiveMatrix's scripts/install: what its services say is kept for 90 days, in 2 GB at most.
[Journal]
Storage=persistent
SystemMaxUse=2G
MaxRetentionSec=90day
"""


def steps(machine: Machine, options: Options) -> Iterator[Step]:
    yield from _copies(machine)
    yield file(machine, JOURNAL, lambda: _KEEP)
    yield _enabled(machine)
    yield from site.steps(machine, options)
    yield Step("services are ready", lambda: _not_ready(machine), lambda: _start(machine))
    yield Step(f"administrator {options.admin}", lambda: _nobody(machine), lambda: _first_admin(machine, options.admin))


def unit_files(machine: Machine, pattern: str = "*.[st]*") -> list[Path]:
    """As the checkout has them; before it is there, as this release does."""
    folder = machine.path(f"{HOME}/systemd")
    return sorted((folder if folder.is_dir() else SOURCE / "systemd").glob(pattern))


def _copies(machine: Machine) -> Iterator[Step]:
    """Units as copies, as the guide has them: a `git pull` alone changes no running system."""
    for place, pattern in ((UNITS, "*.service"), (UNITS, "*.timer"), (UNITS, "*.target"), (RULES, "*.rules")):
        for source in unit_files(machine, pattern):
            yield _copy(machine, source, f"{place}/{source.name}")


def _copy(machine: Machine, source: Path, place: str) -> Step:
    plain = file(machine, place, lambda: source.read_text(encoding="utf-8"))

    def do() -> None:
        plain.do()
        if machine.booted and place.startswith(UNITS):
            machine.run("systemctl", "daemon-reload")
            machine.run("systemctl", "try-restart", source.name)

    return Step(plain.what, plain.lacks, do)


def enabled_units(machine: Machine) -> list[str]:
    """What starts with the machine: every unit that says where it wants to be."""
    return [path.name for path in unit_files(machine) if "[Install]" in path.read_text(encoding="utf-8")]


def _enabled(machine: Machine) -> Step:
    def off() -> list[str]:
        return [name for name in enabled_units(machine) if not machine.succeeds("systemctl", "is-enabled", "-q", name)]

    def do() -> None:
        machine.run("systemctl", "enable", *off())

    return Step("units start with the machine", lambda: f"not yet {' '.join(names)}" if (names := off()) else "", do)


def _not_ready(machine: Machine) -> str:
    """Where no systemd runs, as in a root folder, nothing is started."""
    if not machine.booted:
        return ""
    off = [name for name in enabled_units(machine) if not machine.succeeds("systemctl", "is-active", "-q", name)]
    return f"{' '.join(off)} off" if off else "" if _healthy(machine, SETTLE_SECONDS) else "not all are"


def _healthy(machine: Machine, seconds: float) -> bool:
    """Whether all are, within that time: who has just been started looks at its database first."""
    until = time.monotonic() + seconds
    while not machine.succeeds(HEALTH, user=USER):
        if time.monotonic() > until:
            return False
        time.sleep(1)
    return True


def _start(machine: Machine) -> None:
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", TARGET)
    if not _healthy(machine, READY_SECONDS):
        raise FailedError(f"not ready after {READY_SECONDS} s; {HEALTH} says why")


def _nobody(machine: Machine) -> str:
    people = json.loads(machine.run(HELM, "users", "list", "--json", "--home", HOME, user=USER))
    able = [person for person in people if person["role"] == "admin" and not person["disabled_at"]]
    return "" if able else "nobody may sign in yet"


def _first_admin(machine: Machine, name: str) -> None:
    line = (HELM, "users", "add", name, "--role", "admin", "--generate", "--home", HOME)
    password = machine.run(*line, user=USER).strip()
    print(f"          {name}'s password, to be replaced at the first sign-in: {password}", flush=True)
