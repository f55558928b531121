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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import psycopg2
import pytest
import requests
from hivematrix_common.conffile import read
from hivematrix_common.config import PORTS, SERVICES

ROOT = Path(__file__).resolve().parents[1]
BIN = Path(sys.executable).parent
SCRIPTS = {"scheduled_snapshots": ROOT / "hivematrix-archive" / "scheduled_snapshots.py"}
POSTGRES_PORT = 5009
READ_ALL = ("codex:read", "ledger:read", "archive:read", "helm:read")


@dataclass
class Mesh:
    """A running mesh and its commands. `strike` names a failpoint for the services, once."""

    home: Path
    offset: int
    tokens: dict[str, str] = field(default_factory=dict)
    urls: dict[str, str] = field(default_factory=dict)

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

    def snapshots(self, *arguments: str, code: int | None = 0, **environ: str) -> subprocess.CompletedProcess[str]:
        return self.run(sys.executable, str(SCRIPTS["scheduled_snapshots"]), *arguments, code=code, **environ)

    @property
    def environ(self) -> dict[str, str]:
        return os.environ | {"HIVEMATRIX_HOME": str(self.home)}

    def url(self, service: str) -> str:
        return self.urls.get(service) or f"http://127.0.0.1:{PORTS[service] + self.offset}"

    def token(self, *scopes: str) -> str:
        name = "-".join(scope.replace(":", "-") for scope in scopes)[:40]
        if name not in self.tokens:
            wanted = [part for scope in scopes for part in ("--scope", scope)]
            self.tokens[name] = self.run("hivematrix-helm", "tokens", "issue", name, *wanted).stdout.split()[-1]
            time.sleep(2)  # the promise: live within two seconds
        return self.tokens[name]

    def call(self, method: str, service: str, path: str, scopes: tuple[str, ...] = READ_ALL, **arguments: Any) -> Any:
        headers = {"Authorization": f"Bearer {self.token(*scopes)}"} | arguments.pop("headers", {})
        return requests.request(method, self.url(service) + path, headers=headers, timeout=60, **arguments)

    def user(self, name: str, role: str, *options: str) -> "Browser":
        """A new account, and the browser of whoever has it."""
        password = f"{name} {secrets.token_hex(12)}"
        command = ("hivematrix-helm", "users", "add", name, "--role", role, "--password-stdin", *options)
        self.run(*command, typed=f"{password}\n")
        return Browser(self, name, password)

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

    def strike(self, failpoint: str) -> None:
        (self.home / "strike").write_text(failpoint)

    @property
    def struck(self) -> bool:
        return not (self.home / "strike").exists()

    def calm(self) -> None:
        (self.home / "strike").unlink(missing_ok=True)

    def pid(self, service: str) -> int:
        found = json.loads((self.home / "run" / "mesh.json").read_text())
        return int(found["units"][service]["pid"])

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
    drawn = random.sample(range(9_000, 27_000, 40), 400)
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
    """`start_mesh()`: a new mesh, empty of companies; stopped when the session ends. `change` is called in between."""
    meshes: list[Mesh] = []

    def start(change: Callable[[Mesh], None] | None = None) -> Mesh:
        mesh = Mesh(tmp_path_factory.mktemp("mesh") / "home", free_offset())
        meshes.append(mesh)
        strike = f"@{mesh.home}/strike"
        mesh.run("hivematrix-helm", "up", "--detach", "--port-offset", str(mesh.offset), HIVEMATRIX_FAILPOINT=strike)
        if change:
            mesh.run("hivematrix-helm", "down")
            change(mesh)
            mesh.run("hivematrix-helm", "up", "--detach", HIVEMATRIX_FAILPOINT=strike)
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
    mesh = start_mesh()
    for service in ("codex", "ledger"):
        mesh.run(f"hivematrix-{service}", "import", str(sample))
    return mesh
