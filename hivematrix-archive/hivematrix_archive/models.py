"""Archive's tables as the queries name them; constraints, triggers and grants stand in the migration."""

from hivematrix_common.database import new_db
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Date,
    DateTime,
    Integer,
    LargeBinary,
    Numeric,
    SmallInteger,
    Table,
    Text,
)
from sqlalchemy.dialects.postgresql import JSONB

db = new_db()

MONEY = Numeric(20, 4)
INSTANT = DateTime(timezone=True)

snapshots = Table(
    "billing_snapshots",
    db.metadata,
    Column("id", BigInteger, primary_key=True),
    Column("company_account_number", Text, nullable=False),
    Column("company_name", Text, nullable=False),
    Column("invoice_number", Text, nullable=False),
    Column("billing_year", Integer, nullable=False),
    Column("billing_month", Integer, nullable=False),
    Column("invoice_date", Date, nullable=False),
    Column("due_date", Date, nullable=False),
    Column("archived_at", INSTANT, nullable=False),
    Column("billing_plan", Text),
    Column("contract_term", Text),
    Column("support_level", Text),
    Column("total_amount", MONEY, nullable=False),
    Column("total_user_charges", MONEY, nullable=False),
    Column("total_asset_charges", MONEY, nullable=False),
    Column("total_backup_charges", MONEY, nullable=False),
    Column("total_ticket_charges", MONEY, nullable=False),
    Column("total_line_item_charges", MONEY, nullable=False),
    Column("total_tax_charges", MONEY, nullable=False),
    Column("user_count", Integer, nullable=False),
    Column("asset_count", Integer, nullable=False),
    Column("billable_hours", MONEY, nullable=False),
    Column("created_by", Text),
    Column("notes", Text),
    Column("kind", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("currency", Text, nullable=False),
    Column("body_sha256", Text, nullable=False),
    Column("log_index", BigInteger, nullable=False),
    Column("corrects", Text),
)

line_items = Table(
    "snapshot_line_items",
    db.metadata,
    Column("id", Integer, primary_key=True),
    Column("snapshot_id", BigInteger, primary_key=True),
    Column("line_type", Text, nullable=False),
    Column("item_name", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("quantity", MONEY, nullable=False),
    Column("rate", MONEY, nullable=False),
    Column("amount", MONEY, nullable=False),
)

bodies = Table(
    "bodies",
    db.metadata,
    Column("billing_year", Integer, primary_key=True),
    Column("log_index", BigInteger, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("csv", LargeBinary, nullable=False),
    Column("meta", LargeBinary, nullable=False),
    schema="archive_data",
)

schedule = Table(
    "scheduled_snapshots",
    db.metadata,
    Column("id", Integer, primary_key=True),
    Column("enabled", Boolean, nullable=False),
    Column("day_of_month", Integer, nullable=False),
    Column("hour", Integer, nullable=False),
    Column("snapshot_previous_month", Boolean, nullable=False),
    Column("snapshot_all_companies", Boolean, nullable=False),
    Column("account_numbers", JSONB(none_as_null=True)),
    Column("last_run_at", INSTANT),
    Column("last_run_status", Text),
    Column("last_run_count", Integer),
    Column("last_run_log", Text),
    Column("created_at", INSTANT, nullable=False),
    Column("updated_at", INSTANT),
)

jobs = Table(
    "snapshot_jobs",
    db.metadata,
    Column("id", Text, primary_key=True),
    Column("job_type", Text, nullable=False),
    Column("status", Text, nullable=False),
    Column("target_year", Integer, nullable=False),
    Column("target_month", Integer, nullable=False),
    Column("target_account_numbers", JSONB(none_as_null=True)),
    Column("total_companies", Integer, nullable=False),
    Column("completed_companies", Integer, nullable=False),
    Column("failed_companies", Integer, nullable=False),
    Column("started_at", INSTANT, nullable=False),
    Column("completed_at", INSTANT),
    Column("output", JSONB(none_as_null=True)),
    Column("error", Text),
    Column("success", Boolean),
    Column("triggered_by", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("runner", Text),
    Column("cancel_asked_at", INSTANT),
    Column("cancel_asked_by", Text),
)

job_results = Table(
    "job_results",
    db.metadata,
    Column("job_id", Text, primary_key=True),
    Column("attempt", Integer, primary_key=True),
    Column("account_number", Text, primary_key=True),
    Column("happened", Text, nullable=False),
    Column("reason", Text),
    Column("retryable", Boolean, nullable=False),
    Column("invoice_number", Text),
    Column("total", MONEY),
    Column("recorded_at", INSTANT, nullable=False),
    schema="archive_data",
)

entries = Table(
    "entries",
    db.metadata,
    Column("index", BigInteger, primary_key=True),
    Column("leaf", LargeBinary, nullable=False),
    Column("hash", LargeBinary, nullable=False),
    schema="archive_log",
)

documents = Table(
    "documents",
    db.metadata,
    Column("index", BigInteger, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("meta", LargeBinary, nullable=False),
    schema="archive_log",
)

nodes = Table(
    "nodes",
    db.metadata,
    Column("level", SmallInteger, primary_key=True),
    Column("index", BigInteger, primary_key=True),
    Column("hash", LargeBinary, nullable=False),
    schema="archive_log",
)

checkpoints = Table(
    "checkpoints",
    db.metadata,
    Column("id", BigInteger, primary_key=True),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("snapshots", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    Column("signed_at", INSTANT, nullable=False),
    schema="archive_log",
)

# What each full verify found; `bad_index` null: all was good.
verifications = Table(
    "verifications",
    db.metadata,
    Column("id", BigInteger, primary_key=True),
    Column("at", INSTANT, nullable=False),
    Column("entries", BigInteger, nullable=False),
    Column("snapshots", BigInteger, nullable=False),
    Column("bad_index", BigInteger),
    Column("why", Text),
    schema="archive_log",
)

names = Table(
    "names",
    db.metadata,
    Column("id", BigInteger, primary_key=True),
    Column("account_number", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("since", BigInteger, nullable=False),
    Column("until", BigInteger),
    schema="archive_search",
)

months = Table(
    "months",
    db.metadata,
    Column("billing_year", Integer, primary_key=True),
    Column("billing_month", Integer, primary_key=True),
    Column("documents", BigInteger, nullable=False),
    schema="archive_search",
)

filled = Table(
    "filled",
    db.metadata,
    Column("id", Integer, primary_key=True),
    Column("upto", BigInteger, nullable=False),
    schema="archive_search",
)
