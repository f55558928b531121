"""What the product stands on: packages, its user, the checkout with its folders and links, the environment."""

from collections.abc import Iterator
from pathlib import Path

from installing.machine import HOME, USER, FailedError, Machine
from installing.steps import Step, folder, link

SOURCE = Path(__file__).resolve().parents[2]
PACKAGES = ("postgresql", "nginx", "python3-venv", "git", "polkitd", "openssl", "age")
FOLDERS = ("instance", "logs", "run", "backups", "proofs")
ARCHIVE = f"{HOME}/hivematrix-archive"
LINKS = {"instance": "../instance", "systemd": "../systemd"}
VENV = "hivematrix-archive/venv"
_ENVIRONMENT = (
    f"import sys; sys.path.insert(0, '{HOME}/scripts'); import environment; sys.exit(not environment.current())"
)


def steps(machine: Machine) -> Iterator[Step]:
    yield _packages(machine)
    yield Step(f"user {USER}", lambda: _user_lacks(machine), lambda: _make_user(machine))
    yield folder(machine, HOME, 0o755, USER)
    yield Step(f"checkout {HOME}", lambda: _checkout_lacks(machine), lambda: _check_out(machine))
    for name in FOLDERS:
        yield folder(machine, f"{HOME}/{name}", 0o700, USER)
    yield from _environment(machine)
    for name, target in LINKS.items():
        yield link(machine, f"{ARCHIVE}/{name}", target, USER)


def _packages(machine: Machine) -> Step:
    def missing() -> list[str]:
        return [name for name in PACKAGES if "ok installed" not in machine.answers(*_query(name))]

    def do() -> None:
        quiet = {"DEBIAN_FRONTEND": "noninteractive"}
        wanted = missing()
        if any(not machine.answers("apt-cache", "show", name) for name in wanted):
            machine.run("apt-get", "update", "-q", **quiet)
        machine.run("apt-get", "install", "-y", "-q", "--no-install-recommends", *wanted, **quiet)

    return Step("packages", lambda: f"{' '.join(names)} to be installed" if (names := missing()) else "", do)


def _query(package: str) -> tuple[str, ...]:
    return ("dpkg-query", "-W", "-f=${Status}", package)


def _user_lacks(machine: Machine) -> str:
    found = machine.answers("getent", "passwd", USER)
    if not found:
        return "missing"
    return "" if found.split(":")[5] == HOME else f"its home is {found.split(':')[5]}, not {HOME}"


def _make_user(machine: Machine) -> None:
    """As the guide does. Another home of a user that exists is for a person to judge."""
    if machine.answers("getent", "passwd", USER):
        raise FailedError(f"user {USER}: {_user_lacks(machine)}; run: usermod -d {HOME} {USER}")
    machine.run("useradd", "-r", "-s", "/bin/bash", "-d", HOME, USER)


def _checkout_lacks(machine: Machine) -> str:
    if not machine.path(f"{HOME}/scripts/install").exists():
        return f"missing; {SOURCE} is copied there"
    return "" if machine.owner(f"{HOME}/scripts/install") == USER else f"does not belong to {USER}"


def _check_out(machine: Machine) -> None:
    """The commit this script is of, with the place it came from as `origin`: updates are pulled from there."""
    here, new = Machine(), not machine.path(f"{HOME}/scripts/install").exists()
    if new:
        here.run("git", "clone", "-q", "--no-hardlinks", str(SOURCE), str(machine.path(HOME)))
    machine.run("chown", "-R", f"{USER}:", HOME)
    if new and (origin := here.answers("git", "-C", str(SOURCE), "remote", "get-url", "origin")):
        machine.run("git", "-C", HOME, "remote", "set-url", "origin", origin, user=USER)


def _environment(machine: Machine) -> Iterator[Step]:
    """The checkout's own set-up; as the user, so that `pip install` and `git pull` go on working as the user.

    The guide's `python3 -m venv venv` refuses a link in that place, so the link leads the other way.
    """
    python = f"{HOME}/{VENV}/bin/python"

    def make() -> None:
        machine.run("python3", "-m", "venv", f"{HOME}/{VENV}", user=USER)

    def lacks() -> str:
        return "" if machine.succeeds("python3", "-c", _ENVIRONMENT, user=USER) else "missing, or of another release"

    def do() -> None:
        machine.run("python3", f"{HOME}/scripts/demo", "--setup-only", user=USER, PIP_NO_CACHE_DIR="1")

    yield Step(f"{HOME}/{VENV}", lambda: "" if machine.succeeds(python, "-V") else "missing", make)
    yield link(machine, f"{HOME}/.venv", VENV, USER)
    yield Step("its packages", lacks, do)
