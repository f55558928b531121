"""What an operator adds to Codex's facts, and which bills were accepted."""

from alembic import op
from hivematrix_common.idempotency import table_ddl

revision = "0001"
down_revision = None

# Keys are compared bytewise, so that a page's order is the same on every server.
TABLES = r"""
CREATE EXTENSION IF NOT EXISTS btree_gist;
CREATE DOMAIN key_text AS text COLLATE "C" CHECK (VALUE <> '' AND length(VALUE) <= 300);
CREATE DOMAIN account_text AS text COLLATE "C" CHECK (VALUE ~ '^[A-Za-z0-9]{1,32}$');
CREATE DOMAIN period_text AS text COLLATE "C" CHECK (VALUE ~ '^2[01][0-9]{2}-(0[1-9]|1[0-2])$');
CREATE DOMAIN digest_text AS text COLLATE "C" CHECK (VALUE ~ '^sha256:[0-9a-f]{64}$');
CREATE DOMAIN exact_decimal AS numeric(19, 4);
CREATE DOMAIN unsigned_decimal AS numeric(19, 4) CHECK (VALUE >= 0);

CREATE FUNCTION period_number(period text) RETURNS integer LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN left(period, 4)::integer * 12 + right(period, 2)::integer - 1;

CREATE TABLE client_overrides (
    account_number account_text NOT NULL,
    key key_text NOT NULL,
    value text NOT NULL CHECK (value <> ''),
    from_period period_text,
    to_period period_text CHECK (to_period >= from_period),
    CHECK (key IN ('billing_plan', 'support_level') OR key LIKE 'feature:_%' OR key IN (
        'per_user', 'per_workstation', 'per_server', 'per_vm', 'per_switch', 'per_firewall', 'per_hour',
        'backup_base_workstation', 'backup_base_server', 'backup_included_tb', 'backup_per_tb')),
    CHECK (key NOT LIKE 'per\_%' AND key NOT LIKE 'backup\_%' OR value ~ '^[0-9]{1,15}(\.[0-9]{1,4})?$'),
    CONSTRAINT client_overrides_overlap EXCLUDE USING gist (
        account_number WITH =, key WITH =,
        int4range(period_number(from_period), period_number(to_period), '[]') WITH &&)
);

CREATE TABLE asset_overrides (
    asset_uid key_text PRIMARY KEY,
    account_number account_text NOT NULL,
    billing_type text NOT NULL CHECK (
        billing_type IN ('Workstation', 'Server', 'VM', 'Switch', 'Firewall', 'Custom', 'No Charge')),
    custom_cost exact_decimal,
    CHECK (billing_type <> 'Custom' OR custom_cost IS NOT NULL)
);

CREATE TABLE user_overrides (
    contact_uid key_text PRIMARY KEY,
    account_number account_text NOT NULL,
    billing_type text NOT NULL CHECK (billing_type IN ('Paid', 'Custom', 'Free')),
    custom_cost exact_decimal,
    CHECK (billing_type <> 'Custom' OR custom_cost IS NOT NULL)
);

-- Rows that come without a uid of their own get one from what they say, so that the same import gives the same rows.
CREATE TABLE manual_assets (
    account_number account_text NOT NULL,
    uid key_text NOT NULL,
    hostname text NOT NULL CHECK (hostname <> ''),
    billing_type text NOT NULL CHECK (
        billing_type IN ('Workstation', 'Server', 'VM', 'Switch', 'Firewall', 'Custom', 'No Charge')),
    custom_cost exact_decimal,
    notes text,
    PRIMARY KEY (account_number, uid),
    CHECK (billing_type <> 'Custom' OR custom_cost IS NOT NULL)
);

CREATE TABLE manual_users (
    account_number account_text NOT NULL,
    uid key_text NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    billing_type text NOT NULL CHECK (billing_type IN ('Paid', 'Custom', 'Free')),
    custom_cost exact_decimal,
    notes text,
    PRIMARY KEY (account_number, uid),
    CHECK (billing_type <> 'Custom' OR custom_cost IS NOT NULL)
);

CREATE TABLE line_items (
    account_number account_text NOT NULL,
    uid key_text NOT NULL,
    name text NOT NULL CHECK (name <> ''),
    description text,
    kind text NOT NULL CHECK (kind IN ('recurring', 'one_off', 'yearly')),
    fee exact_decimal NOT NULL,
    period period_text,
    month integer CHECK (month BETWEEN 1 AND 12),
    from_period period_text,
    to_period period_text CHECK (to_period >= from_period),
    PRIMARY KEY (account_number, uid),
    CHECK ((kind = 'one_off') = (period IS NOT NULL)),
    CHECK ((kind = 'yearly') = (month IS NOT NULL)),
    CHECK (kind <> 'one_off' OR from_period IS NULL AND to_period IS NULL)
);

CREATE TABLE prepaid_hours (
    account_number account_text PRIMARY KEY,
    monthly unsigned_decimal,
    yearly unsigned_decimal,
    pool_year text NOT NULL CHECK (pool_year IN ('calendar', 'contract')),
    rollover_months integer NOT NULL CHECK (rollover_months BETWEEN 0 AND 11)
);

CREATE TABLE tax_rates (
    account_number account_text NOT NULL,
    category text NOT NULL CHECK (category IN ('user', 'asset', 'backup', 'hours', 'item', '*')),
    percent unsigned_decimal NOT NULL,
    PRIMARY KEY (account_number, category)
);

-- An acceptance holds what later months need of its bill; the bill itself is sealed in the archive.
CREATE TABLE acceptances (
    account_number account_text NOT NULL,
    period period_text NOT NULL,
    invoice_number key_text NOT NULL UNIQUE,
    body_sha256 digest_text NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    total exact_decimal NOT NULL,
    prepaid_monthly unsigned_decimal NOT NULL,
    prepaid_taken jsonb NOT NULL CHECK (jsonb_typeof(prepaid_taken) = 'array'),
    prepaid_pool unsigned_decimal NOT NULL,
    log_index bigint NOT NULL CHECK (log_index >= 0),
    sealed_at timestamptz NOT NULL,
    checkpoint text NOT NULL,
    accepted_by text NOT NULL,
    notes text,
    accepted_at timestamptz NOT NULL,
    PRIMARY KEY (account_number, period)
);

CREATE TABLE accepted_entries (
    uid key_text PRIMARY KEY,
    account_number account_text NOT NULL,
    period period_text NOT NULL,
    FOREIGN KEY (account_number, period) REFERENCES acceptances
);

-- Bills on their way to the archive: written before they are sent, removed with the acceptance. What a dead process
-- left here is asked of the archive before the account's next bill is computed.
CREATE TABLE sealing (
    account_number account_text NOT NULL,
    period period_text NOT NULL,
    body_sha256 digest_text NOT NULL,
    sent_at timestamptz NOT NULL,
    PRIMARY KEY (account_number, period)
);

-- What people were shown, so that a refused acceptance can say what differs.
CREATE TABLE previews (
    account_number account_text NOT NULL,
    period period_text NOT NULL,
    body_sha256 digest_text NOT NULL,
    body bytea NOT NULL,
    shown_at timestamptz NOT NULL,
    PRIMARY KEY (account_number, period, body_sha256)
);
"""

INDEXES = """
CREATE INDEX client_overrides_account ON client_overrides (account_number);
CREATE INDEX asset_overrides_account ON asset_overrides (account_number);
CREATE INDEX user_overrides_account ON user_overrides (account_number);
CREATE INDEX acceptances_period ON acceptances (period, account_number);
CREATE INDEX accepted_entries_bill ON accepted_entries (account_number, period);
CREATE INDEX previews_shown ON previews (shown_at);
"""

RULES = (
    *("client_overrides", "asset_overrides", "user_overrides", "manual_assets", "manual_users"),
    *("line_items", "prepaid_hours", "tax_rates"),
)
OF_A_COMPANY = (*RULES, "acceptances", "accepted_entries")

# What was accepted is never changed or removed by the service.
RIGHTS = f"""
GRANT SELECT, INSERT, UPDATE, DELETE ON {", ".join(RULES)}, sealing, previews TO ledger_user;
GRANT SELECT, INSERT ON acceptances, accepted_entries, idempotency_keys TO ledger_user;
GRANT SELECT ON {", ".join(OF_A_COMPANY)} TO ledger_client;
"""


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(table_ddl("idempotency_keys"))
    op.execute(INDEXES)
    op.execute(RIGHTS)
    # A person of a customer reads as ledger_client, and sees the account named by hivematrix.account_number alone.
    for table in OF_A_COMPANY:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY own_company ON {table} FOR SELECT TO ledger_client"
            " USING (account_number = current_setting('hivematrix.account_number', true))"
        )


def downgrade() -> None:
    tables = ("accepted_entries", "acceptances", "sealing", "previews", "idempotency_keys", *RULES)
    op.execute(f"DROP TABLE {', '.join(tables)}")
    op.execute("DROP FUNCTION period_number")
    op.execute("DROP DOMAIN key_text, account_text, period_text, digest_text, exact_decimal, unsigned_decimal")
