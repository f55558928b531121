"""Findings of the leakage report that somebody let stand, with the reason."""

from alembic import op

revision = "0005"
down_revision = "0004"

# A finding's key stands for exactly what was found: another value is another finding, and asks again.
TABLE = """
CREATE TABLE acknowledged_findings (
    account_number account_text NOT NULL,
    period period_text NOT NULL,
    key key_text NOT NULL CHECK (key ~ '^[0-9a-f]{16}$'),
    kind text NOT NULL,
    subject text NOT NULL,
    detail text NOT NULL,
    reason text NOT NULL CHECK (reason <> ''),
    acknowledged_by text NOT NULL,
    acknowledged_at timestamptz NOT NULL,
    PRIMARY KEY (account_number, period, key)
);
GRANT SELECT, INSERT ON acknowledged_findings TO ledger_user;
"""


def upgrade() -> None:
    op.execute(TABLE)


def downgrade() -> None:
    op.execute("DROP TABLE acknowledged_findings")
