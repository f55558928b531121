"""Alerts, silences, what is to be sent, and the timers that are waited for."""

from alembic import op

revision = "0008"
down_revision = "0007"

# Of one rule and one set of labels there is one open alert. What is to be sent stands beside what made it, so that
# neither is without the other.
ALERTS = """
CREATE SCHEMA alerts;
CREATE TABLE alerts.alerts (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule text NOT NULL,
    labels jsonb NOT NULL,
    severity text NOT NULL,
    state text NOT NULL CHECK (state IN ('pending', 'firing', 'resolved')),
    kind text NOT NULL CHECK (kind IN ('value', 'no data', 'error')),
    title text NOT NULL,
    why text NOT NULL,
    active_at timestamptz NOT NULL,
    fired_at timestamptz,
    keep_since timestamptz,
    resolved_at timestamptz,
    acknowledged_at timestamptz,
    acknowledged_by text,
    note text NOT NULL DEFAULT '',
    told text NOT NULL DEFAULT '' CHECK (told IN ('', 'firing', 'resolved'))
);
CREATE UNIQUE INDEX alerts_open ON alerts.alerts (rule, labels) WHERE state <> 'resolved';
CREATE INDEX alerts_by_time ON alerts.alerts (resolved_at);
CREATE TABLE alerts.silences (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    rule text NOT NULL,
    service text NOT NULL,
    begins_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    reason text NOT NULL,
    made_by text NOT NULL,
    made_at timestamptz NOT NULL,
    CHECK (ends_at >= begins_at)
);
CREATE TABLE alerts.outbox (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    channel text NOT NULL,
    message_id text NOT NULL,
    subject text NOT NULL,
    body text NOT NULL,
    document jsonb NOT NULL,
    made_at timestamptz NOT NULL,
    tries integer NOT NULL DEFAULT 0,
    next_at timestamptz NOT NULL,
    sent_at timestamptz,
    fault text NOT NULL DEFAULT '',
    UNIQUE (channel, message_id)
);
CREATE INDEX outbox_waiting ON alerts.outbox (channel, id) WHERE sent_at IS NULL;
CREATE TABLE alerts.timers (
    timer text PRIMARY KEY,
    began_at timestamptz NOT NULL,
    started_at timestamptz,
    ended_at timestamptz,
    succeeded_at timestamptz,
    seconds double precision,
    outcome text NOT NULL CHECK (outcome IN ('waiting', 'running', 'done', 'failed')),
    said text NOT NULL
);
GRANT USAGE ON SCHEMA alerts TO helm_user;
GRANT SELECT, INSERT, UPDATE, DELETE ON alerts.alerts, alerts.outbox TO helm_user;
GRANT SELECT, INSERT, UPDATE ON alerts.silences, alerts.timers TO helm_user;
"""


def upgrade() -> None:
    op.execute(ALERTS)


def downgrade() -> None:
    op.execute("DROP SCHEMA alerts CASCADE")
