"""Debian's PostgreSQL, the roles and databases in it with the confs that name them, and psql's way to them."""

import pwd
import re
import secrets
from collections.abc import Iterator
from configparser import RawConfigParser
from urllib.parse import unquote, urlsplit

from installing.machine import HOME, USER, FailedError, Machine
from installing.options import SERVICES, Options
from installing.steps import Step, file

ROLES = tuple(f"{service}_{kind}" for service in SERVICES for kind in ("user", "owner"))
OLDEST = 15
ROOTS = f"{pwd.getpwuid(0).pw_dir}/.pgpass"
HELM = f"{HOME}/.venv/bin/hivematrix-helm"
INSTALLER = "hivematrix_install"
_HBA = f"local {','.join(f'{name}_db' for name in SERVICES)} {','.join(ROLES)} scram-sha-256"
_HBA_SAYS = "# HiveMatrix: its roles come with their passwords over the socket too"
_REVISION = re.compile(r'^revision(?::[^=]*)? = "(\w+)"', re.MULTILINE)


def steps(machine: Machine, options: Options) -> Iterator[Step]:
    yield Step("PostgreSQL server", lambda: _server_lacks(machine), lambda: _start_server(machine))
    yield Step("roles, databases, confs", lambda: _mesh_lacks(machine), lambda: _init(machine, options))
    for service in SERVICES:
        yield _schema(machine, service)
    yield Step("pg_hba line", lambda: hba_lacks(machine), lambda: _add_hba(machine))
    yield file(machine, f"{HOME}/.pgpass", lambda: pgpass(machine, f"{HOME}/.pgpass"), 0o600, USER)
    yield file(machine, ROOTS, lambda: pgpass(machine, ROOTS), 0o600, "root")


def psql(machine: Machine, statement: str, database: str = "postgres") -> str:
    """One statement as the administrator; statements come by stdin, so that no secret stands in a command line."""
    line = ("psql", "-XAtq", "-v", "ON_ERROR_STOP=1", "-p", _port(machine), "-d", database)
    return machine.run(*line, user="postgres", typed=statement).strip()


def conf(machine: Machine, name: str) -> RawConfigParser:
    parser = RawConfigParser()
    parser.read_string(machine.read(f"{HOME}/instance/{name}.conf"))
    return parser


def _clusters(machine: Machine) -> list[list[str]]:
    """Version, name, port, state of each, the newest first."""
    rows = [line.split()[:4] for line in machine.answers("pg_lsclusters", "-h").splitlines()]
    return sorted((row for row in rows if int(row[0]) >= OLDEST), key=lambda row: int(row[0]), reverse=True)


def _online(machine: Machine) -> list[list[str]]:
    return [row for row in _clusters(machine) if row[3].startswith("online")]


def _port(machine: Machine) -> str:
    """The port of the server the confs name, else of the newest one."""
    url = conf(machine, "helm").get("database", "url", fallback="")
    if url and urlsplit(url).port:
        return str(urlsplit(url).port)
    running = _online(machine)
    if not running:
        raise FailedError("no PostgreSQL server runs here")
    return running[0][2]


def _server_lacks(machine: Machine) -> str:
    if _online(machine):
        return ""
    return "not running" if _clusters(machine) else "no cluster of version 15 or newer"


def _start_server(machine: Machine) -> None:
    if not _clusters(machine):
        folders = sorted(machine.path("/usr/lib/postgresql").glob("*"), key=lambda path: int(path.name))
        if not folders or int(folders[-1].name) < OLDEST:
            raise FailedError(f"PostgreSQL {OLDEST} or newer is needed")
        machine.run("pg_createcluster", folders[-1].name, "main")
    version, name, *_ = _clusters(machine)[0]
    machine.run("pg_ctlcluster", version, name, "start")


def _mesh_lacks(machine: Machine) -> str:
    if not conf(machine, "helm").has_section("postgres"):
        return "to be made"
    names = psql(machine, "SELECT datname FROM pg_database").split()
    missing = [f"{service}_db" for service in SERVICES if f"{service}_db" not in names]
    return f"{', '.join(missing)} missing" if missing else ""


def _init(machine: Machine, options: Options) -> None:
    """`hivematrix-helm init` as the user, with an administrator who exists for this command alone.

    Only root can be `postgres` without a password, and what root writes the services could not read.
    """
    password, port = secrets.token_hex(24), _port(machine)
    told = {"--public-url": options.public_url, "--timezone": options.timezone, "--currency": options.currency}
    words = [word for name, value in told.items() if value for word in (name, value)]
    secret = f"{HOME}/run/installer.pgpass"
    machine.write(secret, f"127.0.0.1:{port}:*:{INSTALLER}:{password}\n", 0o600, USER)
    try:
        psql(machine, f"DROP ROLE IF EXISTS {INSTALLER}; CREATE ROLE {INSTALLER} SUPERUSER LOGIN PASSWORD '{password}'")
        url = f"postgresql://{INSTALLER}@127.0.0.1:{port}/postgres"
        machine.run(HELM, "init", "--home", HOME, "--admin-url", url, *words, user=USER, PGPASSFILE=secret)
    finally:
        machine.path(secret).unlink()
        psql(machine, f"REASSIGN OWNED BY {INSTALLER} TO postgres; DROP ROLE {INSTALLER}")


def revisions(machine: Machine) -> dict[str, str]:
    """The schema each database is at."""
    query = "SELECT version_num FROM migrations.alembic_version"
    return {service: psql(machine, query, f"{service}_db") for service in SERVICES}


def newest(machine: Machine, service: str) -> str:
    """The schema this release needs: the revision that no other follows, and files are numbered."""
    folder = machine.path(f"{HOME}/hivematrix-{service}/hivematrix_{service}/migrations/versions")
    found = _REVISION.search(max(folder.glob("[0-9]*.py")).read_text(encoding="utf-8"))
    return found[1] if found else ""


def _schema(machine: Machine, service: str) -> Step:
    def lacks() -> str:
        there, needed = revisions(machine)[service], newest(machine, service)
        return "" if there == needed else f"at {there}, this release needs {needed}"

    def do() -> None:
        line = (f"{HOME}/.venv/bin/python", f"{HOME}/hivematrix-{service}/init_db.py", "--migrate-only")
        machine.run(*line, user=USER)

    return Step(f"schema of {service}", lacks, do)


def hba_lacks(machine: Machine) -> str:
    text = machine.read(psql(machine, "SHOW hba_file"))
    return "" if _HBA in text.splitlines() else "psql -U archive_user is not asked for a password"


def _add_hba(machine: Machine) -> None:
    """Before all others: the first line that fits counts, and Debian's own would ask for a system user of that name."""
    place = psql(machine, "SHOW hba_file")
    status = machine.path(place).stat()
    machine.write(place, f"{_HBA_SAYS}\n{_HBA}\n{machine.read(place)}", status.st_mode & 0o777, machine.owner(place))
    psql(machine, "SELECT pg_reload_conf()")


def drop_hba(machine: Machine) -> None:
    place = psql(machine, "SHOW hba_file")
    kept = [line for line in machine.read(place).splitlines() if line not in (_HBA, _HBA_SAYS)]
    machine.write(place, "".join(f"{line}\n" for line in kept), 0o640, machine.owner(place))
    psql(machine, "SELECT pg_reload_conf()")


def known_to_root(machine: Machine) -> bool:
    return any(_is_ours(line) for line in machine.read(ROOTS).splitlines())


def forget(machine: Machine) -> None:
    kept = [line for line in machine.read(ROOTS).splitlines() if not _is_ours(line)]
    machine.write(ROOTS, "".join(f"{line}\n" for line in kept), 0o600, "root")


def pgpass(machine: Machine, name: str) -> str:
    """A password file of libpq: others' lines as they are, ours as the confs say. `localhost` stands for the socket."""
    others = [line for line in machine.read(name).splitlines() if not _is_ours(line)]
    return "".join(f"{line}\n" for line in [*others, *_passwords(machine)])


def _is_ours(line: str) -> bool:
    parts = line.split(":")
    return len(parts) > 3 and parts[3] in ROLES  # noqa: PLR2004 - host:port:database:user:password


def _passwords(machine: Machine) -> Iterator[str]:
    for service in SERVICES:
        for name in (service, f"{service}-owner"):
            url = urlsplit(conf(machine, name).get("database", "url", fallback=""))
            if url.username:
                password = unquote(url.password or "").replace("\\", "\\\\").replace(":", "\\:")
                for host in ("localhost", "127.0.0.1"):
                    yield f"{host}:{url.port or 5432}:{url.path.lstrip('/')}:{url.username}:{password}"
