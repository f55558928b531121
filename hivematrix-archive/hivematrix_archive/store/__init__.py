"""All queries: what is in the database, and what is kept outside it."""

from collections.abc import Iterator
from contextlib import contextmanager

from hivematrix_common import database
from hivematrix_common.database import AnySession
from sqlalchemy import Connection, Engine

from hivematrix_archive.models import db


def session() -> AnySession:
    """The present app context's session; it ends with the context, and rolls back what nobody committed."""
    return db.session


@contextmanager
def single_reads() -> Iterator[Connection]:
    """A connection for an answer of a statement or two, each of which sees what is committed when it begins."""
    with database.single_reads(db) as connection:
        yield connection


def engine() -> Engine:
    return db.engine
