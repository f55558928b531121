"""A service's roles and database on any server: made by an administrator, or told to one."""

import contextlib
import os
import pwd
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg2
from psycopg2 import sql
from psycopg2.extensions import connection as Connection  # noqa: N812
from sqlalchemy.engine import URL, make_url

from hivematrix_common.postgres import ClusterError

OLDEST = 150_000
SYSTEM_USER = "postgres"
SOCKETS = Path("/var/run/postgresql")
_RIGHTS = (
    "ALTER DATABASE {db} OWNER TO {owner}",
    "GRANT {client} TO {user}",
    "REVOKE ALL ON DATABASE {db} FROM PUBLIC, {user}",
    "GRANT CONNECT, TEMPORARY ON DATABASE {db} TO {owner}, {user}",
)


@dataclass(frozen=True, slots=True)
class Roles:
    """Whom to make: the database and both passwords; no password leaves that of a role that exists."""

    service: str
    owner_password: str
    user_password: str | None
    database: str = ""

    def identifiers(self) -> dict[str, sql.Identifier]:
        names = {kind: f"{self.service}_{kind}" for kind in ("owner", "user", "client", "db")}
        names["db"] = self.database or names["db"]
        return {kind: sql.Identifier(name) for kind, name in names.items()}


def statements(seen_by: Connection, roles: Roles) -> list[sql.Composed]:
    """What a superuser has to run so that the roles, the database and their rights are there; may be repeated.

    `seen_by` is any role's connection: it only says what exists. Only owner and user may connect to the database.
    """
    names = roles.identifiers()
    found = [
        _role(seen_by, names["owner"], "LOGIN", roles.owner_password),
        _role(seen_by, names["user"], "LOGIN BYPASSRLS", roles.user_password),
        _role(seen_by, names["client"], "NOLOGIN", None),
    ]
    if not _exists(seen_by, "SELECT 1 FROM pg_database WHERE datname = %s", names["db"]):
        found.append(sql.SQL("CREATE DATABASE {db} OWNER {owner}").format(**names))
    return found + [sql.SQL(text).format(**names) for text in _RIGHTS]


def _role(seen_by: Connection, name: sql.Identifier, rights: str, password: str | None) -> sql.Composed:
    there = _exists(seen_by, "SELECT 1 FROM pg_roles WHERE rolname = %s", name)
    made = sql.SQL(f"{'ALTER' if there else 'CREATE'} ROLE {{}} {rights}").format(name)
    return made if password is None else made + sql.SQL(" PASSWORD {}").format(sql.Literal(password))


def _exists(seen_by: Connection, query: str, name: sql.Identifier) -> bool:
    with seen_by.cursor() as cursor:
        cursor.execute(query, [name.strings[0]])
        return cursor.fetchone() is not None


def create_service(
    admin: Connection, service: str, owner_password: str, user_password: str, database: str = ""
) -> None:
    """Make the roles <service>_owner, <service>_user, <service>_client and the database; may be repeated.

    `admin` is a superuser's connection in autocommit mode. Passwords are set to those given, whatever they were.
    """
    with admin.cursor() as cursor:
        for statement in statements(admin, Roles(service, owner_password, user_password, database)):
            cursor.execute(statement)


@contextlib.contextmanager
def connected(url: str, what: str) -> Iterator[Any]:
    """A connection in autocommit mode; ClusterError says why there is none, or that the server is too old."""
    plain = make_url(url).set(drivername="postgresql").render_as_string(hide_password=False)
    try:
        with _as_system_user() if _is_peer(make_url(url)) else contextlib.nullcontext():
            connection = psycopg2.connect(plain, connect_timeout=5)
    except psycopg2.OperationalError as error:
        raise ClusterError(f"no connection as {what}: {' '.join(str(error).split())}") from None
    connection.autocommit = True
    try:
        if connection.server_version < OLDEST:
            raise ClusterError(f"PostgreSQL 15 or newer is needed; the server is {connection.server_version // 10000}")
        yield connection
    finally:
        connection.close()


@contextlib.contextmanager
def administrator(url: str) -> Iterator[Any]:
    """An administrator's connection in autocommit mode; ClusterError says why there is none."""
    with connected(url, "administrator") as connection:
        yield connection


def peer_url(port: int) -> str | None:
    """The administrator's connection that root has without a password, as the system's user postgres over the socket
    of this machine's server at `port`; None for anybody else, or where no such server listens.
    """
    with contextlib.suppress(KeyError):
        if os.geteuid() == 0 and (SOCKETS / f".s.PGSQL.{port}").exists() and pwd.getpwnam(SYSTEM_USER):
            return f"postgresql://{SYSTEM_USER}@/{SYSTEM_USER}?host={SOCKETS}&port={port}"
    return None


def _is_peer(url: URL) -> bool:
    named = (url.username, url.password, url.query.get("host"))
    return os.geteuid() == 0 and named == (SYSTEM_USER, None, str(SOCKETS))


@contextlib.contextmanager
def _as_system_user() -> Iterator[None]:
    """The server asks the kernel who connects: for that moment it is the system's user."""
    os.seteuid(pwd.getpwnam(SYSTEM_USER).pw_uid)
    try:
        yield
    finally:
        os.seteuid(0)


def role_url(server: URL, role: str, password: str, database: str) -> str:
    """A role's connection to a database on the server that `server` points to."""
    url = server.set(drivername="postgresql+psycopg2", username=role, password=password, database=database)
    return url.render_as_string(hide_password=False)
