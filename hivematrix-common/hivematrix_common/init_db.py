"""`init-db` of every service: its database is made or mended, asking or headless, and brought to the newest schema.

A service has two roles: <service>_user serves, <service>_owner owns the tables and migrates. An administrator makes
them once; with the service's role alone nothing can be done, and what an administrator has to run is printed.
"""

import secrets
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import psycopg2
from psycopg2.errors import InsufficientPrivilege
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError

from hivematrix_common import cli, conffile, migrations
from hivematrix_common.config import conf_path
from hivematrix_common.errors import first_line
from hivematrix_common.postgres import ClusterError
from hivematrix_common.provision import Roles, administrator, connected, create_service, peer_url, statements
from hivematrix_common.sections import normal_url

MADE_BY = "init_db"
_FIRST = "an administrator has to make the roles first; nothing was changed"
_TOLD = """{service}: {why}. An administrator has to run the SQL on stdout.
Then run: init_db.py --headless --db-host {host} --db-port {port} --db-name {database} --db-password {shown} \\
  --admin-url postgresql://{service}_owner:{password}@{host}:{port}/{database}"""


@dataclass(frozen=True, slots=True)
class Target:
    """Where the service's database is, and its role's password as far as it is known."""

    service: str
    host: str
    port: int
    database: str
    password: str | None

    def url(self, kind: str, password: str) -> str:
        login = f"{self.service}_{kind}"
        made = URL.create("postgresql+psycopg2", login, password, self.host, self.port, self.database)
        return made.render_as_string(hide_password=False)

    @property
    def peer(self) -> str | None:
        """The administrator's connection that root has without a password, where the server is this machine's."""
        return peer_url(self.port) if self.host in {"localhost", "127.0.0.1", "::1"} else None

    def holds(self, url: str) -> bool:
        """Whether a connection leads to this database."""
        found = make_url(url)
        return (found.host, found.port or 5432, found.database) == (self.host, self.port, self.database)


def command_of(service: str) -> click.Command:
    """The command, as it stands in every service's group."""

    @click.command("init-db", help=_help(service), short_help="Make or mend the database, and bring it to head.")
    @click.option("--headless", is_flag=True, help="Ask nothing: what the options below and the conf say counts.")
    @click.option("--db-host", metavar="HOST", help="Server (default: the conf's, else localhost).")
    @click.option("--db-port", type=click.IntRange(1, 65535), help="Its port (default: the conf's, else 5432).")
    @click.option("--db-name", metavar="NAME", help=f"Database (default: the conf's, else {service}_db).")
    @click.option("--db-user", metavar="ROLE", help=f"The service's role: {service}_user.")
    @click.option("--db-password", metavar="TEXT", help="Its password; made when an administrator makes the role.")
    @click.option("--admin-url", metavar="URL", help=f"A superuser's connection (not kept), or {service}_owner's.")
    @click.option("--migrate-only", is_flag=True, help="Only bring the schema to head, as the owner in instance/.")
    @click.option("--to", metavar="REVISION", help="With --migrate-only: that schema, to go back to an older release.")
    @cli.home_option
    def init_db(home: str | None, *, headless: bool, migrate_only: bool, to: str | None, **said: Any) -> int:
        folder = cli.chosen_home(home)
        if said["db_user"] not in (None, f"{service}_user"):
            raise click.UsageError(f"--db-user: the schema names its roles; the service's is {service}_user")
        if to and not migrate_only:
            raise click.UsageError("--to: only with --migrate-only")
        if migrate_only:
            return _migrate(cli.owner_url(folder, service), service, to)
        target, admin_url = _target(folder, service, said), said["admin_url"] and _checked(said["admin_url"])
        if headless:
            return _prepare(folder, target, admin_url or (None if _is_known(folder, target) else target.peer))
        return _ask(folder, target, admin_url)

    return init_db


def _help(service: str) -> str:
    return (
        "Make or mend the service's database, asking what is not known; repeating it changes nothing. "
        f"Example: hivematrix-{service} init-db --headless --admin-url postgresql://postgres:...@localhost/postgres"
    )


def _checked(url: str) -> str:
    try:
        return normal_url(url)
    except ValueError as error:
        raise click.UsageError(f"--admin-url: {error}") from None


def _target(home: Path, service: str, said: dict[str, Any]) -> Target:
    """What the options say, else the conf, else the usual."""
    known = _url_in(conf_path(home, service))
    url = make_url(known) if known else None
    host, port = said["db_host"] or (url and url.host), said["db_port"] or (url and url.port)
    database, password = said["db_name"] or (url and url.database), said["db_password"] or (url and url.password)
    return Target(service, host or "localhost", port or 5432, database or f"{service}_db", password or None)


def _url_in(conf: Path) -> str:
    return _section(conf).get("url", "")


def _section(conf: Path) -> dict[str, str]:
    found = conffile.read(conf) if conf.exists() else {}
    return dict(found["database"]) if "database" in found else {}


def _ask(home: Path, target: Target, admin_url: str | None) -> int:
    """Ask until a connection stands; Enter takes what is known."""
    while True:
        target = replace(
            target,
            host=click.prompt("Server", default=target.host, err=True),
            port=click.prompt("Port", default=target.port, type=click.IntRange(1, 65535), err=True),
            database=click.prompt("Database", default=target.database, err=True),
        )
        word = f"Password of {target.service}_user (Enter: {'the known one' if target.password else 'make one'})"
        target = replace(
            target,
            password=click.prompt(word, default="", hide_input=True, show_default=False, err=True) or target.password,
        )
        try:
            return _prepare(home, target, admin_url or _ask_administrator(home, target), told=_raise)
        except ClusterError as error:
            cli.say(str(error))
            if not _may_ask_again():
                return cli.FAILED


def _may_ask_again() -> bool:
    return sys.stdin.isatty()


def _ask_administrator(home: Path, target: Target) -> str | None:
    if _is_known(home, target):
        return None
    if target.peer and click.confirm("Be the administrator postgres of this machine's server?", True, err=True):
        return target.peer
    url = click.prompt("Administrator's connection, postgresql://... (Enter: there is none)", default="", err=True)
    return _checked(url) if url else None


def _raise(error: ClusterError) -> int:
    raise error


def _fail(error: ClusterError) -> int:
    cli.say(str(error))
    return cli.FAILED


def _prepare(home: Path, target: Target, admin_url: str | None, told: Callable[[ClusterError], int] = _fail) -> int:
    """Exit code: 0 when the schema is at head, 1 without a connection, 78 when an administrator has to act first."""
    try:
        owner = _owner_url(home, target)
        if admin_url:
            target, owner = _make(target, admin_url, owner)
        if owner is None:
            return _tell_administrator(target, None, _FIRST)
        _check_user(home, target)
        _keep(home, target, owner)
        return _migrate(owner, target.service)
    except InsufficientPrivilege as error:
        return _tell_administrator(target, admin_url, first_line(error))
    except psycopg2.Error as error:
        return told(ClusterError(f"database: {first_line(error)}"))
    except ClusterError as error:
        return told(error)


def _is_known(home: Path, target: Target) -> bool:
    """Whether both roles' passwords are: no administrator is needed."""
    return bool(target.password and _owner_url(home, target))


def _owner_url(home: Path, target: Target) -> str | None:
    """The owner's connection to this database, if it is known."""
    known = _url_in(conf_path(home, f"{target.service}-owner"))
    return known if known and target.holds(known) else None


def _make(target: Target, admin_url: str, owner: str | None) -> tuple[Target, str]:
    """Make the roles and the database; with the owner's own connection they are there."""
    given = make_url(admin_url)
    if given.username == f"{target.service}_owner":
        if not given.password:
            raise ClusterError(f"--admin-url: the password of {given.username} is missing")
        return target, target.url("owner", str(given.password))
    password = target.password or secrets.token_hex(24)
    owner_password = str(make_url(owner).password) if owner else secrets.token_hex(24)
    with administrator(admin_url) as admin:
        create_service(admin, target.service, owner_password, password, target.database)
    return replace(target, password=password), target.url("owner", owner_password)


def _check_user(home: Path, target: Target) -> None:
    """The service's role gets in; without a password that is known, a person has configured it otherwise."""
    role = f"{target.service}_user"
    if target.password:
        with connected(target.url("user", target.password), role):
            pass
    elif not _section(conf_path(home, target.service)).keys() & {"url", "user"}:
        raise ClusterError(f"--db-password or --admin-url: the password of {role} is not known")


def _tell_administrator(target: Target, admin_url: str | None, why: str) -> int:
    """Without the rights: what a superuser has to run, and what comes after it. `admin_url` is who lacks them, None
    the service's own role, whose password stays.
    """
    if not (admin_url or target.password):
        raise ClusterError(f"--db-password or --admin-url: without either there is no way to {target.database}")
    owner, user = secrets.token_hex(24), target.password or secrets.token_hex(24)
    roles = Roles(target.service, owner, user if admin_url else None, target.database)
    with connected(admin_url or target.url("user", user), f"{target.service}_user") as connection:
        for statement in statements(connection, roles):
            click.echo(f"{statement.as_string(connection)};")
    places = {"host": target.host, "port": target.port, "database": target.database}
    shown = "..." if target.password else user
    cli.say(_TOLD.format(service=target.service, password=owner, why=why, shown=shown, **places))
    return cli.CONFIGURATION


def _keep(home: Path, target: Target, owner: str) -> None:
    """Write the connections down: the owner's first, for migrations only."""
    user = target.password and target.url("user", target.password)
    for name, url in ((f"{target.service}-owner", owner), (target.service, user)):
        path = conf_path(home, name)
        if url and _url_in(path) != url:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            marked = {"made_by": MADE_BY} if name.endswith("-owner") else {}
            conffile.set_section(path, "database", _section(path) | {"url": url} | marked)


def _migrate(owner_url: str, service: str, to: str | None = None) -> int:
    package = f"hivematrix_{service}"
    try:
        revision = migrations.move(owner_url, package, to) if to else migrations.upgrade(owner_url, package)
    except ValueError as error:
        raise click.UsageError(f"--to: {error}") from None
    except DBAPIError as error:
        cli.fail(f"database: {str(error.orig).strip().splitlines()[0]}")
    cli.say(f"{service}: schema at {revision}")
    return cli.DONE
