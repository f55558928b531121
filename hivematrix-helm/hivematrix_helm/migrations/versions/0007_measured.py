"""What the services' metrics were: single samples, and what they come to in five minutes, an hour, a day."""

from alembic import op

revision = "0007"
down_revision = "0006"

MEASURED = """
CREATE SCHEMA measured;
CREATE TABLE measured.series (
    id integer GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    service text NOT NULL,
    name text NOT NULL,
    labels text NOT NULL,
    kind text NOT NULL CHECK (kind IN ('gauge', 'rate')),
    UNIQUE (service, name, labels)
);
CREATE TABLE measured.samples (
    series integer NOT NULL REFERENCES measured.series,
    at timestamptz NOT NULL,
    value double precision NOT NULL,
    PRIMARY KEY (series, at)
);
CREATE INDEX samples_by_time ON measured.samples (at);
CREATE TABLE measured.rolled (
    step integer NOT NULL,
    series integer NOT NULL REFERENCES measured.series,
    at timestamptz NOT NULL,
    total double precision NOT NULL,
    low double precision NOT NULL,
    high double precision NOT NULL,
    samples integer NOT NULL CHECK (samples > 0),
    PRIMARY KEY (step, series, at)
);
CREATE INDEX rolled_by_time ON measured.rolled (step, at);
CREATE TABLE measured.rolls (
    step integer PRIMARY KEY,
    until timestamptz NOT NULL
);
GRANT USAGE ON SCHEMA measured TO helm_user;
GRANT SELECT, INSERT, UPDATE, DELETE ON measured.series, measured.samples, measured.rolled, measured.rolls TO helm_user;
"""


def upgrade() -> None:
    op.execute(MEASURED)


def downgrade() -> None:
    op.execute("DROP SCHEMA measured CASCADE")
