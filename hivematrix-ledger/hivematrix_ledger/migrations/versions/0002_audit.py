"""Who did what; and a customer's person sees which of its bills are accepted, nothing else of Ledger's."""

from alembic import op
from hivematrix_common.audit_ddl import audit_ddl

revision = "0002"
down_revision = "0001"

RULES = (
    *("client_overrides", "asset_overrides", "user_overrides", "manual_assets", "manual_users"),
    *("line_items", "prepaid_hours", "tax_rates"),
)
HIDDEN = ", ".join((*RULES, "accepted_entries", "acceptances"))
# Without who accepted it and what was noted about it.
SEEN = "account_number, period, invoice_number, body_sha256, currency, total"


def upgrade() -> None:
    for statement in audit_ddl("ledger"):
        op.execute(statement)
    op.execute(f"REVOKE SELECT ON {HIDDEN} FROM ledger_client")  # noqa: S608 - our own names
    op.execute(f"GRANT SELECT ({SEEN}) ON acceptances TO ledger_client")


def downgrade() -> None:
    op.execute(f"REVOKE SELECT ({SEEN}) ON acceptances FROM ledger_client")  # noqa: S608 - our own names
    op.execute(f"GRANT SELECT ON {HIDDEN} TO ledger_client")
    op.execute("DROP SCHEMA audit CASCADE")
