"""Helm's tables."""

from hivematrix_common.database import new_db
from sqlalchemy import BigInteger, Column, DateTime, Table, Text, func

db = new_db()

# Who started, stopped or restarted what.
operations = Table(
    "operations",
    db.metadata,
    Column("id", BigInteger, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("caller", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("trace_id", Text, nullable=False),
)
