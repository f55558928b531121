"""How the services were: a row a minute, a bar a day, incidents, and planned work."""

from alembic import op

revision = "0006"
down_revision = "0005"

# A minute that was not looked at has no row: nothing is known of it. A bar that was measured longer is never replaced
# by one of fewer minutes, such as a clock that was set back would make.
HEALTH = """
CREATE SCHEMA health;
CREATE TABLE health.minutes (
    service text NOT NULL,
    minute timestamptz NOT NULL,
    probes integer NOT NULL CHECK (probes > 0),
    failed integer NOT NULL,
    slow integer NOT NULL,
    total_ms double precision NOT NULL,
    max_ms double precision NOT NULL,
    state text NOT NULL GENERATED ALWAYS AS (
        CASE WHEN failed * 2 >= probes THEN 'down' WHEN slow * 2 >= probes THEN 'slow' ELSE 'up' END
    ) STORED,
    PRIMARY KEY (service, minute)
);
CREATE INDEX minutes_by_time ON health.minutes (minute);
CREATE TABLE health.days (
    service text NOT NULL,
    day date NOT NULL,
    up integer NOT NULL,
    slow integer NOT NULL,
    down integer NOT NULL,
    mean_ms double precision NOT NULL,
    max_ms double precision NOT NULL,
    PRIMARY KEY (service, day)
);
CREATE TABLE health.watched (
    service text PRIMARY KEY,
    state text NOT NULL CHECK (state IN ('unknown', 'up', 'slow', 'down')),
    since timestamptz NOT NULL,
    streak integer NOT NULL,
    streak_since timestamptz NOT NULL,
    looked_at timestamptz NOT NULL,
    ms double precision NOT NULL,
    fault text NOT NULL,
    details jsonb NOT NULL
);
CREATE TABLE health.incidents (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service text NOT NULL,
    began_at timestamptz NOT NULL,
    ended_at timestamptz,
    reason text NOT NULL,
    title text NOT NULL DEFAULT '',
    told text NOT NULL DEFAULT '',
    CHECK (ended_at >= began_at)
);
CREATE UNIQUE INDEX incidents_open ON health.incidents (service) WHERE ended_at IS NULL;
CREATE INDEX incidents_by_time ON health.incidents (began_at);
CREATE TABLE health.planned (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    begins_at timestamptz NOT NULL,
    ends_at timestamptz NOT NULL,
    services text[] NOT NULL CHECK (cardinality(services) > 0),
    title text NOT NULL,
    told text NOT NULL,
    made_by text NOT NULL,
    made_at timestamptz NOT NULL,
    withdrawn_at timestamptz,
    CHECK (ends_at > begins_at)
);
CREATE INDEX planned_by_time ON health.planned (ends_at);
GRANT USAGE ON SCHEMA health TO helm_user;
GRANT SELECT, INSERT, UPDATE, DELETE ON health.minutes, health.days TO helm_user;
GRANT SELECT, INSERT, UPDATE ON health.watched, health.incidents, health.planned TO helm_user;
"""


def upgrade() -> None:
    op.execute(HEALTH)


def downgrade() -> None:
    op.execute("DROP SCHEMA health CASCADE")
