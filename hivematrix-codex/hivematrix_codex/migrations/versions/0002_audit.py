"""Who did what."""

from alembic import op
from hivematrix_common.audit_ddl import audit_ddl

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    for statement in audit_ddl("codex"):
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP SCHEMA audit CASCADE")
