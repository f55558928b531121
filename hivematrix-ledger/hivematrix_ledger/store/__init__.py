"""All of Ledger's queries, a handful of statements a page of companies."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import orjson
from hivematrix_common import database
from hivematrix_common.database import AnySession
from hivematrix_common.transactions import connection_beside
from sqlalchemy import Connection, text
from sqlalchemy.orm import Session

from hivematrix_ledger.models import db

_LOCK = text(
    "SELECT pg_advisory_lock(hashtextextended('account ' || account, 0))"
    " FROM json_array_elements_text(:accounts) WITH ORDINALITY AS listed (account, place) ORDER BY place"
)
_UNLOCK = text("SELECT pg_advisory_unlock_all()")


def session() -> AnySession:
    """The request's session."""
    return db.session


@contextmanager
def single_reads() -> Iterator[Connection]:
    """A connection for single statements, each of which sees what is committed when it begins."""
    with database.single_reads(db) as connection:
        yield connection
    if database.own_account() is not None:  # a client's are made in a transaction, which waits for no peer
        db.session.rollback()


def listed(values: Sequence[str]) -> str:
    """A parameter for json_array_elements_text: one text, however many values."""
    return orjson.dumps(values).decode()


@contextmanager
def exclusive(accounts: Sequence[str]) -> Iterator[Session]:
    """A session of its own while nobody else accepts bills of `accounts`; its commits keep the locks.

    The locks belong to the connection: they go when the process dies.
    """
    with (
        connection_beside(db.session) as connection,
        Session(connection, join_transaction_mode="create_savepoint") as own,
    ):
        try:
            own.execute(_LOCK, {"accounts": listed(sorted(set(accounts)))})
            own.commit()
            yield own
        finally:
            release(connection, own)


def release(connection: Connection, own: Session) -> None:
    """Give back every advisory lock of a connection; it is closed when that fails."""
    try:
        own.rollback()
        own.execute(_UNLOCK)
        own.commit()
    except Exception:  # noqa: BLE001 - whatever it is, no pooled connection may keep the locks
        connection.invalidate()
