"""All queries: what is in the database, and what is kept outside it."""

from hivematrix_common.database import AnySession
from sqlalchemy import Engine

from hivematrix_archive.models import db


def session() -> AnySession:
    """The present app context's session; it ends with the context, and rolls back what nobody committed."""
    return db.session


def engine() -> Engine:
    return db.engine
