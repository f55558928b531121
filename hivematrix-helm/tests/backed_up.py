"""Four real databases in a home of their own, as backups find them: with companies, bills' items, people and a log."""

import subprocess
import sys
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

import psycopg2
from hivematrix_common.conffile import set_section
from hivematrix_common.testing import PASSWORD
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain.backup import ORDER
from hivematrix_helm.services import backup
from hivematrix_helm.services.proving import AtHand, Opener, Server
from hivematrix_helm.system import processes, sets, streams
from hivematrix_helm.system.sets import Sets

COMPANIES = 40
FILL = {
    "codex": f"""
        INSERT INTO companies (account_number, name, contract_term, status, email)
        SELECT 620000 + n, 'Harbor Dental ' || n, '1 Year', 'active', 'billing' || n || '@harbor.example'
        FROM generate_series(1, {COMPANIES}) n""",
    "ledger": f"""
        INSERT INTO line_items (account_number, uid, name, description, kind, fee)
        SELECT 620000 + n, 'fw-' || n, 'Firewall rental', 'the box in rack ' || n, 'recurring', n + 0.25
        FROM generate_series(1, {COMPANIES}) n""",
    "helm": """
        INSERT INTO operations (caller, service, action, trace_id)
        SELECT 'admin', 'archive', 'restart', md5(n::text) FROM generate_series(1, 200) n""",
}


@dataclass
class BackedUp:
    """A home, its databases' names, and the age key that opens its sets."""

    home: Path
    databases: dict[str, str]
    identity: str
    postgres: object
    name: str = ""
    """Of a set in it, where a test needs one."""

    @property
    def settings(self) -> HelmSettings:
        return HelmSettings.load(self.home, environ={}, folder=self.home)

    @property
    def place(self) -> Sets:
        return Sets.of(self.settings)

    @property
    def opener(self) -> Opener:
        return Opener(streams.identity(self.identity))

    @property
    def server(self) -> Server:
        """The tests' own, where restored databases lie beside the others."""
        run = self.home / "run"
        run.mkdir(exist_ok=True)
        return Server(self.postgres.cluster.admin_url, run, lambda _service: (PASSWORD, PASSWORD))

    def run(self):
        return backup.run(self.settings, lambda _line: None)

    def at_hand(self, name: str) -> AtHand:
        path = self.place.path(name)
        return AtHand(path, sets.read_manifest(path), self.opener)

    def url(self, service: str) -> str:
        return self.postgres.url(f"{service}_owner", self.databases[service])

    def execute(self, service: str, statement: str) -> None:
        execute(self.url(service), statement)

    def command(self, *arguments: str, killed_after: float | None = None, **options):
        """`hivematrix-helm` in a process of its own, which may be killed after some seconds."""
        code = "import sys; from hivematrix_helm.cli import main; main(sys.argv[1:])"
        options = {"env": processes.environment(self.home)} | options
        command = [sys.executable, "-c", code, *arguments, "--home", str(self.home)]
        with suppress(subprocess.TimeoutExpired):  # who takes longer is killed
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=killed_after, **options)
        return None

    def leftovers(self) -> list[str]:
        """Whatever lies beside the sets."""
        return sorted(path.name for path in self.place.folder.iterdir() if path.name not in self.place.names())


def execute(url: str, statement: str) -> None:
    with closing(psycopg2.connect(url.replace("+psycopg2", ""))) as connection, connection.cursor() as cursor:
        cursor.execute(statement)
        connection.commit()


def make(postgres, home: Path, *, sealed: bool = True) -> BackedUp:
    """Databases with rows in them, confs that lead there, and Archive's log begun."""
    identity, public = streams.new_identity()
    databases = {service: postgres.copy(service) for service in ORDER}
    for service, database in databases.items():
        for conf, role in ((f"{service}-owner", "owner"), (service, "user")):
            url = postgres.url(f"{service}_{role}", database)
            set_section(home / "instance" / f"{conf}.conf", "database", {"url": url})
        set_section(home / "instance" / f"{service}.conf", "pages", {"enabled": "no"})
    helm = home / "instance" / "helm.conf"
    set_section(helm, "postgres", {"embedded": "no"})
    if sealed:
        set_section(helm, "backup", {"recipients": public})
    made = BackedUp(home, databases, identity, postgres)
    for service, statement in FILL.items():
        made.execute(service, statement)
    begin = [*processes.command("archive", "init"), "--origin", "archive.example.com/log"]
    subprocess.run(begin, env=processes.environment(home), check=True, capture_output=True)
    return made
