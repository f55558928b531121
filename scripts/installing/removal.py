"""What scripts/install put into the machine, taken out again; data only when it was said."""

from collections.abc import Iterator

from installing import database
from installing.machine import HOME, USER, FailedError, Machine
from installing.options import SERVICES
from installing.services import JOURNAL, RULES, TARGET, UNITS, enabled_units, unit_files
from installing.site import NGINX, OWN_CERTIFICATES, SITE
from installing.steps import Step


def steps(machine: Machine, *, data: bool) -> Iterator[Step]:
    yield Step("services are stopped", lambda: _running(machine), lambda: machine.run("systemctl", "stop", TARGET))
    yield Step("units start no more", lambda: _enabled(machine), lambda: _disable(machine))
    for path in unit_files(machine):
        yield _gone(machine, f"{RULES if path.suffix == '.rules' else UNITS}/{path.name}")
    yield _gone(machine, JOURNAL)
    yield Step("nginx is without our site", lambda: " ".join(_site(machine)), lambda: _remove_site(machine))
    yield Step("pg_hba line", lambda: _hba_there(machine), lambda: database.drop_hba(machine))
    yield Step("passwords of root's psql", lambda: _known_to_root(machine), lambda: database.forget(machine))
    if data:
        yield from _data(machine)


def _data(machine: Machine) -> Iterator[Step]:
    """The databases before the confs that name them; the checkout last, since this runs from it."""
    for service in SERVICES:
        yield _database(machine, service)
    yield Step("roles", lambda: " ".join(_roles(machine)), lambda: _drop_roles(machine))
    yield _gone(machine, OWN_CERTIFICATES)
    yield _gone(machine, HOME)
    there = f"user {USER}"
    yield Step(
        there, lambda: "there" if machine.succeeds("getent", "passwd", USER) else "", lambda: _drop_user(machine)
    )


def _running(machine: Machine) -> str:
    units = [*(f"{service}.service" for service in SERVICES), TARGET]
    on = [name for name in units if machine.booted and machine.succeeds("systemctl", "is-active", "-q", name)]
    return f"{' '.join(on)} run" if on else ""


def _installed_units(machine: Machine) -> list[str]:
    return [name for name in enabled_units(machine) if machine.path(f"{UNITS}/{name}").exists()]


def _enabled(machine: Machine) -> str:
    on = [name for name in _installed_units(machine) if machine.succeeds("systemctl", "is-enabled", "-q", name)]
    return " ".join(on)


def _disable(machine: Machine) -> None:
    machine.run("systemctl", "disable", *_installed_units(machine))


def _gone(machine: Machine, name: str) -> Step:
    def lacks() -> str:
        path = machine.path(name)
        return "there" if path.exists() or path.is_symlink() else ""

    def do() -> None:
        machine.run("rm", "-rf", "--one-file-system", name)
        if machine.booted and name.startswith(UNITS):
            machine.run("systemctl", "daemon-reload")

    return Step(f"{name} is gone", lacks, do)


def _site(machine: Machine) -> list[str]:
    names = (f"{NGINX}/sites-enabled/hivematrix", SITE, f"{NGINX}/hivematrix")
    return [name for name in names if machine.path(name).exists() or machine.path(name).is_symlink()]


def _remove_site(machine: Machine) -> None:
    machine.run("rm", "-rf", *_site(machine))
    if machine.booted and machine.succeeds("systemctl", "is-active", "-q", "nginx.service"):
        machine.run("nginx", "-t", "-q")
        machine.run("systemctl", "reload", "nginx.service")


def _hba_there(machine: Machine) -> str:
    return "there" if not database.hba_lacks(machine) else ""


def _known_to_root(machine: Machine) -> str:
    return "there" if database.known_to_root(machine) else ""


def _database(machine: Machine, service: str) -> Step:
    name = f"{service}_db"

    def lacks() -> str:
        return "there" if name in database.psql(machine, "SELECT datname FROM pg_database").split() else ""

    return Step(f"database {name} is gone", lacks, lambda: database.psql(machine, f"DROP DATABASE {name} WITH (FORCE)"))


def _roles(machine: Machine) -> list[str]:
    wanted = {f"{service}_{kind}" for service in SERVICES for kind in ("user", "owner", "client")}
    return sorted(wanted & set(database.psql(machine, "SELECT rolname FROM pg_roles").split()))


def _drop_roles(machine: Machine) -> None:
    database.psql(machine, f"DROP ROLE {', '.join(_roles(machine))}")


def _drop_user(machine: Machine) -> None:
    if machine.path(HOME).exists():
        raise FailedError(f"{HOME} is still there")
    machine.run("userdel", USER)
