"""Who did what: Helm's own rows, and those it collects from every service."""

from alembic import op
from hivematrix_common.audit_ddl import append_only, audit_ddl

revision = "0003"
down_revision = "0002"

# `collected` is kept by whoever inserts, so that nobody has to count all rows.
COLLECTED = """
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE TABLE audit.collected (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uid uuid NOT NULL UNIQUE,
    at timestamptz NOT NULL,
    service text NOT NULL,
    actor text,
    actor_kind text NOT NULL,
    role text,
    action text NOT NULL,
    target text,
    outcome text NOT NULL,
    status smallint,
    address text,
    trace_id text,
    details jsonb NOT NULL,
    collected_at timestamptz NOT NULL
);
CREATE TABLE audit.sources (
    service text PRIMARY KEY,
    source text NOT NULL DEFAULT '',
    last bigint NOT NULL DEFAULT 0,
    collected bigint NOT NULL DEFAULT 0,
    asked_at timestamptz
);
INSERT INTO audit.sources (service) VALUES ('codex'), ('ledger'), ('archive'), ('helm');
CREATE INDEX collected_at ON audit.collected (at DESC, id DESC);
CREATE INDEX collected_service ON audit.collected (service, at DESC, id DESC);
CREATE INDEX collected_actor ON audit.collected (actor, at DESC, id DESC);
CREATE INDEX collected_outcome ON audit.collected (outcome, at DESC, id DESC);
CREATE INDEX collected_trace ON audit.collected (trace_id, at DESC, id DESC);
CREATE INDEX collected_action ON audit.collected USING gin (action gin_trgm_ops);
CREATE INDEX collected_target ON audit.collected USING gin (target gin_trgm_ops);
GRANT SELECT, INSERT ON audit.collected TO helm_user;
GRANT SELECT, UPDATE ON audit.sources TO helm_user;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA audit TO helm_user;
"""


def upgrade() -> None:
    for statement in [*audit_ddl("helm"), COLLECTED, *append_only("audit.collected")]:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP SCHEMA audit CASCADE")
