"""Who started, stopped or restarted what."""

from alembic import op

revision = "0001"
down_revision = None

STATEMENTS = (
    """
    CREATE TABLE operations (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        at timestamptz NOT NULL DEFAULT now(),
        caller text NOT NULL,
        service text NOT NULL,
        action text NOT NULL CHECK (action IN ('start', 'stop', 'restart')),
        trace_id text NOT NULL
    )
    """,
    "CREATE INDEX operations_by_service ON operations (service, id DESC)",
    "GRANT SELECT, INSERT ON operations TO helm_user",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE operations")
