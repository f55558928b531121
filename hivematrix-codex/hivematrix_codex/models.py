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


def _texts_of(*names: str) -> list[Column[Any]]:
    return [Column(name, Text, nullable=False) for name in names]


def _instants_of(*names: str, nullable: bool = False) -> list[Column[Any]]:
    return [Column(name, DateTime(timezone=True), nullable=nullable) for name in names]


def _keys(*names: str) -> list[Column[Any]]:
    return [Column(name, Text, primary_key=True) for name in names]


company_links = Table(
    "company_links",
    db.metadata,
    *_keys("provider", "external_id"),
    *_texts_of("account_number", "name", "linked_by"),
    *_instants_of("linked_at"),
)
source_records = Table(
    "source_records",
    db.metadata,
    *_keys("kind", "uid"),
    *_texts_of("provider", "external_id", "parent"),
    Column("said", JSONB, nullable=False),
    Column("retired_on", Date),
)
sync_marks = Table("sync_marks", db.metadata, *_keys("provider", "kind"), *_instants_of("since"))
sync_wanted = Table(
    "sync_wanted",
    db.metadata,
    *_keys("provider", "external_id"),
    *_texts_of("company", "because"),
    *_instants_of("asked_at"),
)
sync_jobs = Table(
    "sync_jobs",
    db.metadata,
    *_keys("id"),
    *_texts_of("provider", "mode", "status", "asked_by"),
    Column("dry_run", Boolean, nullable=False),
    Column("accepted_retirements", Integer, nullable=False),
    *_instants_of("asked_at"),
    *_instants_of("started_at", "completed_at", nullable=True),
    *(Column(name, JSONB, nullable=False) for name in ("progress", "counts", "errors")),
)
sync_changes = Table(
    "sync_changes",
    db.metadata,
    *_keys("job_id"),
    Column("number", Integer, primary_key=True),
    *_texts_of("kind", "act", "uid", "account_number"),
    Column("what", JSONB, nullable=False),
)
sync_staged = Table(
    "sync_staged",
    db.metadata,
    *_keys("job_id", "kind", "external_id", "company"),
    *_texts_of("parent", "uid"),
    Column("cells", JSONB),
)
webhook_deliveries = Table(
    "webhook_deliveries",
    db.metadata,
    *_keys("provider", "delivery_id"),
    *_texts_of("external_id"),
    *_instants_of("received_at"),
)
