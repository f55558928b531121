"""Runs that accept a month's bills batch by batch, so that a page can show how far they are after any reload."""

from alembic import op

revision = "0007"
down_revision = "0006"

# `bills`: by account the digest of the bill that was shown, or null where the archive may have it already. A worker
# holds the run from `worked_at` on for a while; when it dies, another takes over. One run of a month at a time.
TABLE = """
CREATE TABLE runs (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    period period_text NOT NULL,
    bills jsonb NOT NULL CHECK (jsonb_typeof(bills) = 'object'),
    total integer NOT NULL CHECK (total > 0),
    done integer NOT NULL DEFAULT 0 CHECK (done BETWEEN 0 AND total),
    sealed integer NOT NULL DEFAULT 0,
    already integer NOT NULL DEFAULT 0,
    skipped integer NOT NULL DEFAULT 0,
    failed integer NOT NULL DEFAULT 0,
    left_over jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(left_over) = 'array'),
    asked_by text NOT NULL,
    cancelled_by text,
    worker text,
    worked_at timestamptz NOT NULL,
    started_at timestamptz NOT NULL,
    ended_at timestamptz
);
CREATE UNIQUE INDEX runs_at_work ON runs (period) WHERE ended_at IS NULL;
GRANT SELECT, INSERT, UPDATE ON runs TO ledger_user;
"""


def upgrade() -> None:
    op.execute(TABLE)


def downgrade() -> None:
    op.execute("DROP TABLE runs")
