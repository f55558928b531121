"""A whole mesh of real processes: PostgreSQL, the supervisor and the four services, with the sample MSP in it."""

import csv
import json
import os
import random
import re
import secrets
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import psycopg2
import pytest
import requests
from hivematrix_archive.config import ArchiveSettings
from hivematrix_archive.services import jobs
from hivematrix_archive.services.jobs import Runner
from hivematrix_archive.services.opened import opened
from hivematrix_archive.services.verify import verify
from hivematrix_common.conffile import read, set_section
from hivematrix_common.config import PORTS, SERVICES

sys.path.insert(0, str(Path(__file__).resolve().parent))

from debian import installed  # noqa: F401 - a fixture
from faulty import Proxy

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
SCRIPTS = {"scheduled_snapshots": ROOT / "hivematrix-archive" / "scheduled_snapshots.py"}
POSTGRES_PORT = 5009
WORKERS = ("gw0", "gw1")  # those of scripts/test: each draws ports of its own
# What only the tests' own mesh has: a time zone with clock changes, and statements that give up soon.
ZONE = "Europe/Berlin"
STATEMENT_SECONDS = 4
LINKS = {"ledger": "archive", "codex": "ledger", "archive": "ledger"}  # who is called: by whom
SEALED = """
    SELECT invoice_number, total_amount, (SELECT sum(amount) FROM snapshot_line_items i WHERE i.snapshot_id = s.id)
    FROM billing_snapshots s WHERE billing_year = %s AND billing_month = %s ORDER BY 1"""
DOUBLED = """
    SELECT 1 FROM billing_snapshots WHERE revision = 0
    GROUP BY company_account_number, billing_year, billing_month HAVING count(*) > 1"""
OPERATOR = ("ledger:read", "ledger:accept", "archive:read", "archive:seal", "helm:operate")
READ_ALL = ("codex:read", "ledger:read", "archive:read", "helm:read")


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item) -> Iterator[None]:
    """What the services of a failed test's mesh said on stderr stands beside the failure."""
    report: Any = yield
    if report.failed:
        for mesh in {id(it): it for it in getattr(item, "funcargs", {}).values() if isinstance(it, Mesh)}.values():
            report.sections += [(f"stderr of {log.stem}", words) for log, words in mesh.last_words() if words]
    return report


@dataclass
class Mesh:
    """A running mesh and its commands. `strike` names a failpoint for the services, once. `links` are the proxies
    between its services, by whom they lead to, where it has any.
    """

    home: Path
    offset: int
    tokens: dict[str, str] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)
    links: dict[str, Proxy] = field(default_factory=dict)

    def run(
        self, *command: str, code: int | None = 0, timeout: int = 180, typed: str = "", **environ: str
    ) -> subprocess.CompletedProcess[str]:
        """One of our commands in this home; asserts its exit code unless `code` is None."""
        program = [str(BIN / command[0]), *command[1:]] if command[0].startswith("hivematrix-") else list(command)
        done = subprocess.run(
            program,
            input=typed,
            capture_output=True,
            text=True,
            timeout=timeout,
            env=self.environ | environ,
            check=False,
        )
        assert code is None or done.returncode == code, f"{command}: {done.returncode}\n{done.stdout}\n{done.stderr}"
        return done

    def with_sample(self, sample: Path) -> Self:
        for service in ("codex", "ledger"):
            self.run(f"hivematrix-{service}", "import", str(sample))
        return self

    def snapshots(self, *arguments: str, code: int | None = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, str(SCRIPTS["scheduled_snapshots"]), *arguments, code=code, **environ)

    def start_close(self, year: int, month: int) -> subprocess.Popen[str]:
        """A month close under way."""
        command = [sys.executable, str(SCRIPTS["scheduled_snapshots"]), "--year", str(year), "--month", str(month)]
        return subprocess.Popen(
            [*command, "--all"], env=self.environ, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    @property
    def environ(self) -> dict[str, str]:
        return os.environ | {"HIVEMATRIX_HOME": str(self.home), "HIVEMATRIX_NOW": f"@{self.home}/now"}

    def url(self, service: str) -> str:
        return self.urls.get(service) or f"http://127.0.0.1:{PORTS[service] + self.offset}"

    def token(self, *scopes: str) -> str:
        name = "-".join(scope.replace(":", "-") for scope in scopes)
        if name not in self.tokens:
            wanted = [part for scope in scopes for part in ("--scope", scope)]
            issue = ("hivematrix-helm", "tokens", "issue", f"{name[:40]}-{secrets.token_hex(4)}")
            self.tokens[name] = self.run(*issue, *wanted).stdout.split()[-1]
            time.sleep(2)  # the promise: live within two seconds
        return self.tokens[name]

    def caller(self, *scopes: str) -> str:
        """The name the holder of this token has in an audit row."""
        return self.token(*scopes).split("_")[1]

    def call(self, method: str, service: str, path: str, scopes: tuple[str, ...] = READ_ALL, **arguments: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token(*scopes)}"} | arguments.pop("headers", {})
        return requests.request(method, self.url(service) + path, headers=headers, timeout=60, **arguments)

    def user(self, name: str, role: str, *options: str) -> "Browser":
        """A new account, and the browser of whoever has it."""
        password = f"{name} {secrets.token_hex(12)}"
        command = ("hivematrix-helm", "users", "add", name, "--role", role, "--password-stdin", *options)
        self.run(*command, typed=f"{password}\n")
        return Browser(self, name, password)

    def ask(self, method: str, service: str, path: str, **arguments: Any) -> Any:
        """With the one token of who may accept, seal and restart."""
        return self.call(method, service, path, OPERATOR, **arguments)

    def get(self, service: str, path: str) -> Any:
        answer = self.call("GET", service, path)
        assert answer.ok, answer.text
        return answer.json()

    def sql(
        self, service: str, statement: str, values: tuple[Any, ...] = (), role: str = "user"
    ) -> list[tuple[Any, ...]]:
        """Rows of a statement run by the service's own role, or by its owner."""
        name = service if role == "user" else f"{service}-owner"
        url = read(self.home / "instance" / f"{name}.conf").get("database", "url")
        connection = psycopg2.connect(url.replace("+psycopg2", ""))
        try:
            with connection, connection.cursor() as cursor:
                cursor.execute(statement, values or None)
                return cursor.fetchall() if cursor.description else []
        finally:
            connection.close()

    def last_words(self, lines: int = 40) -> Iterator[tuple[Path, str]]:
        """What is no JSON in the services' logs, by log."""
        for log in sorted((self.home / "logs").glob("*.log")):
            said = [line for line in log.read_text(errors="replace").splitlines() if not line.startswith("{")]
            if log.stem != "postgres":
                yield log, "\n".join(said[-lines:])

    def strike(self, failpoint: str) -> None:
        (self.home / "strike").write_text(failpoint)

    @property
    def struck(self) -> bool:
        return not (self.home / "strike").exists()

    def wait_struck(self) -> None:
        self.wait_for(lambda: self.struck, "the failpoint was never passed")

    def calm(self) -> None:
        (self.home / "strike").unlink(missing_ok=True)

    @contextmanager
    def timer(self, **environ: str) -> Iterator[Runner]:
        """What the timer's command works with, here and so without the time a process takes to start."""
        settings = ArchiveSettings.load(self.home, environ=environ, folder=self.home)
        with opened(settings) as archive:
            yield jobs.runner(settings, archive.engine)

    def move_clock(self, instant: str) -> None:
        """Another time for the whole mesh and its commands; none is the real one again."""
        path = self.home / "now"
        if instant:
            path.with_suffix(".new").write_text(instant)
            path.with_suffix(".new").replace(path)
        else:
            path.unlink(missing_ok=True)

    def assert_sound(self, *months: tuple[int, int]) -> None:
        """The invariants: one snapshot a company, lines add up, Ledger and Archive agree, the log verifies."""
        for year, month in months:
            rows = self.sql("archive", SEALED, (year, month))
            assert len({number for number, _, _ in rows}) == len(rows) > 0
            assert [row for row in rows if row[1] != row[2]] == []
            period = f"{year}-{month:02}"
            accepted = "SELECT invoice_number FROM acceptances WHERE period = %s ORDER BY 1"
            assert self.sql("ledger", accepted, (period,)) == [(number,) for number, _, _ in rows]
            assert self.sql("ledger", "SELECT 1 FROM sealing WHERE period = %s", (period,)) == []
        assert self.sql("archive", DOUBLED) == []
        self.assert_verifies()

    def assert_verifies(self) -> None:
        """As `hivematrix-archive verify`, without the time a process takes to start."""
        with opened(ArchiveSettings.load(self.home, environ={}, folder=self.home)) as archive:
            verify(archive.engine, archive.outside, lambda _done, _total: None)

    def assert_closes(self, year: int, month: int, tries: int = 5) -> None:
        """What the hourly timer would do after a fault has passed."""
        for _ in range(tries):
            self.wait_ready()
            done = self.snapshots("--year", str(year), "--month", str(month), "--all", code=None)
            if done.returncode == 0:
                break
        assert done.returncode == 0, done.stdout + done.stderr
        self.assert_sound((year, month))

    def assert_foreseen(self, service: str) -> None:
        """Whatever went wrong was no surprise to the service."""
        assert "unexpected fault" not in (self.home / "logs" / f"{service}.log").read_text()

    def failed_for_good(self, year: int, month: int) -> list[Any]:
        """Why companies failed that no later run tries again."""
        return self.sql(
            "archive",
            "SELECT account_number, reason FROM archive_data.job_results JOIN snapshot_jobs ON id = job_id"
            " WHERE happened = 'failed' AND NOT retryable AND target_year = %s AND target_month = %s",
            (year, month),
        )

    def restart(self, *services: str) -> None:
        """Through Helm, as an operator does it."""
        before = {service: self.pid(service) for service in services}
        for service in services:
            assert self.ask("POST", "helm", f"/api/services/{service}/restart").ok
        self.wait_for(lambda: all(self.was_replaced(service, pid) for service, pid in before.items()))
        self.wait_ready()

    def pid(self, service: str) -> int:
        """Of its running process, which is waited for."""
        deadline = time.monotonic() + 30
        while (pid := self._pid(service)) is None:  # never 0: to kill that is to kill oneself
            assert time.monotonic() < deadline
            time.sleep(0.02)
        return pid

    def was_replaced(self, service: str, pid: int) -> bool:
        """Whether another process than `pid` runs."""
        return self._pid(service) not in {pid, None}

    def _pid(self, service: str) -> int | None:
        found: int | None = json.loads((self.home / "run" / "mesh.json").read_text())["units"][service]["pid"]
        return found

    def wait_for(self, condition: Callable[[], bool], why: str = "") -> None:
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, why
            time.sleep(0.02)

    def wait_ready(self, seconds: float = 30) -> None:
        deadline = time.monotonic() + seconds
        while not all(self.is_ready(service) for service in SERVICES):
            assert time.monotonic() < deadline, self.run("hivematrix-helm", "status", code=None).stdout
            time.sleep(0.1)

    def is_ready(self, service: str) -> bool:
        try:
            return requests.get(f"{self.url(service)}/readyz", timeout=2).ok
        except requests.RequestException:
            return False


class Browser:
    """A person's browser without its screen: cookies, redirects and forms."""

    def __init__(self, mesh: Mesh, name: str, password: str) -> None:
        self.mesh, self.name, self.password = mesh, name, password
        self.http = requests.Session()
        self.http.headers["Accept"] = "text/html"

    def open(self, url: str, **options: Any) -> requests.Response:
        return self.http.get(url, timeout=60, **options)

    def send(self, page: str, action: str | None = None, **fields: str) -> requests.Response:
        """Fill in a form of `page` and send it, to the page itself or to its `action`."""
        token = re.search(r'name="csrf_token" value="([^"]+)"', self.open(page).text)
        assert token, page
        return self.http.post(action or page, data={"csrf_token": token[1], **fields}, timeout=60)

    def sign_in(self, page: str = "") -> requests.Response:
        """At Helm's own page, or at the one that `page` of another service leads to."""
        at = self.open(page or f"{self.mesh.url('helm')}/").url
        wanted = parse_qs(urlsplit(at).query)["next"][0]
        return self.send(at, at.partition("?")[0], name=self.name, password=self.password, next=wanted)

    @property
    def cookie(self) -> str:
        return next(cookie.value or "" for cookie in self.http.cookies if cookie.name == "hm_session")


def free_offset() -> int:
    """An offset at which all ports of a mesh are free, PostgreSQL's included; runs side by side draw different ones."""
    own = WORKERS.index(os.environ.get("PYTEST_XDIST_WORKER", WORKERS[0]))
    drawn = random.sample(range(9_000 + 40 * own, 27_000, 40 * len(WORKERS)), 200)
    return next(
        n for n in drawn if all(is_free(port + n) for port in (*map(PORTS.__getitem__, SERVICES), POSTGRES_PORT))
    )


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


@pytest.fixture(scope="session")
def start_mesh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Mesh]]:
    """`start_mesh()`: a new mesh, empty of companies; stopped when the session ends. `change` is called in between.
    `home` is a folder that is there, such as a small disk.
    """
    meshes: list[Mesh] = []

    def start(change: Callable[[Mesh], None] | None = None, home: Path | None = None) -> Mesh:
        mesh = Mesh(home or tmp_path_factory.mktemp("mesh") / "home", free_offset())
        meshes.append(mesh)
        strike = f"@{mesh.home}/strike"
        mesh.run("hivematrix-helm", "up", "--detach", "--port-offset", str(mesh.offset), HIVEMATRIX_FAILPOINT=strike)
        if change:
            mesh.run("hivematrix-helm", "down")
            change(mesh)
            mesh.run("hivematrix-helm", "up", "--detach", HIVEMATRIX_FAILPOINT=strike)
        # When a month is sealed is each test's own matter: Helm would do it a minute from now, and at every full hour.
        set_section(mesh.home / "instance" / "helm.conf", "timer", {"by": "systemd"})
        return mesh

    yield start
    for mesh in meshes:
        mesh.run("hivematrix-helm", "down", code=None)


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The sample MSP's import files, to December 2025, with plans that were valid long before."""
    folder = tmp_path_factory.mktemp("sample")
    make = str(ROOT / "scripts" / "sample" / "make.py")
    subprocess.run([sys.executable, make, "--until", "2025-12", str(folder)], check=True, capture_output=True)
    plans = folder / "plans.csv"
    rows = list(csv.DictReader(plans.read_text(encoding="utf-8").splitlines()))
    earlier = {(row["plan_name"], row["term"]): row | {"valid_from": "2001-01-01"} for row in reversed(rows)}
    with plans.open("a", encoding="utf-8", newline="") as file:
        csv.DictWriter(file, rows[0].keys()).writerows(earlier.values())
    return folder


@pytest.fixture(scope="session")
def mesh(start_mesh: Callable[..., Mesh], sample: Path) -> Mesh:
    """One mesh for the session with the sample MSP in it; each test takes months nobody else closes."""
    return start_mesh().with_sample(sample)


@pytest.fixture(scope="session")
def strained(start_mesh: Callable[[], Mesh], sample: Path) -> Iterator[Mesh]:
    """A second one, with a proxy in each link that a month close needs, and where statements time out soon."""
    mesh = start_mesh()
    for peer, caller in LINKS.items():
        mesh.links[peer] = Proxy(PORTS[peer] + mesh.offset)
        configure(mesh, caller, "services", {f"{peer}_url": mesh.links[peer].url})
    for service in ("codex", "ledger", "archive"):
        configure(mesh, service, "billing", {"timezone": ZONE})
        configure(mesh, service, "database", {"statement_timeout_ms": str(STATEMENT_SECONDS * 1000)})
    mesh.restart("codex", "ledger", "archive")
    mesh.with_sample(sample)
    yield mesh
    for proxy in mesh.links.values():
        proxy.stop()


def configure(mesh: Mesh, service: str, section: str, values: dict[str, str]) -> None:
    path = mesh.home / "instance" / f"{service}.conf"
    set_section(path, section, dict(read(path)[section]) | values)
