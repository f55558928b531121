"""Helm's tables as the queries name them; constraints and grants stand in the migrations."""

from hivematrix_common.database import new_db
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Computed,
    Date,
    DateTime,
    Float,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

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

# What was done in all services, as they wrote it.
collected = Table(
    "collected",
    db.metadata,
    Column("id", BigInteger, primary_key=True),
    Column("uid", Uuid, nullable=False),
    Column("at", INSTANT, nullable=False),
    Column("service", Text, nullable=False),
    Column("actor", Text),
    Column("actor_kind", Text, nullable=False),
    Column("role", Text),
    Column("action", Text, nullable=False),
    Column("target", Text),
    Column("outcome", Text, nullable=False),
    Column("status", SmallInteger),
    Column("address", Text),
    Column("trace_id", Text),
    Column("details", JSONB, nullable=False),
    Column("collected_at", INSTANT, nullable=False),
    schema="audit",
)

# Up to where each service's rows were taken over, and how many there are of it.
sources = Table(
    "sources",
    db.metadata,
    Column("service", Text, primary_key=True),
    Column("source", Text, nullable=False),
    Column("last", BigInteger, nullable=False),
    Column("collected", BigInteger, nullable=False),
    Column("asked_at", INSTANT),
    schema="audit",
)

# The archive's checkpoints as they were seen here: when the log began to be watched, under which keys, and each note.
beginnings = Table(
    "beginnings",
    db.metadata,
    Column("id", BigInteger, primary_key=True),
    Column("at", INSTANT, nullable=False),
    Column("reason", Text, nullable=False),
    schema="witness",
)

log_keys = Table(
    "keys",
    db.metadata,
    Column("id", BigInteger, primary_key=True),
    Column("beginning", BigInteger, nullable=False),
    Column("vkey", Text, nullable=False),
    Column("at", INSTANT, nullable=False),
    schema="witness",
)

checkpoints = Table(
    "checkpoints",
    db.metadata,
    Column("id", BigInteger, primary_key=True),
    Column("beginning", BigInteger, nullable=False),
    Column("archive_id", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("note", Text, nullable=False),
    Column("received_at", INSTANT, nullable=False),
    schema="witness",
)

# Each change of what watching found.
findings = Table(
    "findings",
    db.metadata,
    Column("id", BigInteger, primary_key=True),
    Column("at", INSTANT, nullable=False),
    Column("state", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("note", Text),
    schema="witness",
)

looks = Table(
    "looks",
    db.metadata,
    Column("id", Integer, primary_key=True),
    Column("began_at", INSTANT, nullable=False),
    Column("seen_at", INSTANT),
    Column("looked_at", INSTANT, nullable=False),
    Column("directory_fault", Text),
    schema="witness",
)

# How the backup stands: one row.
backup_watch = Table(
    "backup_watch",
    db.metadata,
    Column("id", Integer, primary_key=True),
    Column("began_at", INSTANT, nullable=False),
    Column("looked_at", INSTANT, nullable=False),
    Column("state", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("since", INSTANT, nullable=False),
)

# How the services were: probes of a minute, minutes of a day, how each stands now.
minutes = Table(
    "minutes",
    db.metadata,
    Column("service", Text, primary_key=True),
    Column("minute", INSTANT, primary_key=True),
    Column("probes", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("slow", Integer, nullable=False),
    Column("total_ms", Float, nullable=False),
    Column("max_ms", Float, nullable=False),
    Column("state", Text, Computed(""), nullable=False),
    schema="health",
)

days = Table(
    "days",
    db.metadata,
    Column("service", Text, primary_key=True),
    Column("day", Date, primary_key=True),
    Column("up", Integer, nullable=False),
    Column("slow", Integer, nullable=False),
    Column("down", Integer, nullable=False),
    Column("mean_ms", Float, nullable=False),
    Column("max_ms", Float, nullable=False),
    schema="health",
)

watched = Table(
    "watched",
    db.metadata,
    Column("service", Text, primary_key=True),
    Column("state", Text, nullable=False),
    Column("since", INSTANT, nullable=False),
    Column("streak", Integer, nullable=False),
    Column("streak_since", INSTANT, nullable=False),
    Column("looked_at", INSTANT, nullable=False),
    Column("ms", Float, nullable=False),
    Column("fault", Text, nullable=False),
    Column("details", JSONB, nullable=False),
    schema="health",
)

incidents = Table(
    "incidents",
    db.metadata,
    Column("id", BigInteger, primary_key=True),
    Column("service", Text, nullable=False),
    Column("began_at", INSTANT, nullable=False),
    Column("ended_at", INSTANT),
    Column("reason", Text, nullable=False),
    Column("title", Text, nullable=False, server_default=""),
    Column("told", Text, nullable=False, server_default=""),
    schema="health",
)

planned = Table(
    "planned",
    db.metadata,
    Column("id", BigInteger, primary_key=True),
    Column("begins_at", INSTANT, nullable=False),
    Column("ends_at", INSTANT, nullable=False),
    Column("services", ARRAY(Text), nullable=False),
    Column("title", Text, nullable=False),
    Column("told", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("made_at", INSTANT, nullable=False),
    Column("withdrawn_at", INSTANT),
    schema="health",
)

# What the services' metrics were: `labels` is text such as `kind="user"`; a counter is kept as its rate.
series = Table(
    "series",
    db.metadata,
    Column("id", Integer, primary_key=True),
    Column("service", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("labels", Text, nullable=False),
    Column("kind", Text, nullable=False),
    schema="measured",
)

samples = Table(
    "samples",
    db.metadata,
    Column("series", Integer, primary_key=True),
    Column("at", INSTANT, primary_key=True),
    Column("value", Float, nullable=False),
    schema="measured",
)

rolled = Table(
    "rolled",
    db.metadata,
    Column("step", Integer, primary_key=True),
    Column("series", Integer, primary_key=True),
    Column("at", INSTANT, primary_key=True),
    Column("total", Float, nullable=False),
    Column("low", Float, nullable=False),
    Column("high", Float, nullable=False),
    Column("samples", Integer, nullable=False),
    schema="measured",
)

rolls = Table(
    "rolls",
    db.metadata,
    Column("step", Integer, primary_key=True),
    Column("until", INSTANT, nullable=False),
    schema="measured",
)

# Alerts as they stand and stood, what is not told of them, and what is to be sent.
alerts = Table(
    "alerts",
    db.metadata,
    Column("id", BigInteger, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("labels", JSONB, nullable=False),
    Column("severity", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("title", Text, nullable=False),
    Column("why", Text, nullable=False),
    Column("active_at", INSTANT, nullable=False),
    Column("fired_at", INSTANT),
    Column("keep_since", INSTANT),
    Column("resolved_at", INSTANT),
    Column("acknowledged_at", INSTANT),
    Column("acknowledged_by", Text),
    Column("note", Text, nullable=False, server_default=""),
    Column("told", Text, nullable=False, server_default=""),
    schema="alerts",
)

silences = Table(
    "silences",
    db.metadata,
    Column("id", BigInteger, primary_key=True),
    Column("rule", Text, nullable=False),
    Column("service", Text, nullable=False),
    Column("begins_at", INSTANT, nullable=False),
    Column("ends_at", INSTANT, nullable=False),
    Column("reason", Text, nullable=False),
    Column("made_by", Text, nullable=False),
    Column("made_at", INSTANT, nullable=False),
    schema="alerts",
)

outbox = Table(
    "outbox",
    db.metadata,
    Column("id", BigInteger, primary_key=True),
    Column("channel", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("body", Text, nullable=False),
    Column("document", JSONB, nullable=False),
    Column("made_at", INSTANT, nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("next_at", INSTANT, nullable=False),
    Column("sent_at", INSTANT),
    Column("fault", Text, nullable=False, server_default=""),
    schema="alerts",
)

timers = Table(
    "timers",
    db.metadata,
    Column("timer", Text, primary_key=True),
    Column("began_at", INSTANT, nullable=False),
    Column("started_at", INSTANT),
    Column("ended_at", INSTANT),
    Column("succeeded_at", INSTANT),
    Column("seconds", Float),
    Column("outcome", Text, nullable=False),
    Column("said", Text, nullable=False),
    schema="alerts",
)
