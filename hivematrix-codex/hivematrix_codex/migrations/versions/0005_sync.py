"""What the providers said, which company is whose, and the runs that brought it."""

from alembic import op

revision = "0005"
down_revision = "0004"

TABLES = """
-- Which company a provider's company, client or site is. Said once: by the provider's own field, by assigning a number,
-- or by a person.
CREATE TABLE company_links (
    provider key_text NOT NULL,
    external_id key_text NOT NULL,
    account_number key_text NOT NULL REFERENCES companies,
    name text NOT NULL,
    linked_by text NOT NULL,
    linked_at timestamptz NOT NULL,
    PRIMARY KEY (provider, external_id)
);

-- Where a row comes from, and what its provider said last: what differs from it in the row was set by hand.
CREATE TABLE source_records (
    kind key_text NOT NULL CHECK (kind IN ('companies', 'contacts', 'assets', 'tickets', 'time_entries')),
    uid key_text NOT NULL,
    provider key_text NOT NULL,
    external_id key_text NOT NULL,
    parent text NOT NULL,
    said jsonb NOT NULL CHECK (jsonb_typeof(said) = 'object'),
    retired_on date,
    PRIMARY KEY (kind, uid)
);

CREATE TABLE sync_marks (
    provider key_text NOT NULL,
    kind key_text NOT NULL,
    since timestamptz NOT NULL,
    PRIMARY KEY (provider, kind)
);

-- Tickets to be fetched by themselves: a webhook named them, their hours could not be fetched, a timer runs, or nobody
-- has said yet whose they are.
CREATE TABLE sync_wanted (
    provider key_text NOT NULL,
    external_id key_text NOT NULL,
    company text NOT NULL,
    because text NOT NULL,
    asked_at timestamptz NOT NULL,
    PRIMARY KEY (provider, external_id)
);

CREATE TABLE sync_jobs (
    id key_text PRIMARY KEY,
    provider key_text NOT NULL,
    mode text NOT NULL CHECK (mode IN ('incremental', 'full', 'wanted')),
    status text NOT NULL CHECK (status IN ('queued', 'running', 'completed', 'partial', 'stopped', 'failed')),
    dry_run boolean NOT NULL,
    accepted_retirements integer NOT NULL CHECK (accepted_retirements >= 0),
    asked_by text NOT NULL,
    asked_at timestamptz NOT NULL,
    started_at timestamptz,
    completed_at timestamptz,
    progress jsonb NOT NULL DEFAULT '{}',
    counts jsonb NOT NULL DEFAULT '{}',
    errors jsonb NOT NULL DEFAULT '[]'
);

-- What a run would do or did, as far as it is listed: of each kind and act the first thousand.
CREATE TABLE sync_changes (
    job_id key_text NOT NULL REFERENCES sync_jobs ON DELETE CASCADE,
    number integer NOT NULL,
    kind text NOT NULL,
    act text NOT NULL,
    uid text NOT NULL,
    account_number text NOT NULL,
    what jsonb NOT NULL,
    PRIMARY KEY (job_id, number)
);

CREATE TABLE sync_staged (
    job_id key_text NOT NULL REFERENCES sync_jobs ON DELETE CASCADE,
    kind text NOT NULL,
    external_id key_text NOT NULL,
    company text COLLATE "C" NOT NULL,
    parent text NOT NULL,
    uid text NOT NULL,
    cells jsonb,
    PRIMARY KEY (job_id, kind, external_id, company)
);

CREATE TABLE webhook_deliveries (
    provider key_text NOT NULL,
    delivery_id key_text NOT NULL,
    external_id key_text NOT NULL,
    received_at timestamptz NOT NULL,
    PRIMARY KEY (provider, delivery_id)
);

-- Assigned once and never again: a sequence does not go back, whatever becomes of the transaction.
CREATE SEQUENCE account_numbers MINVALUE 100001 MAXVALUE 999999999;
"""

INDEXES = """
CREATE INDEX company_links_account ON company_links (account_number);
CREATE INDEX source_records_external ON source_records (provider, kind, external_id);
CREATE INDEX sync_jobs_asked ON sync_jobs (asked_at DESC, id);
CREATE INDEX sync_jobs_unfinished ON sync_jobs (asked_at) WHERE status IN ('queued', 'running');
CREATE INDEX webhook_deliveries_received ON webhook_deliveries (received_at);
"""

RIGHTS = """
GRANT SELECT, INSERT, UPDATE ON company_links, source_records, sync_marks, sync_jobs TO codex_user;
GRANT SELECT, INSERT, UPDATE, DELETE ON sync_wanted, sync_staged, sync_changes, webhook_deliveries TO codex_user;
GRANT DELETE ON sync_jobs TO codex_user;
GRANT USAGE ON SEQUENCE account_numbers TO codex_user;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(INDEXES)
    op.execute(RIGHTS)


def downgrade() -> None:
    op.execute(
        "DROP TABLE sync_staged, sync_changes, sync_jobs, sync_wanted, sync_marks, source_records, company_links,"
        " webhook_deliveries"
    )
    op.execute("DROP SEQUENCE account_numbers")
