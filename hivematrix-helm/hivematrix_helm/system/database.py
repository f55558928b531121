"""The home's embedded PostgreSQL, and what psql needs to reach any."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hivematrix_common.postgres import Cluster, ClusterError
from sqlalchemy.engine import URL

from hivematrix_helm.system import meshfile, probes


def embedded(home: Path, port: int) -> Cluster:
    return Cluster(home / "postgres" / "data", port, log=home / "logs" / "postgres.log")


def stopped_clean(home: Path) -> bool:
    """Whether no server of this home can still be at its port: one that was killed left its pid file."""
    return not (home / "postgres" / "data" / "postmaster.pid").exists()


@contextmanager
def running(home: Path, port: int) -> Iterator[str]:
    """The administrator's connection to the home's server, which is started for as long where no mesh runs it."""
    cluster = embedded(home, port)
    mesh = meshfile.read(home)
    if mesh and mesh.running:
        yield cluster.admin_url
        return
    if stopped_clean(home):
        probes.refuse_taken_ports({"PostgreSQL": cluster.port})
    with cluster:
        yield cluster.admin_url


class PostgresProcess:
    """The embedded server, as the supervisor starts and follows it."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._fault = ""

    @property
    def pid(self) -> int | None:
        return self.cluster.process.pid if self.cluster.running and self.cluster.process else None

    def launch(self) -> None:
        self._fault = ""
        try:
            self.cluster.launch()
        except ClusterError as error:
            self._fault = str(error)

    def exit_code(self) -> int | None:
        if self._fault:
            return 1
        return self.cluster.process.poll() if self.cluster.process else 0

    def terminate(self) -> None:
        self.cluster.stop()

    def kill(self) -> None:
        self.cluster.stop()

    def close_door(self) -> None:
        """PostgreSQL opens and closes its own."""

    def last_words(self) -> str:
        return self._fault or self.cluster.last_words()


def pgpass(urls: list[URL]) -> str:
    """The password file of libpq for these connections."""
    rows = [
        [u.host or "", str(u.port or 5432), u.database or "", u.username or "", str(u.password or "")] for u in urls
    ]
    return "".join(":".join(_escaped(part) for part in row) + "\n" for row in rows)


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace(":", "\\:")
