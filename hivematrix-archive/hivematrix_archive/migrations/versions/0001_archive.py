"""Snapshots, their bodies by billing year, the log, jobs: what must not change once the first bill is sealed."""

from alembic import op
from hivematrix_common.idempotency import table_ddl

revision = "0001"
down_revision = None

# `public` holds these four and nothing else, under the names that people's scripts know.
# Line items have no foreign key: one transaction writes both, verify compares both, and the check costs a fifth of the
# month close. Their id counts the lines of one bill.
TABLES = """
CREATE TABLE billing_snapshots (
    id bigint PRIMARY KEY,
    company_account_number text COLLATE "C" NOT NULL CHECK (company_account_number ~ '^[A-Za-z0-9]{1,32}$'),
    company_name text NOT NULL,
    invoice_number text COLLATE "C" NOT NULL UNIQUE,
    billing_year integer NOT NULL CHECK (billing_year BETWEEN 2000 AND 2199),
    billing_month integer NOT NULL CHECK (billing_month BETWEEN 1 AND 12),
    invoice_date date NOT NULL,
    due_date date NOT NULL,
    archived_at timestamptz NOT NULL,
    billing_plan text,
    contract_term text,
    support_level text,
    total_amount numeric(20, 4) NOT NULL,
    total_user_charges numeric(20, 4) NOT NULL,
    total_asset_charges numeric(20, 4) NOT NULL,
    total_backup_charges numeric(20, 4) NOT NULL,
    total_ticket_charges numeric(20, 4) NOT NULL,
    total_line_item_charges numeric(20, 4) NOT NULL,
    total_tax_charges numeric(20, 4) NOT NULL,
    user_count integer NOT NULL,
    asset_count integer NOT NULL,
    billable_hours numeric(20, 4) NOT NULL,
    created_by text,
    notes text,
    kind text NOT NULL CHECK (kind IN ('invoice', 'credit_note')),
    revision integer NOT NULL CHECK (revision >= 0),
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    body_sha256 text NOT NULL CHECK (body_sha256 ~ '^sha256:[0-9a-f]{64}$'),
    log_index bigint NOT NULL CHECK (log_index = id - 1),
    corrects text,
    UNIQUE (company_account_number, billing_year, billing_month, kind, revision)
);
CREATE INDEX billing_snapshots_account ON billing_snapshots (company_account_number, id);
CREATE INDEX billing_snapshots_period ON billing_snapshots (billing_year, billing_month, id);

CREATE TABLE snapshot_line_items (
    id integer NOT NULL,
    snapshot_id bigint NOT NULL,
    line_type text NOT NULL CHECK (line_type IN ('user', 'asset', 'backup', 'hours', 'item', 'tax')),
    item_name text NOT NULL,
    description text NOT NULL,
    quantity numeric(20, 4) NOT NULL,
    rate numeric(20, 4) NOT NULL,
    amount numeric(20, 4) NOT NULL,
    PRIMARY KEY (snapshot_id, id)
);

CREATE TABLE scheduled_snapshots (
    id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    enabled boolean NOT NULL DEFAULT true,
    day_of_month integer NOT NULL DEFAULT 1 CHECK (day_of_month BETWEEN 1 AND 31),
    hour integer NOT NULL DEFAULT 2 CHECK (hour BETWEEN 0 AND 23),
    snapshot_previous_month boolean NOT NULL DEFAULT true,
    snapshot_all_companies boolean NOT NULL DEFAULT true,
    account_numbers jsonb CHECK (jsonb_typeof(account_numbers) = 'array'),
    last_run_at timestamptz,
    last_run_status text CHECK (last_run_status IN ('success', 'partial', 'failed')),
    last_run_count integer,
    last_run_log text,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz
);
INSERT INTO scheduled_snapshots DEFAULT VALUES;

CREATE TABLE snapshot_jobs (
    id text PRIMARY KEY,
    job_type text NOT NULL CHECK (job_type IN ('manual', 'scheduled', 'bulk')),
    status text NOT NULL CHECK (status IN ('queued', 'running', 'retrying', 'completed', 'failed')),
    target_year integer NOT NULL CHECK (target_year BETWEEN 2000 AND 2199),
    target_month integer NOT NULL CHECK (target_month BETWEEN 1 AND 12),
    target_account_numbers jsonb CHECK (jsonb_typeof(target_account_numbers) = 'array'),
    total_companies integer NOT NULL DEFAULT 0,
    completed_companies integer NOT NULL DEFAULT 0,
    failed_companies integer NOT NULL DEFAULT 0,
    started_at timestamptz NOT NULL,
    completed_at timestamptz,
    output jsonb,
    error text,
    success boolean,
    triggered_by text NOT NULL,
    attempts integer NOT NULL DEFAULT 0,
    runner text
);
CREATE INDEX snapshot_jobs_started ON snapshot_jobs (started_at DESC, id);
"""

DATA = """
CREATE SCHEMA archive_data;
CREATE TABLE archive_data.bodies (
    billing_year integer NOT NULL,
    log_index bigint NOT NULL,
    body bytea NOT NULL,
    csv bytea NOT NULL,
    meta bytea NOT NULL,
    PRIMARY KEY (billing_year, log_index)
) PARTITION BY RANGE (billing_year);

CREATE TABLE archive_data.job_results (
    job_id text NOT NULL,
    attempt integer NOT NULL,
    account_number text COLLATE "C" NOT NULL,
    happened text NOT NULL CHECK (happened IN ('sealed', 'already', 'skipped', 'failed')),
    reason text,
    retryable boolean NOT NULL,
    invoice_number text,
    total numeric(20, 4),
    recorded_at timestamptz NOT NULL,
    PRIMARY KEY (job_id, attempt, account_number)
);
"""

# A node is the hash of a complete subtree of 256^level entries, so a tile is a run of hashes and none stands twice.
LOG = """
CREATE SCHEMA archive_log;
CREATE TABLE archive_log.entries (
    index bigint PRIMARY KEY CHECK (index >= 0),
    leaf bytea NOT NULL,
    hash bytea NOT NULL CHECK (length(hash) = 32)
);
CREATE TABLE archive_log.nodes (
    level smallint NOT NULL CHECK (level > 0),
    index bigint NOT NULL CHECK (index >= 0),
    hash bytea NOT NULL CHECK (length(hash) = 32),
    PRIMARY KEY (level, index)
);
CREATE TABLE archive_log.checkpoints (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    size bigint NOT NULL CHECK (size >= 0),
    root bytea NOT NULL CHECK (length(root) = 32),
    snapshots bigint NOT NULL,
    note text NOT NULL,
    signed_at timestamptz NOT NULL
);
CREATE INDEX checkpoints_size ON archive_log.checkpoints (size, id);
"""

REFUSE = """
CREATE FUNCTION archive_data.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on %.%: what is sealed is never changed or removed', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;
"""

RIGHTS = """
GRANT SELECT, INSERT ON billing_snapshots, snapshot_line_items TO archive_user;
GRANT SELECT, INSERT, UPDATE ON scheduled_snapshots, snapshot_jobs TO archive_user;
GRANT USAGE ON SCHEMA archive_data, archive_log TO archive_user;
GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA archive_data, archive_log TO archive_user;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA archive_log TO archive_user;

GRANT USAGE ON SCHEMA archive_data TO archive_client;
GRANT SELECT ON billing_snapshots, snapshot_line_items, archive_data.bodies TO archive_client;
ALTER TABLE billing_snapshots ENABLE ROW LEVEL SECURITY;
ALTER TABLE snapshot_line_items ENABLE ROW LEVEL SECURITY;
ALTER TABLE archive_data.bodies ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_company ON billing_snapshots FOR SELECT TO archive_client
    USING (company_account_number = current_setting('hivematrix.account_number', true));
CREATE POLICY own_company ON snapshot_line_items FOR SELECT TO archive_client
    USING (EXISTS (SELECT FROM billing_snapshots s WHERE s.id = snapshot_line_items.snapshot_id));
CREATE POLICY own_company ON archive_data.bodies FOR SELECT TO archive_client
    USING (EXISTS (SELECT FROM billing_snapshots s WHERE s.log_index = bodies.log_index));
"""

KEPT = (
    *("billing_snapshots", "snapshot_line_items", "archive_data.bodies", "archive_data.job_results"),
    *("archive_data.idempotency", "archive_log.entries", "archive_log.nodes", "archive_log.checkpoints"),
)
# A year a table; the two ends take every other year a period may have, and can be split when their time comes.
FIRST_YEAR, LAST_YEAR = 2015, 2050
PARTITIONS = {
    "early": f"MINVALUE TO {FIRST_YEAR}",
    **{str(year): f"{year} TO {year + 1}" for year in range(FIRST_YEAR, LAST_YEAR + 1)},
    "late": f"{LAST_YEAR + 1} TO MAXVALUE",
}


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(DATA)
    op.execute(table_ddl("archive_data.idempotency"))
    op.execute(LOG)
    op.execute(REFUSE)
    _compress_quickly()
    for name, bounds in PARTITIONS.items():
        table = f"archive_data.bodies_{name}"
        first, last = bounds.split(" TO ")
        op.execute(f"CREATE TABLE {table} PARTITION OF archive_data.bodies FOR VALUES FROM ({first}) TO ({last})")
        op.execute(_no_truncate(table))
    for table in KEPT:
        op.execute(
            f"CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION archive_data.refuse()"
        )
        op.execute(_no_truncate(table))
    op.execute(RIGHTS)


def downgrade() -> None:
    op.execute("DROP TABLE billing_snapshots, snapshot_line_items, scheduled_snapshots, snapshot_jobs")
    op.execute("DROP SCHEMA archive_data CASCADE")
    op.execute("DROP SCHEMA archive_log CASCADE")


def _no_truncate(table: str) -> str:
    return (
        f"CREATE TRIGGER never_emptied BEFORE TRUNCATE ON {table}"
        " FOR EACH STATEMENT EXECUTE FUNCTION archive_data.refuse()"
    )


def _compress_quickly() -> None:
    """lz4 where the server was built with it; reads and writes are quicker than with its own pglz."""
    known = "SELECT 'lz4' = ANY (enumvals) FROM pg_settings WHERE name = 'default_toast_compression'"
    if op.get_bind().exec_driver_sql(known).scalar():
        for column in ("body", "csv"):
            op.execute(f"ALTER TABLE archive_data.bodies ALTER COLUMN {column} SET COMPRESSION lz4")
