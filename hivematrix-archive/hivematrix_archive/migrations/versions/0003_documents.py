"""The documents of entries that seal no bill, such as an adoption; their digests stand in the log."""

from alembic import op

revision = "0003"
down_revision = "0002"

DOCUMENTS = """
CREATE TABLE archive_log.documents (
    index bigint PRIMARY KEY CHECK (index >= 0),
    body bytea NOT NULL,
    meta bytea NOT NULL
);
GRANT SELECT, INSERT ON archive_log.documents TO archive_user;
CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE ON archive_log.documents
    FOR EACH ROW EXECUTE FUNCTION archive_data.refuse();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON archive_log.documents
    FOR EACH STATEMENT EXECUTE FUNCTION archive_data.refuse();
"""


def upgrade() -> None:
    op.execute(DOCUMENTS)


def downgrade() -> None:
    op.execute("DROP TABLE archive_log.documents")
