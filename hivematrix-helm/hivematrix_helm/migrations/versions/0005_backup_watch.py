"""How the backup stands, as it was found last: one row, so that a change is told once."""

from alembic import op

revision = "0005"
down_revision = "0004"

WATCH = """
CREATE TABLE backup_watch (
    id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    began_at timestamptz NOT NULL,
    looked_at timestamptz NOT NULL,
    state text NOT NULL CHECK (state IN ('waiting', 'good', 'late', 'damaged', 'not_away')),
    detail text NOT NULL,
    since timestamptz NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON backup_watch TO helm_user;
"""


def upgrade() -> None:
    op.execute(WATCH)


def downgrade() -> None:
    op.execute("DROP TABLE backup_watch")
