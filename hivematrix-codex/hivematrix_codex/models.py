"""Codex's tables as the queries name them; constraints and indexes stand in the migrations."""

from typing import Any, Final

from hivematrix_common.database import new_db
from hivematrix_common.domain.vocabulary import RATES
from sqlalchemy import BigInteger, Boolean, Column, Date, DateTime, Integer, Numeric, Table, Text
from sqlalchemy.dialects.postgresql import JSONB, TSVECTOR

db = new_db()
UNSEEN: Final = frozenset({"words", "late"})
"""What serves queries alone and is told to nobody."""


def _texts(*names: str) -> list[Column[Any]]:
    return [Column(name, Text) for name in names]


def _instants(*names: str) -> list[Column[Any]]:
    return [Column(name, DateTime(timezone=True)) for name in names]


def _texts_of(*names: str) -> list[Column[Any]]:
    return [Column(name, Text, nullable=False) for name in names]


def _instants_of(*names: str, nullable: bool = False) -> list[Column[Any]]:
    return [Column(name, DateTime(timezone=True), nullable=nullable) for name in names]


def _keys(*names: str) -> list[Column[Any]]:
    return [Column(name, Text, primary_key=True) for name in names]


def _table(name: str, *columns: Column[Any]) -> Table:
    return Table(name, db.metadata, *columns)


def _fact(name: str, *columns: Column[Any]) -> Table:
    """Source and external id say how the system it came from calls it."""
    return _table(name, *columns, Column("source", Text, nullable=False), Column("external_id", Text))


def _of_company(name: str, *columns: Column[Any]) -> Table:
    account = Column("account_number", Text, nullable=False)
    return _fact(name, Column("uid", Text, primary_key=True), account, *columns)


companies = _fact(
    "companies",
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
    *_texts("description", "address", "phone_number", "domains", "support_level"),
    Column("compliance_level", Text, nullable=False),
    *_texts("profit_or_non_profit"),
    Column("company_start", Date),
    *_texts("phone_system", "email_system", "head_name", "prime_user_name", "portal_url"),
    Column("words", TSVECTOR),
)
contacts = _of_company(
    "contacts",
    Column("name", Text, nullable=False),
    Column("email", Text),
    Column("active", Boolean, nullable=False),
    Column("active_from", Date),
    Column("active_to", Date),
    *_texts("person_uid", "title", "mobile_phone_number", "work_phone_number", "secondary_emails"),
    *_texts("employment_type", "location_name"),
    Column("vip", Boolean, nullable=False),
    Column("words", TSVECTOR),
)
assets = _of_company(
    "assets",
    Column("hostname", Text, nullable=False),
    Column("billing_type", Text),
    Column("backup_bytes", BigInteger, nullable=False),
    Column("operating_system", Text),
    Column("active_from", Date),
    Column("active_to", Date),
    Column("billing_type_pinned", Boolean, nullable=False),
    *_texts("hardware_type", "device_type", "domain", "antivirus_product", "description", "last_logged_in_user"),
    *_texts("ext_ip_address", "int_ip_address", "patch_status", "portal_url"),
    Column("online", Boolean),
    *_instants("last_seen", "last_reboot", "last_audit"),
    Column("words", TSVECTOR),
)
locations = _of_company(
    "locations", Column("name", Text, nullable=False), *_texts("address", "phone_number"), Column("retired_on", Date)
)
tickets = _of_company(
    "tickets",
    *_texts("number", "subject", "status"),
    *_instants("opened_at", "closed_at"),
    *_texts("priority", "ticket_type", "description", "requester_name", "requester_email", "agent_uid", "group_name"),
    *_instants("last_updated_at", "first_responded_at", "agent_responded_at", "fr_due_by", "due_by"),
    Column("words", TSVECTOR),
)
time_entries = _of_company(
    "time_entries",
    Column("ticket_uid", Text, nullable=False),
    Column("worked_on", Date, nullable=False),
    Column("hours", Numeric(19, 4), nullable=False),
    Column("billable", Boolean, nullable=False),
    Column("first_seen", Date, nullable=False),
    Column("late", Boolean, nullable=False),
    Column("notes", Text),
)
plan_versions = _table(
    "plan_versions",
    Column("plan_name", Text, primary_key=True),
    Column("term", Text, primary_key=True),
    Column("valid_from", Date, primary_key=True),
    Column("support_level", Text),
    Column("currency", Text),
    *(Column(rate, Numeric(19, 4)) for rate in RATES),
    Column("count_policy", Text, nullable=False),
    Column("features", JSONB, nullable=False),
)
asset_contacts = _table(
    "asset_contacts",
    Column("asset_uid", Text, primary_key=True),
    Column("contact_uid", Text, primary_key=True),
    Column("account_number", Text, nullable=False),
    Column("active", Boolean, nullable=False),
)
psa_agents = _table(
    "psa_agents",
    Column("uid", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("external_id", Text),
    Column("name", Text, nullable=False),
    *_texts("email", "job_title"),
    Column("active", Boolean, nullable=False),
)
rmm_site_links = _table(
    "rmm_site_links",
    Column("provider", Text, primary_key=True),
    Column("site_uid", Text, primary_key=True),
    Column("account_number", Text, nullable=False),
    Column("site_name", Text),
)
feature_options = _table(
    "feature_options",
    Column("feature_category", Text, primary_key=True),
    Column("option_value", Text, primary_key=True),
    *_texts("display_name", "description"),
    Column("retired_on", Date),
)
fact_changes = _table(
    "fact_changes",
    Column("id", BigInteger, primary_key=True),
    Column("at", DateTime(timezone=True), nullable=False),
    *(Column(name, Text, nullable=False) for name in ("actor", "actor_kind", "action")),
    Column("trace_id", Text),
    Column("xid", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("account_number", Text),
    Column("before", JSONB),
    Column("after", JSONB, nullable=False),
)
company_links = _table(
    "company_links",
    *_keys("provider", "external_id"),
    *_texts_of("account_number", "name", "linked_by"),
    *_instants_of("linked_at"),
)
source_records = _table(
    "source_records",
    *_keys("kind", "uid"),
    *_texts_of("provider", "external_id", "parent"),
    Column("said", JSONB, nullable=False),
    Column("retired_on", Date),
)
sync_marks = _table("sync_marks", *_keys("provider", "kind"), *_instants_of("since"))
sync_wanted = _table(
    "sync_wanted",
    *_keys("provider", "external_id"),
    *_texts_of("company", "because"),
    *_instants_of("asked_at"),
)
sync_jobs = _table(
    "sync_jobs",
    *_keys("id"),
    *_texts_of("provider", "mode", "status", "asked_by"),
    Column("dry_run", Boolean, nullable=False),
    Column("accepted_retirements", Integer, nullable=False),
    *_instants_of("asked_at"),
    *_instants_of("started_at", "completed_at", nullable=True),
    *(Column(name, JSONB, nullable=False) for name in ("progress", "counts", "errors")),
)
sync_changes = _table(
    "sync_changes",
    *_keys("job_id"),
    Column("number", Integer, primary_key=True),
    *_texts_of("kind", "act", "uid", "account_number"),
    Column("what", JSONB, nullable=False),
)
sync_staged = _table(
    "sync_staged",
    *_keys("job_id", "kind", "external_id", "company"),
    *_texts_of("parent", "uid"),
    Column("cells", JSONB),
)
webhook_deliveries = _table(
    "webhook_deliveries",
    *_keys("provider", "delivery_id"),
    *_texts_of("external_id"),
    *_instants_of("received_at"),
)
FACTS: Final[dict[str, Table]] = {
    table.name: table for table in (companies, contacts, assets, locations, tickets, time_entries)
}


def seen(table: Table, but: frozenset[str] = frozenset()) -> list[str]:
    """The names of a table's columns that are told."""
    return [str(column.name) for column in table.columns if column.name not in UNSEEN | but]
