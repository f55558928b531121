"""Codex's tables as the queries name them; constraints and indexes stand in the migration."""

from typing import Any

from hivematrix_common.database import new_db
from hivematrix_common.domain.vocabulary import RATES
from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Integer, Numeric, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

db = new_db()


def _of_company(name: str, *columns: Column[Any]) -> Table:
    account = Column("account_number", Text, nullable=False)
    return Table(name, db.metadata, Column("uid", Text, primary_key=True), account, *columns)


companies = Table(
    "companies",
    db.metadata,
    Column("account_number", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("billing_plan", Text),
    Column("contract_term", Text, nullable=False),
    Column("contract_start", Date),
    Column("contract_end", Date),
    Column("currency", Text),
    Column("payment_terms_days", Integer),
    Column("email", Text),
    Column("status", Text, nullable=False),
)
contacts = _of_company(
    "contacts",
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("active", Boolean, nullable=False),
    Column("active_from", Date),
    Column("active_to", Date),
)
assets = _of_company(
    "assets",
    Column("hostname", Text, nullable=False),
    Column("billing_type", Text),
    Column("backup_bytes", BigInteger, nullable=False),
    Column("operating_system", Text),
    Column("active_from", Date),
    Column("active_to", Date),
)
locations = _of_company(
    "locations", Column("name", Text, nullable=False), Column("address", Text), Column("phone_number", Text)
)
tickets = _of_company(
    "tickets",
    Column("number", Text),
    Column("subject", Text),
    Column("status", Text),
    Column("opened_at", DateTime(timezone=True)),
    Column("closed_at", DateTime(timezone=True)),
)
time_entries = _of_company(
    "time_entries",
    Column("ticket_uid", Text, nullable=False),
    Column("worked_on", Date, nullable=False),
    Column("hours", Numeric(19, 4), nullable=False),
    Column("billable", Boolean, nullable=False),
    Column("first_seen", Date, nullable=False),
    Column("late", Boolean, nullable=False),
)
plan_versions = Table(
    "plan_versions",
    db.metadata,
    Column("plan_name", Text, primary_key=True),
    Column("term", Text, primary_key=True),
    Column("valid_from", Date, primary_key=True),
    Column("support_level", Text),
    Column("currency", Text),
    *(Column(rate, Numeric(19, 4)) for rate in RATES),
    Column("count_policy", Text, nullable=False),
    Column("features", JSONB, nullable=False),
)
