"""What a bill took each of its time entries for, so that one changed later is found in any month."""

from alembic import op

revision = "0010"
down_revision = "0009"


def upgrade() -> None:
    # Null for bills accepted before: their entries are compared with the bill of the month before alone.
    op.execute(
        "ALTER TABLE accepted_entries ADD COLUMN hours unsigned_decimal, ADD COLUMN worked_on date,"
        " ADD COLUMN billable boolean"
    )


def downgrade() -> None:
    op.execute("ALTER TABLE accepted_entries DROP COLUMN hours, DROP COLUMN worked_on, DROP COLUMN billable")
