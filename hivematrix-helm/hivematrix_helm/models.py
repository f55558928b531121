"""Helm's tables as the queries name them; constraints and grants stand in the migrations."""

from hivematrix_common.database import new_db
from sqlalchemy import BigInteger, Boolean, Column, DateTime, LargeBinary, Table, Text, func

db = new_db()

INSTANT = DateTime(timezone=True)

# Who started, stopped or restarted what.
operations = Table(
    "operations",
    db.metadata,
    Column("id", BigInteger, primary_key=True),
    Column("at", INSTANT, nullable=False, server_default=func.now()),
    Column("caller", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("trace_id", Text, nullable=False),
)

people = Table(
    "people",
    db.metadata,
    Column("id", BigInteger, primary_key=True),
    Column("name", Text, nullable=False),
    Column("display_name", Text, nullable=False),
    Column("role", Text, nullable=False),
    Column("account_number", Text),
    Column("password_hash", Text, nullable=False),
    Column("password_changed_at", INSTANT, nullable=False),
    Column("must_change", Boolean, nullable=False),
    Column("totp_secret", LargeBinary),
    Column("totp_pending", LargeBinary),
    Column("totp_last_step", BigInteger, nullable=False, server_default="0"),
    Column("disabled_at", INSTANT),
    Column("created_at", INSTANT, nullable=False),
    Column("theme", Text, nullable=False, server_default="auto"),
    Column("shortcuts", Boolean, nullable=False, server_default="true"),
)

recovery_codes = Table(
    "recovery_codes",
    db.metadata,
    Column("person_id", BigInteger, primary_key=True),
    Column("digest", LargeBinary, primary_key=True),
    Column("used_at", INSTANT),
)

sessions = Table(
    "sessions",
    db.metadata,
    Column("sid", Text, primary_key=True),
    Column("person_id", BigInteger, nullable=False),
    Column("created_at", INSTANT, nullable=False),
    Column("seen_at", INSTANT, nullable=False),
    Column("ends_at", INSTANT, nullable=False),
    Column("address", Text, nullable=False),
    Column("agent", Text, nullable=False),
    Column("revoked_at", INSTANT),
    Column("revoked_why", Text),
)

# What a person brings to a service of another host name: used once, within a minute.
hand_over_codes = Table(
    "hand_over_codes",
    db.metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("sid", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("made_at", INSTANT, nullable=False),
    Column("used_at", INSTANT),
)

# Wrong tries to sign in.
sign_in_failures = Table(
    "sign_in_failures",
    db.metadata,
    Column("id", BigInteger, primary_key=True),
    Column("name", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("at", INSTANT, nullable=False),
)
