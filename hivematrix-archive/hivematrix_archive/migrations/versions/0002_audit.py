"""Who did what; and a customer's person reads the log that proves its bills, but not who sealed them and why."""

from alembic import op
from hivematrix_common.audit_ddl import audit_ddl

revision = "0002"
down_revision = "0001"

# Everything but created_by and notes.
SNAPSHOT = (
    *("id", "company_account_number", "company_name", "invoice_number", "billing_year", "billing_month"),
    *("invoice_date", "due_date", "archived_at", "billing_plan", "contract_term", "support_level"),
    *("total_amount", "total_user_charges", "total_asset_charges", "total_backup_charges", "total_ticket_charges"),
    *("total_line_item_charges", "total_tax_charges", "user_count", "asset_count", "billable_hours", "kind"),
    *("revision", "currency", "body_sha256", "log_index", "corrects"),
)
RIGHTS = f"""
REVOKE SELECT ON billing_snapshots, archive_data.bodies FROM archive_client;
GRANT SELECT ({", ".join(SNAPSHOT)}) ON billing_snapshots TO archive_client;
GRANT SELECT (billing_year, log_index, body, csv) ON archive_data.bodies TO archive_client;

-- The log holds hashes of bills and nothing of theirs; a proof is made of other customers' hashes.
GRANT USAGE ON SCHEMA archive_log TO archive_client;
GRANT SELECT ON archive_log.entries, archive_log.nodes, archive_log.checkpoints TO archive_client;
"""  # noqa: S608 - our own names


def upgrade() -> None:
    for statement in audit_ddl("archive"):
        op.execute(statement)
    op.execute(RIGHTS)


def downgrade() -> None:
    op.execute("REVOKE SELECT ON ALL TABLES IN SCHEMA archive_log FROM archive_client")
    op.execute("REVOKE USAGE ON SCHEMA archive_log FROM archive_client")
    op.execute("GRANT SELECT ON billing_snapshots, archive_data.bodies TO archive_client")
    op.execute("DROP SCHEMA audit CASCADE")
