"""The databases' connections as the home's confs have them, and the server that holds them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hivematrix_common.config import ConfigError, conf_path
from hivematrix_common.provision import peer_url
from hivematrix_common.sections import normal_url
from sqlalchemy.engine import URL, make_url

from hivematrix_helm.config import POSTGRES_PORT
from hivematrix_helm.system import database
from hivematrix_helm.system.confs import Conf

LOCAL = {"127.0.0.1", "localhost", "::1"}


def owner(home: Path, service: str) -> URL:
    """The connection that may read all of a service's database and restore it; ConfigError when no conf has one.

    Where a person pointed the service at a database of their own there is no owner's conf: its own role reads all.
    """
    for name in (f"{service}-owner", service):
        if url := Conf(home, name).section("database").get("url"):
            return make_url(normal_url(url))
    raise ConfigError([f"{conf_path(home, f'{service}-owner')}: [database] url: missing; run: hivematrix-helm init"])


def passwords(home: Path, service: str, helm: str = "helm") -> tuple[str, str]:
    """The owner's and the service's; `helm` is the name of Helm's conf while a home is being recovered."""
    return _password(home, f"{service}-owner"), _password(home, helm if service == "helm" else service)


def _password(home: Path, conf: str) -> str:
    url = Conf(home, conf).section("database").get("url")
    if not url:
        raise ConfigError(
            [f"{conf_path(home, conf)}: [database] url: missing; a new database is made with its password"]
        )
    return str(make_url(normal_url(url)).password or "")


@contextmanager
def serving(home: Path) -> Iterator[None]:
    """While inside, the home's embedded server runs; another's is taken as it is."""
    if port := _embedded_port(home):
        with database.running(home, port):
            yield
    else:
        yield


@contextmanager
def administering(home: Path, admin_url: str | None, helm: str = "helm") -> Iterator[str]:
    """An administrator's connection: that of the embedded server, the one named, or root's own on this machine."""
    if port := _embedded_port(home, helm):
        with database.running(home, port) as url:
            yield url
        return
    place = owner(home, "helm")
    found = admin_url or (peer_url(place.port or 5432) if place.host in LOCAL else None)
    if not found:
        raise ConfigError(["--admin-url: an administrator of the PostgreSQL server has to make the new database"])
    yield normal_url(found)


def _embedded_port(home: Path, helm: str = "helm") -> int | None:
    """Where the home's own server listens; None when it has none."""
    section = Conf(home, helm).section("postgres")
    return int(section.get("port", POSTGRES_PORT)) if section.get("embedded") == "yes" else None
