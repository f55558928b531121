"""What the month board shows of sealed bills without reading them, and the reports of open ones while they hold."""

from alembic import op

revision = "0006"
down_revision = "0005"

# Both are null for bills accepted before; the board reads those from the archive.
COLUMNS = """
ALTER TABLE acceptances
    ADD COLUMN totals jsonb CHECK (jsonb_typeof(totals) = 'object'),
    ADD COLUMN recurring exact_decimal;
"""

# A report holds as long as everything it was made of is the same: `made_of` is a digest of that.
REPORTS = """
CREATE TABLE reports (
    account_number account_text NOT NULL,
    period period_text NOT NULL,
    made_of digest_text NOT NULL,
    findings jsonb NOT NULL CHECK (jsonb_typeof(findings) = 'array'),
    PRIMARY KEY (account_number, period)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON reports TO ledger_user;
"""


def upgrade() -> None:
    op.execute(COLUMNS)
    op.execute(REPORTS)


def downgrade() -> None:
    op.execute("DROP TABLE reports")
    op.execute("ALTER TABLE acceptances DROP COLUMN recurring, DROP COLUMN totals")
