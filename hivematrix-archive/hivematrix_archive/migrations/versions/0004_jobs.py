"""Jobs can be cancelled; a schedule names account numbers only, by SQL too; what verify found is kept."""

from alembic import op

revision = "0004"
down_revision = "0003"

STATUSES = "'queued', 'running', 'retrying', 'completed', 'failed'"
JOBS = f"""
ALTER TABLE snapshot_jobs DROP CONSTRAINT snapshot_jobs_status_check,
    ADD CONSTRAINT snapshot_jobs_status_check CHECK (status IN ({STATUSES}, 'cancelled')),
    ADD COLUMN cancel_asked_at timestamptz,
    ADD COLUMN cancel_asked_by text,
    ADD CHECK ((cancel_asked_at IS NULL) = (cancel_asked_by IS NULL));
ALTER TABLE scheduled_snapshots ADD CONSTRAINT scheduled_snapshots_accounts CHECK (NOT jsonb_path_exists(
    account_numbers, 'strict $[*] ? (@.type() != "string" || !(@ like_regex "^[A-Za-z0-9]{{1,32}}$"))'));
"""
VERIFIED = """
CREATE TABLE archive_log.verifications (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    entries bigint NOT NULL,
    snapshots bigint NOT NULL,
    bad_index bigint,
    why text,
    CHECK ((bad_index IS NULL) = (why IS NULL))
);
GRANT SELECT, INSERT ON archive_log.verifications TO archive_user;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA archive_log TO archive_user;
GRANT SELECT ON archive_log.verifications TO archive_client;
CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE ON archive_log.verifications
    FOR EACH ROW EXECUTE FUNCTION archive_data.refuse();
CREATE TRIGGER never_emptied BEFORE TRUNCATE ON archive_log.verifications
    FOR EACH STATEMENT EXECUTE FUNCTION archive_data.refuse();
"""
BACK = f"""
DROP TABLE archive_log.verifications;
ALTER TABLE scheduled_snapshots DROP CONSTRAINT scheduled_snapshots_accounts;
UPDATE snapshot_jobs SET status = 'failed' WHERE status = 'cancelled';
ALTER TABLE snapshot_jobs DROP COLUMN cancel_asked_at, DROP COLUMN cancel_asked_by,
    DROP CONSTRAINT snapshot_jobs_status_check,
    ADD CONSTRAINT snapshot_jobs_status_check CHECK (status IN ({STATUSES}));
"""  # noqa: S608 - our own words


def upgrade() -> None:
    op.execute(JOBS)
    op.execute(VERIFIED)


def downgrade() -> None:
    op.execute(BACK)
