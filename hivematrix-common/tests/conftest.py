"""A toy service in a folder of its own, so that the shared library is tested without any of the four."""

import errno
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from flask import Response
from hivematrix_common import audit_feed, auth, config, idempotency, web
from hivematrix_common.config import Settings
from hivematrix_common.database import init_database, new_db
from hivematrix_common.health import init_health
from hivematrix_common.peers import PeerSource
from hivematrix_common.schemas import DecimalText, Model
from hivematrix_common.sections import key, section
from hivematrix_common.sessions import init_sessions
from sqlalchemy import text

MIGRATION = """
from alembic import op
from hivematrix_common.audit_ddl import audit_ddl
from hivematrix_common.idempotency import table_ddl
revision, down_revision = "0001", None

def upgrade():
    op.execute("CREATE TABLE notes (id int GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text text NOT NULL)")
    op.execute(table_ddl("keys"))
    op.execute("GRANT SELECT, INSERT ON notes, keys TO toy_user")
    for statement in audit_ddl("toy"):
        op.execute(statement)
"""


@dataclass(frozen=True, kw_only=True)
class Extra:
    size: int = key(7, "how large")
    secret: str = key("", "a secret", secret=True)


@dataclass(frozen=True, kw_only=True)
class ToySettings(Settings):
    NAME = "toy"
    extra: Extra = section(Extra)


class CompanyPath(Model):
    account_number: str


class BillQuery(Model):
    account_number: str | None = None


class Note(Model):
    text: str
    price: DecimalText | None = None


@pytest.fixture(scope="session", autouse=True)
def _toy_package(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    root = tmp_path_factory.mktemp("toy")
    versions = root / "hivematrix_toy" / "migrations" / "versions"
    versions.mkdir(parents=True)
    (root / "hivematrix_toy" / "__init__.py").write_text("")
    (versions / "0001_first.py").write_text(MIGRATION)
    sys.path.insert(0, str(root))
    config.PORTS["toy"] = 5999
    yield
    sys.path.remove(str(root))
    del config.PORTS["toy"]


def create_toy(settings: ToySettings) -> web.App:
    db = new_db()
    app = web.new_app(settings, "hivematrix_toy", "Toy")
    init_sessions(app, PeerSource(settings))
    init_database(app, db, settings)
    init_health(app)
    api = web.Api("toy", __name__)

    @api.get("/api/notes", scope="codex:read")
    def list_notes() -> Response:
        return web.json_answer([row.text for row in db.session.execute(text("SELECT text FROM notes ORDER BY id"))])

    @api.post("/api/notes", scope="codex:write")
    def add_note(body: Note) -> Response:
        keyed = idempotency.claim(db.session, "keys")
        if isinstance(keyed, Response):
            return keyed
        db.session.execute(text("INSERT INTO notes (text) VALUES (:text)"), {"text": body.text})
        answer = idempotency.store(db.session, keyed, web.json_answer(body.model_dump(mode="json"), 201))
        db.session.commit()
        return answer

    @api.post("/api/lines", scope="codex:write", max_body=3_000_000)
    def count_lines() -> Response:
        return web.json_answer(len(web.ndjson_documents()))

    @api.get("/api/slow", scope="codex:read")
    def slow() -> Response:
        db.session.execute(text("SELECT pg_sleep(1)"))
        return web.json_answer("done")

    @api.get("/api/full", scope="codex:read")
    def full() -> Response:
        raise OSError(errno.ENOSPC, "No space left on device", "/a/secret/detail")

    @api.get("/api/broken", scope="codex:read")
    def broken() -> Response:
        raise RuntimeError("a secret detail")

    @api.get("/api/huge", scope="codex:read")
    def huge() -> Response:
        return web.json_answer("x" * 10**17)

    add_client_routes(api)
    app.register_api(api)
    app.register_api(audit_feed.api)
    add_pages(app)
    app.add_url_rule("/forgotten", view_func=lambda: "open to all?", endpoint="forgotten")
    return app


def add_client_routes(api: web.Api) -> None:
    @api.get("/api/companies/<account_number>", scope="codex:read", client="account_number")
    def company(path: CompanyPath) -> Response:
        return web.json_answer(path.account_number)

    @api.get("/api/bills", scope="ledger:read", client="account_number")
    def bills(query: BillQuery) -> Response:
        return web.json_answer(auth.own_account() or query.account_number)

    @api.get("/api/mine", scope="ledger:read", client=True)
    def mine() -> Response:
        return web.json_answer(auth.own_account())


def add_pages(app: web.App) -> None:
    def home() -> str:
        return auth.csrf_token()

    def login() -> str:
        found = auth.signed_in()
        return f"{found.name if found else 'nobody'} {auth.csrf_token()}"

    def prices() -> str:
        return "changed"

    for rule, view, scope in (("/", home, auth.PERSON), ("/login", login, None), ("/prices", prices, "codex:write")):
        web.mark(view, scope, page=True)
        app.add_url_rule(rule, view_func=view, methods=["GET", "POST"])


@pytest.fixture
def toy_parts() -> tuple[type[Settings], Callable[..., web.App]]:
    """What `service` needs to make a toy of other settings."""
    return ToySettings, create_toy


@pytest.fixture
def toy(service: Callable[..., Any]) -> Any:
    return service(ToySettings, create_toy)


@pytest.fixture
def own_toy(service: Callable[..., Any]) -> Any:
    """For tests that need several connections, lose them, or need the owner: a database of its own."""
    return service(ToySettings, create_toy, isolation="copy")


@pytest.fixture
def toy_settings(configure: Callable[..., Any]) -> Callable[..., ToySettings]:
    """`toy_settings(sections)`: the toy's conf, written and loaded, with a database nobody asks."""

    def load(sections: dict[str, dict[str, str]] | None = None) -> ToySettings:
        found: ToySettings = configure(
            ToySettings, {"database": {"url": "postgresql://toy@localhost/toy"}} | (sections or {})
        )
        return found

    return load
