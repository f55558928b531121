"""Transactions beside the request's own."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

from sqlalchemy import Connection
from sqlalchemy.orm import Session, scoped_session


def connection_beside(session: Session | scoped_session[Any]) -> AbstractContextManager[Connection]:
    """A connection from the session's pool; where the session is bound to one already, that one."""
    bind = session.get_bind()
    return nullcontext(bind) if isinstance(bind, Connection) else bind.connect()


@contextmanager
def transaction_beside(session: Session | scoped_session[Any]) -> Iterator[Connection]:
    """A transaction that ends with its block, whatever becomes of the session's."""
    with (
        connection_beside(session) as connection,
        connection.begin_nested() if connection.in_transaction() else connection.begin(),
    ):
        yield connection
