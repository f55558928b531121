"""Companies, their people, machines, tickets and hours, and the plans they are billed by."""

from alembic import op

revision = "0001"
down_revision = None

# Keys are compared bytewise, so that a page's order is the same on every server.
TABLES = """
CREATE DOMAIN key_text AS text COLLATE "C" CHECK (VALUE <> '' AND length(VALUE) <= 200);
CREATE DOMAIN unsigned_decimal AS numeric(19, 4) CHECK (VALUE >= 0);

CREATE TABLE companies (
    account_number key_text PRIMARY KEY CHECK (account_number ~ '^[A-Za-z0-9]{1,32}$'),
    name text NOT NULL CHECK (name <> ''),
    billing_plan key_text,
    contract_term key_text NOT NULL CHECK (contract_term IN ('Month to Month', '1 Year', '2 Year', '3 Year')),
    contract_start date,
    contract_end date CHECK (contract_end >= contract_start),
    currency text CHECK (currency ~ '^[A-Z]{3}$'),
    payment_terms_days integer CHECK (payment_terms_days BETWEEN 0 AND 3650),
    email text,
    status text NOT NULL
);

CREATE TABLE contacts (
    uid key_text PRIMARY KEY,
    account_number key_text NOT NULL REFERENCES companies,
    name text NOT NULL CHECK (name <> ''),
    email text,
    active boolean NOT NULL,
    active_from date,
    active_to date CHECK (active_to >= active_from)
);

CREATE TABLE assets (
    uid key_text PRIMARY KEY,
    account_number key_text NOT NULL REFERENCES companies,
    hostname text NOT NULL CHECK (hostname <> ''),
    billing_type text CHECK (
        billing_type IN ('Workstation', 'Server', 'VM', 'Switch', 'Firewall', 'Custom', 'No Charge')),
    backup_bytes bigint NOT NULL CHECK (backup_bytes >= 0 AND backup_bytes < 2::bigint ^ 53),
    operating_system text,
    active_from date,
    active_to date CHECK (active_to >= active_from)
);

CREATE TABLE locations (
    uid key_text PRIMARY KEY,
    account_number key_text NOT NULL REFERENCES companies,
    name text NOT NULL CHECK (name <> ''),
    address text,
    phone_number text
);

CREATE TABLE tickets (
    uid key_text PRIMARY KEY,
    account_number key_text NOT NULL REFERENCES companies,
    number text,
    subject text,
    status text,
    opened_at timestamptz,
    closed_at timestamptz CHECK (closed_at >= opened_at),
    UNIQUE (uid, account_number)
);

-- The account is its ticket's; it stands here too because every bill asks for an account's entries of some months.
-- A late entry was first seen after the month it was worked in.
CREATE TABLE time_entries (
    uid key_text PRIMARY KEY,
    ticket_uid key_text NOT NULL,
    account_number key_text NOT NULL,
    worked_on date NOT NULL,
    hours unsigned_decimal NOT NULL,
    billable boolean NOT NULL,
    first_seen date NOT NULL,
    late boolean NOT NULL GENERATED ALWAYS AS (
        first_seen >= date_trunc('month', worked_on::timestamp) + interval '1 month') STORED,
    FOREIGN KEY (ticket_uid, account_number) REFERENCES tickets (uid, account_number) ON UPDATE CASCADE
);

CREATE TABLE plan_versions (
    plan_name key_text NOT NULL,
    term key_text NOT NULL CHECK (term IN ('Month to Month', '1 Year', '2 Year', '3 Year')),
    valid_from date NOT NULL,
    support_level text,
    currency text CHECK (currency ~ '^[A-Z]{3}$'),
    per_user unsigned_decimal,
    per_workstation unsigned_decimal,
    per_server unsigned_decimal,
    per_vm unsigned_decimal,
    per_switch unsigned_decimal,
    per_firewall unsigned_decimal,
    per_hour unsigned_decimal,
    backup_base_workstation unsigned_decimal,
    backup_base_server unsigned_decimal,
    backup_included_tb unsigned_decimal,
    backup_per_tb unsigned_decimal,
    count_policy text NOT NULL CHECK (count_policy IN ('end_of_period', 'any_day', 'prorate_actual', 'prorate_30')),
    features jsonb NOT NULL CHECK (jsonb_typeof(features) = 'object'),
    PRIMARY KEY (plan_name, term, valid_from)
);
"""

INDEXES = """
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE INDEX companies_name ON companies USING gin (name gin_trgm_ops);
CREATE INDEX contacts_account ON contacts (account_number, uid);
CREATE INDEX assets_account ON assets (account_number, uid);
CREATE INDEX locations_account ON locations (account_number, uid);
CREATE INDEX tickets_account ON tickets (account_number, uid);
CREATE INDEX time_entries_ticket ON time_entries (ticket_uid, account_number);
CREATE INDEX time_entries_month ON time_entries (account_number, worked_on);
CREATE INDEX time_entries_late ON time_entries (account_number, worked_on) WHERE late;
"""

# A person of a customer reads as codex_client, and sees the account named by hivematrix.account_number alone.
RIGHTS = """
GRANT SELECT, INSERT, UPDATE ON
    companies, contacts, assets, locations, tickets, time_entries, plan_versions TO codex_user;
GRANT SELECT ON companies, contacts, assets, locations, tickets, time_entries TO codex_client;
"""
OF_A_COMPANY = ("companies", "contacts", "assets", "locations", "tickets", "time_entries")


def upgrade() -> None:
    op.execute(TABLES)
    op.execute(INDEXES)
    op.execute(RIGHTS)
    for table in OF_A_COMPANY:
        op.execute(f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY")
        op.execute(
            f"CREATE POLICY own_company ON {table} FOR SELECT TO codex_client"
            " USING (account_number = current_setting('hivematrix.account_number', true))"
        )


def downgrade() -> None:
    op.execute("DROP TABLE time_entries, tickets, locations, assets, contacts, companies, plan_versions")
    op.execute("DROP DOMAIN key_text, unsigned_decimal")
