"""The pytest plugin: a real PostgreSQL, a clean database a test, people with names, peers that answer as told.

`service(SettingsClass, create_app)` gives a `Service`: the app on a database of its own in which every test's work is
rolled back (`isolation="savepoint"`), or on a fresh copy (`isolation="copy"`) when a test needs several connections.
"""

import base64
import json
import os
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import psycopg2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from flask import Flask
from flask.testing import FlaskClient
from itsdangerous import URLSafeTimedSerializer
from psycopg2 import sql
from sqlalchemy.orm import scoped_session, sessionmaker
from werkzeug.serving import BaseWSGIServer, make_server
from werkzeug.test import TestResponse
from werkzeug.wrappers import Request, Response

from hivematrix_common import auth, migrations, session_tokens, sessions, tokens
from hivematrix_common.conffile import set_section
from hivematrix_common.config import SERVICES, Settings
from hivematrix_common.domain.roles import CLIENT, SCOPES
from hivematrix_common.domain.session import Claims
from hivematrix_common.errors import Problem
from hivematrix_common.health import prober
from hivematrix_common.peers import PeerSource
from hivematrix_common.postgres import Cluster, free_port
from hivematrix_common.provision import create_service
from hivematrix_common.web import App

Isolation = Literal["savepoint", "copy"]
PASSWORD = "test-only"
# Who comes to a service, and what they may. The stranger's token is registered nowhere.
PEOPLE: dict[str, tuple[str, ...]] = {
    "admin": SCOPES,
    "billing_clerk": ("codex:read", "ledger:read", "ledger:write", "ledger:accept", "archive:read"),
    "technician": ("codex:read", "codex:write", "helm:read", "helm:operate"),
    "auditor": ("ledger:read", "archive:read", "helm:read"),
    "client_user": (),
    "peer_service": ("codex:read", "ledger:read", "ledger:accept", "archive:read", "archive:seal", "helm:read"),
}


# The roles of those who can sign in.
ROLE_OF = {
    "admin": "admin",
    "billing_clerk": "billing",
    "technician": "technician",
    "auditor": "auditor",
    "client_user": CLIENT,
}


@dataclass
class FakeHelm:
    """Where sessions are kept, for a service whose Helm is not running. It answers as it is told."""

    ended: set[str] = field(default_factory=set)
    codes: dict[str, str] = field(default_factory=dict)
    fresh: str | None = None
    away: bool = False
    asked: list[str] = field(default_factory=list)

    def renew(self, token: str) -> str | None:
        self._ask("renew")
        del token
        return self.fresh

    def exchange(self, code: str) -> str | None:
        self._ask("exchange")
        return self.codes.pop(code, None)

    def revoked(self) -> set[str]:
        self._ask("revoked")
        return self.ended

    def _ask(self, what: str) -> None:
        self.asked.append(what)
        if self.away:
            raise Problem("peer_unavailable", "helm: no answer")


class Server:
    """The session's PostgreSQL, with one migrated template a service."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self._templates: set[str] = set()
        self._copies = 0

    def admin(self, database: str = "postgres") -> Any:
        """A superuser's connection in autocommit mode."""
        connection = psycopg2.connect(**self.cluster.conninfo | {"dbname": database})
        connection.autocommit = True
        return connection

    def url(self, role: str, database: str) -> str:
        return f"postgresql+psycopg2://{role}:{PASSWORD}@127.0.0.1:{self.cluster.port}/{database}"

    def template(self, service: str) -> str:
        """The service's migrated database; nobody works in it but savepoint tests, which leave nothing."""
        name = f"{service}_db"
        if service not in self._templates:
            with closing(self.admin()) as admin:
                create_service(admin, service, PASSWORD, PASSWORD)
            migrations.upgrade(self.url(f"{service}_owner", name), f"hivematrix_{service}")
            self._templates.add(service)
        return name

    def copy(self, service: str) -> str:
        """A fresh database of the service, made in a few milliseconds."""
        template = self.template(service)
        self._copies += 1
        name = f"{service}_copy_{self._copies}"
        names = {"name": sql.Identifier(name), "template": sql.Identifier(template), "owner": _id(service, "owner")}
        statement = "CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy OWNER {owner}"
        with closing(self.admin()) as admin, admin.cursor() as cursor:
            cursor.execute(sql.SQL(statement).format(**names))
            grant = sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}")
            cursor.execute(grant.format(sql.Identifier(name), _id(service, "user")))
        return name

    def drop(self, database: str) -> None:
        with closing(self.admin()) as admin, admin.cursor() as cursor:
            cursor.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(database)))


@dataclass
class Service:
    """A service under test. Calls are made as a named person; `None` sends no token."""

    app: App
    client: FlaskClient
    people: dict[str, str]
    database: str
    owner_url: str
    signing_key: Ed25519PrivateKey
    helm: FakeHelm

    @property
    def settings(self) -> Any:
        return self.app.settings

    @property
    def db(self) -> Any:
        return self.app.extensions["hivematrix_db"]

    def headers(self, person: str | None) -> dict[str, str]:
        return {"Authorization": f"Bearer {self.people[person]}"} if person else {}

    def call(self, method: str, path: str, person: str | None = "admin", **arguments: Any) -> TestResponse:
        headers = self.headers(person) | arguments.pop("headers", {})
        return self.client.open(path, method=method, headers=headers, **arguments)

    def get(self, path: str, person: str | None = "admin", **arguments: Any) -> TestResponse:
        return self.call("GET", path, person, **arguments)

    def post(self, path: str, person: str | None = "admin", **arguments: Any) -> TestResponse:
        return self.call("POST", path, person, **arguments)

    def session_token(self, person: str, account: str | None = None, **claims: Any) -> str:
        """A session token as Helm would sign it for a named person; a client is one of company 620547."""
        role = ROLE_OF[person]
        account = account or ("620547" if role == CLIENT else None)
        name = person.replace("_", "-")
        said = {"id": "1", "name": name, "display": name.title(), "role": role, "sid": f"session-of-{name}"}
        services = (*SERVICES, self.settings.service_name)
        return session_tokens.issue(self.signing_key, Claims(**said | {"account": account} | claims), services)

    def sign_in(self, person: str, account: str | None = None, **claims: Any) -> str:
        """Give the client that person's session cookie; calls as `None` are made with it. Returns the token."""
        token = self.session_token(person, account, **claims)
        self.client.set_cookie(sessions.cookie_name(self.settings), token)
        return token

    def csrf(self) -> dict[str, str]:
        """The header that an unsafe call by session cookie needs."""
        cookie = self.client.get_cookie(sessions.cookie_name(self.settings))
        sid = session_tokens.Verifier(self.settings).read(cookie.value).sid if cookie else ""
        with self.client.session_transaction() as kept:
            raw = kept.setdefault("csrf_token", "raw")
        signer = URLSafeTimedSerializer(auth.form_secret(self.settings, sid), salt="wtf-csrf-token")
        return {"X-CSRF-Token": signer.dumps(raw)}

    def owner(self) -> Any:
        """The owner's connection (psycopg2, autocommit), for what the service itself may not do."""
        connection = psycopg2.connect(self.owner_url.replace("+psycopg2", ""))
        connection.autocommit = True
        return connection


@dataclass
class FakePeer:
    """A peer that answers over real HTTP as told, and remembers what it was asked."""

    name: str
    calls: list[Request] = field(default_factory=list)
    _answers: dict[tuple[str, str], Callable[[Request], Response]] = field(default_factory=dict)
    _server: BaseWSGIServer | None = None

    @property
    def url(self) -> str:
        assert self._server
        return f"http://127.0.0.1:{self._server.server_port}"

    def answers(
        self, method: str, path: str, body: Any = None, status: int = 200, headers: dict[str, str] | None = None
    ) -> None:
        """Answer `path` with JSON, or with NDJSON when `body` is a list of bytes lines, or as a function decides."""
        if callable(body):
            self._answers[method, path] = body
            return
        lines = isinstance(body, list) and bool(body) and isinstance(body[0], bytes)
        data = b"".join(line + b"\n" for line in body) if lines else json.dumps(body).encode()
        kind = "application/x-ndjson" if lines else "application/json"
        self._answers[method, path] = lambda _request: Response(data, status, headers, content_type=kind)

    def __call__(self, environ: Any, start_response: Any) -> Any:
        request = Request(environ)
        request.get_data()
        self.calls.append(request)
        answer = self._answers.get((request.method, request.path))
        response = answer(request) if answer else Response("{}", 404, content_type="application/json")
        return response(environ, start_response)

    def start(self) -> None:
        self._server = make_server("127.0.0.1", 0, self, threaded=True)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self) -> None:
        if self._server:
            self._server.shutdown()
            self._server.server_close()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Server]:
    """PostgreSQL for the whole session, without fsync, in a folder that goes away."""
    with tempfile.TemporaryDirectory(prefix="hm-", ignore_cleanup_errors=True) as folder:
        cluster = Cluster(Path(folder) / "pg", free_port(), fsync=False)
        with cluster:
            yield Server(cluster)


@pytest.fixture
def people() -> dict[str, str]:
    """Each named person's token, and a stranger's that nobody registered."""
    return {name: tokens.generate(name.replace("_", "-")) for name in (*PEOPLE, "stranger")}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty HIVEMATRIX_HOME."""
    folder = tmp_path / "home"
    (folder / "instance").mkdir(parents=True)
    monkeypatch.setenv("HIVEMATRIX_HOME", str(folder))
    return folder


@pytest.fixture(scope="session")
def signing_key() -> Ed25519PrivateKey:
    """The key Helm signs session tokens with."""
    return Ed25519PrivateKey.generate()


@pytest.fixture
def configure(home: Path, people: dict[str, str], signing_key: Ed25519PrivateKey) -> Callable[..., Any]:
    """`configure(SettingsClass, sections)`: write the service's conf with everybody's tokens, and load it."""
    public = base64.b64encode(signing_key.public_key().public_bytes_raw()).decode()
    needed = {"sessions": {"verify_keys": public}, "pages": {"secret_key": "signs-forms-of-tests"}}
    pem = home / "instance" / "session-key.pem"
    pem.write_bytes(signing_key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    pem.chmod(0o600)

    def write(kind: type[Settings], sections: dict[str, dict[str, str]] | None = None) -> Any:
        conf = home / "instance" / f"{kind.NAME}.conf"
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(os, "fsync", lambda _file: None)  # a conf that need not outlive the test
            for name, values in (needed | (sections or {})).items():
                set_section(conf, name, values)
            for name, scopes in PEOPLE.items():
                tokens.register(conf, people[name], name.replace("_", "-"), scopes)
        return kind.load(home, environ={}, folder=home)

    return write


@pytest.fixture
def service(
    postgres: Server, configure: Callable[..., Any], people: dict[str, str], signing_key: Ed25519PrivateKey
) -> Iterator[Callable[..., Service]]:
    """`service(SettingsClass, create_app, sections=..., isolation=...)`: a service on a clean database."""
    with ExitStack() as stack:

        def make(
            kind: type[Settings],
            create_app: Callable[[Any], App],
            sections: dict[str, dict[str, str]] | None = None,
            isolation: Isolation = "savepoint",
        ) -> Service:
            name = kind.NAME
            database = postgres.template(name) if isolation == "savepoint" else postgres.copy(name)
            sections = {"database": {"url": postgres.url(f"{name}_user", database)}} | (sections or {})
            app = create_app(configure(kind, sections))
            prober(app).look()
            stack.enter_context(app.app_context())
            owner_url, helm = postgres.url(f"{name}_owner", database), FakeHelm()
            made = Service(app, app.test_client(), people, database, owner_url, signing_key, helm)
            known = sessions.of(app)
            if known and isinstance(known.source, PeerSource):
                known.source = helm
            if isolation == "copy":
                stack.callback(postgres.drop, database)
            stack.callback(made.db.engine.dispose)
            if isolation == "savepoint":
                _roll_back_after(stack, app, made.db)
            stack.callback(made.db.session.remove)
            return made

        yield make


@pytest.fixture
def fake_peer() -> Iterator[Callable[[str], FakePeer]]:
    """`fake_peer("codex")`: a running FakePeer; point `[services] codex_url` at its `url`."""
    with ExitStack() as stack:

        def start(name: str) -> FakePeer:
            peer = FakePeer(name)
            peer.start()
            stack.callback(peer.stop)
            return peer

        yield start


@pytest.fixture
def set_clock(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """`set_clock("2025-11-01T02:00:00Z")`: what time it is, here and in processes started from here."""

    def at(instant: str) -> None:
        monkeypatch.setenv("HIVEMATRIX_NOW", instant)

    return at


@pytest.fixture(autouse=True)
def _plain_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(os.environ):
        if name.startswith("HIVEMATRIX_") and name != "HIVEMATRIX_PG_BIN":
            monkeypatch.delenv(name)


def _roll_back_after(stack: ExitStack, app: Flask, db: Any) -> None:
    """Code under test may commit: its commits end savepoints inside a transaction that is never committed."""
    connection = db.engine.connect()
    outer = connection.begin()
    usual = db.session
    db.session = scoped_session(sessionmaker(bind=connection, join_transaction_mode="create_savepoint"))
    app.extensions["hivematrix_single_reads"] = lambda: nullcontext(connection)
    stack.callback(connection.close)
    stack.callback(outer.rollback)
    stack.callback(setattr, db, "session", usual)


def _id(service: str, kind: str) -> sql.Identifier:
    return sql.Identifier(f"{service}_{kind}")
