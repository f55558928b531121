"""The second store of the archive's checkpoints, and what watching it found."""

from alembic import op
from hivematrix_common.audit_ddl import append_only

revision = "0004"
down_revision = "0003"

# A beginning is when the log began to be watched under certain keys; a deliberate new one follows a loss.
WITNESS = """
CREATE SCHEMA witness;
CREATE TABLE witness.beginnings (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    reason text NOT NULL
);
CREATE TABLE witness.keys (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    beginning bigint NOT NULL REFERENCES witness.beginnings,
    vkey text NOT NULL,
    at timestamptz NOT NULL,
    UNIQUE (beginning, vkey)
);
CREATE TABLE witness.checkpoints (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    beginning bigint NOT NULL REFERENCES witness.beginnings,
    archive_id bigint NOT NULL,
    size bigint NOT NULL CHECK (size >= 0),
    note text NOT NULL,
    received_at timestamptz NOT NULL,
    UNIQUE (beginning, archive_id)
);
CREATE TABLE witness.findings (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('good', 'shorter', 'different', 'stale')),
    detail text NOT NULL,
    note text
);
CREATE TABLE witness.looks (
    id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    began_at timestamptz NOT NULL,
    seen_at timestamptz,
    looked_at timestamptz NOT NULL,
    directory_fault text
);
GRANT USAGE ON SCHEMA witness TO helm_user;
GRANT SELECT, INSERT ON witness.beginnings, witness.keys, witness.checkpoints, witness.findings TO helm_user;
GRANT SELECT, INSERT, UPDATE ON witness.looks TO helm_user;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA witness TO helm_user;
"""
KEPT = ("beginnings", "keys", "checkpoints", "findings")


def upgrade() -> None:
    for statement in [WITNESS, *(trigger for table in KEPT for trigger in append_only(f"witness.{table}"))]:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP SCHEMA witness CASCADE")
