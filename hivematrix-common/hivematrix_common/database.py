"""PostgreSQL for a service: engine options, the worker gate, clients' confinement, advisory locks, COPY."""

import select
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from functools import partial
from io import BytesIO
from typing import Any, NoReturn

import psycopg2
from flask import Flask, current_app, g, has_app_context, has_request_context, request
from flask_sqlalchemy import SQLAlchemy
from psycopg2.extras import NamedTupleCursor
from sqlalchemy import ColumnElement, Connection, Engine, event, text, true
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.orm import DeclarativeBase, Session, scoped_session

from hivematrix_common import audit, auth, deadlines, metrics
from hivematrix_common.config import Settings
from hivematrix_common.errors import Problem

COPY_BUFFER = 256 * 1024
AnySession = Session | scoped_session[Any]
Reader = AnySession | Connection


def new_db() -> SQLAlchemy:
    """A service's Flask-SQLAlchemy object; it touches nothing until an app is made."""

    class ServiceBase(DeclarativeBase):
        pass

    return SQLAlchemy(model_class=ServiceBase)


def engine_options(settings: Settings, background: int = 0) -> dict[str, Any]:
    database = settings.database
    server = f"-c statement_timeout={database.statement_timeout_ms} -c idle_in_transaction_session_timeout=60000"
    return {
        "pool_size": settings.service.threads + background,
        "max_overflow": 0,
        "pool_timeout": database.pool_wait_ms / 1000,
        "pool_recycle": 1800,
        "hide_parameters": True,  # a fault is logged with its statement, never with what people sent
        "connect_args": {
            "connect_timeout": 3,
            "application_name": f"hivematrix-{settings.service_name}",
            "options": f"{server} -c timezone=UTC",
            "keepalives_idle": 10,
            "tcp_user_timeout": 20000,
        },
    }


def init_database(
    app: Flask, db: SQLAlchemy, settings: Settings, *, confined: bool = True, background: int = 0
) -> None:
    """Bind the models to the configured server, and let at most threads - 1 requests be in database work.

    A client's request sees its own company's rows alone, unless the service has no clients' rows (`confined=False`).
    What a service does besides answering has `background` connections of its own, and takes none from requests.
    """
    app.config["SQLALCHEMY_DATABASE_URI"] = settings.database.sqlalchemy_url
    app.config["SQLALCHEMY_ENGINE_OPTIONS"] = engine_options(settings, background)
    db.init_app(app)
    app.extensions["hivematrix_db"] = db
    _init_gate(app, max(1, settings.service.threads - 1))
    with app.app_context():
        leave_dead_connections(db.engine)
        app.extensions["hivematrix_single_reads"] = partial(_without_transaction, db.engine)
        _count_statements(app, db)
        audit.listen(db.engine)
        if confined:
            _confine_clients(app, db, f"{settings.service_name}_client")


def _init_gate(app: Flask, width: int) -> None:
    gate = app.extensions["hivematrix_gate"] = threading.BoundedSemaphore(width)

    @app.before_request
    def enter() -> None:
        view, scope = app.view_functions.get(request.endpoint or ""), auth.scope_of(app, request.endpoint or "")
        # A public page, signing in above all, is database work as well; health is not.
        if (
            request.url_rule is None
            or scope == auth.LOCAL
            or (scope == auth.PUBLIC and not getattr(view, "hm_page", 0))
        ):
            return
        if not gate.acquire(blocking=False):
            metrics.of(app).busy.inc()
            raise Problem("busy", "All workers are in database work; try again.", headers={"Retry-After": "1"})
        g.in_gate = True

    @app.teardown_request
    def leave(_error: BaseException | None) -> None:
        if g.pop("in_gate", False):
            gate.release()


def leave_dead_connections(engine: Engine) -> None:
    """Take no pooled connection that the server has closed or said its last word on: either can be read from it.

    It costs nothing, where a statement to try it (`pool_pre_ping`) is another way to the server and back.
    """

    @event.listens_for(engine, "checkout")
    def refuse(raw: Any, *_record: Any) -> None:
        if raw.closed or _has_something_to_read(raw.fileno()):
            raise DisconnectionError


def _has_something_to_read(descriptor: int) -> bool:
    look = select.poll()
    look.register(descriptor, select.POLLIN)
    return bool(look.poll(0))


@contextmanager
def single_reads(db: SQLAlchemy) -> Iterator[Connection]:
    """For a request that is answered by a statement or two, each of which sees what is committed when it begins.

    Without a transaction two ways to the server and back are saved; a client's request has one, for its role.
    """
    if own_account() is not None:
        yield db.session.connection()
        return
    with current_app.extensions["hivematrix_single_reads"]() as connection:
        yield connection


@contextmanager
def _without_transaction(engine: Engine) -> Iterator[Connection]:
    """By the driver's own switch, which sends nothing; SQLAlchemy's isolation levels are set at the server."""
    with engine.connect() as connection:
        raw: Any = connection.connection.dbapi_connection
        raw.autocommit = True
        try:
            yield connection
        finally:
            if not raw.closed:
                raw.autocommit = False


def connection_of(reader: Reader) -> Connection:
    """What it runs its statements on."""
    return reader if isinstance(reader, Connection) else reader.connection()


def _count_statements(app: Flask, db: SQLAlchemy) -> None:
    counter = metrics.of(app).statements

    @event.listens_for(db.engine, "before_cursor_execute")
    def count(*_arguments: Any) -> None:
        counter.inc()
        deadlines.check()


def _confine_clients(app: Flask, db: SQLAlchemy, role: str) -> None:
    """Every transaction of a client's request runs as `role`, to which row-level security shows one account's rows.

    Both settings end with their transaction, so a pooled connection carries neither to the next request.
    """
    statement = f"SET LOCAL ROLE {role}; SELECT set_config('hivematrix.account_number', %(account)s, true)"

    @app.before_request
    def begin_anew() -> None:
        # What was read to know the caller was read as the service.
        if own_account() is not None and db.session().in_transaction():
            db.session.rollback()

    @event.listens_for(db.engine, "begin")
    def confine(connection: Connection) -> None:
        account = own_account()
        if account is not None:
            connection.exec_driver_sql(statement, {"account": account})


def own_account() -> str | None:
    """The one account that the present request may see; None for everyone but a client."""
    return auth.own_account() if has_request_context() else None


def only_own(account: ColumnElement[str]) -> ColumnElement[bool]:
    """The condition of every query that a client may cause: the row is of its own account."""
    own = own_account()
    return true() if own is None else account == own


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
    try:
        with closing(connection.connection.cursor()) as cursor:
            cursor.copy_expert(statement, BytesIO(data), size=COPY_BUFFER)
    except psycopg2.Error as error:
        _raise_as_usual(connection, statement, error)
    if has_app_context():
        metrics.of(current_app).statements.inc()


def rows(connection: Connection, statement: str, values: Sequence[Any] | Mapping[str, Any] = ()) -> list[Any]:
    """A statement's rows as named tuples, straight from the driver: what is done around them otherwise takes longer
    than most statements. DBAPIError as for any other.
    """
    deadlines.check()
    if has_app_context():
        metrics.of(current_app).statements.inc()
    try:
        with closing(connection.connection.cursor(cursor_factory=NamedTupleCursor)) as cursor:
            cursor.execute(statement, values or None)
            return list(cursor.fetchall()) if cursor.description else []
    except psycopg2.Error as error:
        _raise_as_usual(connection, statement, error)


def _raise_as_usual(connection: Connection, statement: str, error: psycopg2.Error) -> NoReturn:
    """The driver's fault as SQLAlchemy's, and a lost connection given up."""
    lost = bool(connection.connection.closed)
    if lost:
        connection.invalidate(error)
    raise DBAPIError.instance(statement, None, error, psycopg2.Error, connection_invalidated=lost) from error


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
