"""Which invoices were sent to whom: a row before each try, and one for what became of it. None is ever changed."""

from alembic import op
from hivematrix_common.audit_ddl import append_only

revision = "0008"
down_revision = "0007"

# A try without an end was cut off: nobody knows whether the mail server has taken the message.
TABLE = """
CREATE TABLE invoice_mails (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    invoice_number key_text NOT NULL,
    account_number account_text NOT NULL,
    period period_text NOT NULL,
    message_id text NOT NULL,
    recipient text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('trying', 'sent', 'refused', 'deferred', 'unknown')),
    reason text,
    sent_by text NOT NULL,
    at timestamptz NOT NULL,
    CHECK ((reason IS NULL) = (outcome IN ('trying', 'sent')))
);
CREATE INDEX invoice_mails_invoice ON invoice_mails (invoice_number, id);
CREATE UNIQUE INDEX invoice_mails_once ON invoice_mails (message_id, (outcome = 'trying'));
GRANT SELECT, INSERT ON invoice_mails TO ledger_user;
"""


def upgrade() -> None:
    op.execute(TABLE)
    for statement in append_only("invoice_mails"):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE invoice_mails")
