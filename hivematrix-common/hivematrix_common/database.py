"""PostgreSQL for a service: engine options, the worker gate, advisory locks, COPY. Nothing else is spoken here."""

import threading
from collections.abc import Iterable
from contextlib import closing
from io import BytesIO
from typing import Any

import psycopg2
from flask import Flask, current_app, g, has_app_context, request
from flask_sqlalchemy import SQLAlchemy
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import DeclarativeBase, Session, scoped_session

from hivematrix_common import auth, deadlines, metrics
from hivematrix_common.config import Settings
from hivematrix_common.errors import Problem

COPY_BUFFER = 256 * 1024
AnySession = Session | scoped_session[Any]


def new_db() -> SQLAlchemy:
    """A service's Flask-SQLAlchemy object; it touches nothing until an app is made."""

    class ServiceBase(DeclarativeBase):
        pass

    return SQLAlchemy(model_class=ServiceBase)


def engine_options(settings: Settings) -> dict[str, Any]:
    database = settings.database
    server = f"-c statement_timeout={database.statement_timeout_ms} -c idle_in_transaction_session_timeout=60000"
    return {
        "pool_size": settings.service.threads,
        "max_overflow": 0,
        "pool_timeout": database.pool_wait_ms / 1000,
        "pool_pre_ping": True,
        "pool_recycle": 1800,
        "connect_args": {
            "connect_timeout": 3,
            "application_name": f"hivematrix-{settings.service_name}",
            "options": f"{server} -c timezone=UTC",
            "keepalives_idle": 10,
            "tcp_user_timeout": 20000,
        },
    }


def init_database(app: Flask, db: SQLAlchemy, settings: Settings) -> None:
    """Bind the models to the configured server, and let at most threads - 1 requests be in database work."""
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.database.sqlalchemy_url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(settings)
    db.init_app(app)
    app.extensions["hivematrix_db"] = db
    _init_gate(app, max(1, settings.service.threads - 1))
    with app.app_context():
        _count_statements(app, db)


def _init_gate(app: Flask, width: int) -> None:
    gate = app.extensions["hivematrix_gate"] = threading.BoundedSemaphore(width)

    @app.before_request
    def enter() -> None:
        if request.url_rule is None or auth.scope_of(app, request.endpoint or "") in {auth.PUBLIC, auth.LOCAL}:
            return
        if not gate.acquire(blocking=False):
            metrics.of(app).busy.inc()
            raise Problem("busy", "All workers are in database work; try again.", headers={"Retry-After": "1"})
        g.in_gate = True

    @app.teardown_request
    def leave(_error: BaseException | None) -> None:
        if g.pop("in_gate", False):
            gate.release()


def _count_statements(app: Flask, db: SQLAlchemy) -> None:
    counter = metrics.of(app).statements

    @event.listens_for(db.engine, "before_cursor_execute")
    def count(*_arguments: Any) -> None:
        counter.inc()
        deadlines.check()


def advisory_xact_lock(session: AnySession, name: str) -> None:
    """Wait for the lock `name`; it is released with the transaction."""
    session.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name})


def try_advisory_xact_lock(session: AnySession, name: str) -> bool:
    """Take the lock `name` until the transaction ends; False at once when another holds it."""
    query = text("SELECT pg_try_advisory_xact_lock(hashtextextended(:name, 0))")
    return bool(session.execute(query, {"name": name}).scalar_one())


def copy_rows(
    session: AnySession, table: str, columns: Iterable[str], data: bytes, options: str = "FORMAT text"
) -> None:
    """COPY ready-made rows into `table` within the session's transaction. `table` and `columns` are our own names.

    DBAPIError as for any other statement: a deadlock, a timeout, a server that went away.
    """
    statement = f"COPY {table} ({', '.join(columns)}) FROM STDIN WITH ({options})"
    connection = session.connection()
    raw = connection.connection
    try:
        with closing(raw.cursor()) as cursor:
            cursor.copy_expert(statement, BytesIO(data), size=COPY_BUFFER)
    except psycopg2.Error as error:
        lost = bool(raw.closed)
        if lost:
            connection.invalidate(error)
        raise DBAPIError.instance(statement, None, error, psycopg2.Error, connection_invalidated=lost) from error
    if has_app_context():
        metrics.of(current_app).statements.inc()


def copy_text(value: object) -> str:
    """One value in COPY's text format. Guarded replaces: most values need none."""
    if value is None:
        return "\\N"
    if value is True or value is False:
        return "t" if value else "f"
    field = str(value)
    if "\\" in field:
        field = field.replace("\\", "\\\\")
    if "\n" in field or "\r" in field or "\t" in field:
        field = field.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    return field


def copy_lines(rows: Iterable[Iterable[object]]) -> bytes:
    """Rows in COPY's text format."""
    return "".join("\t".join(map(copy_text, row)) + "\n" for row in rows).encode()
