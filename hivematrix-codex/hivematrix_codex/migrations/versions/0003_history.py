"""The rest of what a PSA and an RMM know, and every change of a fact: who, when, from what to what."""

from alembic import op
from hivematrix_common.audit_ddl import append_only

revision = "0003"
down_revision = "0002"

# `source` is who said it first: files, people, or a provider's name; `external_id` is how the provider calls it.
COLUMNS = {
    "companies": (
        *("description text", "address text", "phone_number text", "domains text", "support_level text"),
        "compliance_level text NOT NULL DEFAULT 'standard' CHECK (compliance_level IN ('standard', 'cjis', 'hipaa'))",
        *("profit_or_non_profit text", "company_start date", "phone_system text", "email_system text"),
        *("head_name text", "prime_user_name text", "portal_url text"),
    ),
    "contacts": (
        *("person_uid key_text", "title text", "mobile_phone_number text", "work_phone_number text"),
        *("secondary_emails text", "employment_type text", "location_name text", "vip boolean NOT NULL DEFAULT false"),
    ),
    "assets": (
        "billing_type_pinned boolean NOT NULL DEFAULT false",
        *("hardware_type text", "device_type text", "domain text", "antivirus_product text", "description text"),
        *("last_logged_in_user text", "ext_ip_address text", "int_ip_address text", "patch_status text"),
        *("portal_url text", "online boolean", "last_seen timestamptz", "last_reboot timestamptz"),
        "last_audit timestamptz",
    ),
    "locations": ("retired_on date",),
    "tickets": (
        "priority text CHECK (priority IN ('low', 'medium', 'high', 'urgent'))",
        *("ticket_type text", "description text", "requester_name text", "requester_email text"),
        *("agent_uid key_text", "group_name text", "last_updated_at timestamptz", "first_responded_at timestamptz"),
        *("agent_responded_at timestamptz", "fr_due_by timestamptz", "due_by timestamptz"),
    ),
    "time_entries": ("notes text",),
}
OF_PROVIDERS = ("source text NOT NULL DEFAULT 'files'", "external_id text")

TABLES = """
CREATE TABLE asset_contacts (
    asset_uid key_text NOT NULL REFERENCES assets,
    contact_uid key_text NOT NULL REFERENCES contacts,
    account_number key_text NOT NULL REFERENCES companies,
    active boolean NOT NULL DEFAULT true,
    PRIMARY KEY (asset_uid, contact_uid)
);
CREATE TABLE psa_agents (
    uid key_text PRIMARY KEY,
    source text NOT NULL,
    external_id text,
    name text NOT NULL CHECK (name <> ''),
    email text,
    job_title text,
    active boolean NOT NULL DEFAULT true,
    UNIQUE (source, external_id)
);
CREATE TABLE rmm_site_links (
    provider key_text NOT NULL,
    site_uid key_text NOT NULL,
    account_number key_text NOT NULL REFERENCES companies,
    site_name text,
    PRIMARY KEY (provider, site_uid)
);
CREATE TABLE feature_options (
    feature_category key_text NOT NULL,
    option_value key_text NOT NULL,
    display_name text,
    description text,
    retired_on date,
    PRIMARY KEY (feature_category, option_value)
);
CREATE INDEX asset_contacts_contact ON asset_contacts (contact_uid);
CREATE INDEX asset_contacts_account ON asset_contacts (account_number);
CREATE INDEX rmm_site_links_account ON rmm_site_links (account_number);
"""

# What was updated has what changed alone. Undone, the newest first, the changes since a moment give the facts as they
# were then: `xid` says which of them a reader of that moment did not see.
CHANGES = """
CREATE TABLE fact_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    actor_kind text NOT NULL CHECK (actor_kind IN ('person', 'service', 'command', 'sync', 'job', 'database')),
    action text NOT NULL,
    trace_id text,
    xid bigint NOT NULL DEFAULT pg_current_xact_id()::text::bigint,
    kind text NOT NULL,
    key text NOT NULL,
    account_number key_text,
    before jsonb,
    after jsonb NOT NULL
);
CREATE INDEX fact_changes_account ON fact_changes (account_number, id DESC);
CREATE INDEX fact_changes_xid ON fact_changes (xid);
"""

# The service says who by the setting hivematrix.change; whoever changes a row past the service is named by the role.
# Of a row that goes to another company both have a line. Statement by statement, for an import has thousands of rows.
# What a search or a machine's being there makes of a row is no change of the fact.
TRIGGER = """
CREATE FUNCTION fact_of(held jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
    RETURN held - '{words,late,last_seen,online}'::text[];
CREATE FUNCTION facts_added() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    told jsonb := nullif(current_setting('hivematrix.change', true), '');
BEGIN
    INSERT INTO fact_changes (at, actor, actor_kind, action, trace_id, kind, key, account_number, after)
    SELECT coalesce((told->>'at')::timestamptz, now()), coalesce(told->>'actor', session_user),
        coalesce(told->>'actor_kind', 'database'), coalesce(told->>'action', 'SQL'), told->>'trace_id',
        TG_TABLE_NAME, concat_ws(' / ', fact->>TG_ARGV[0], fact->>TG_ARGV[1], fact->>TG_ARGV[2]),
        fact->>'account_number', jsonb_strip_nulls(fact)
    FROM (SELECT fact_of(to_jsonb(is_now)) AS fact FROM is_now) y;
    RETURN NULL;
END $$;
CREATE FUNCTION facts_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
DECLARE
    told jsonb := nullif(current_setting('hivematrix.change', true), '');
BEGIN
    INSERT INTO fact_changes (at, actor, actor_kind, action, trace_id, kind, key, account_number, before, after)
    SELECT coalesce((told->>'at')::timestamptz, now()), coalesce(told->>'actor', session_user),
        coalesce(told->>'actor_kind', 'database'), coalesce(told->>'action', 'SQL'), told->>'trace_id',
        TG_TABLE_NAME, n.key, whose.account, differing.before, differing.after
    FROM (SELECT fact, concat_ws(' / ', fact->>TG_ARGV[0], fact->>TG_ARGV[1], fact->>TG_ARGV[2]) AS key
          FROM (SELECT fact_of(to_jsonb(was)) AS fact FROM was) y) o
    JOIN (SELECT fact, concat_ws(' / ', fact->>TG_ARGV[0], fact->>TG_ARGV[1], fact->>TG_ARGV[2]) AS key
          FROM (SELECT fact_of(to_jsonb(is_now)) AS fact FROM is_now) y) n ON o.key = n.key AND o.fact <> n.fact
    CROSS JOIN LATERAL (
        SELECT n.fact->>'account_number' AS account UNION SELECT o.fact->>'account_number') whose
    CROSS JOIN LATERAL (
        SELECT jsonb_object_agg(name, o.fact->name) AS before, jsonb_object_agg(name, n.fact->name) AS after
        FROM jsonb_object_keys(n.fact) name WHERE o.fact->name IS DISTINCT FROM n.fact->name) differing;
    RETURN NULL;
END $$;
"""
KEYS = {
    "companies": "'account_number'",
    "contacts": "'uid'",
    "assets": "'uid'",
    "locations": "'uid'",
    "tickets": "'uid'",
    "time_entries": "'uid'",
    "asset_contacts": "'asset_uid', 'contact_uid'",
    "psa_agents": "'uid'",
    "rmm_site_links": "'provider', 'site_uid'",
    "feature_options": "'feature_category', 'option_value'",
    "plan_versions": "'plan_name', 'term', 'valid_from'",
}

RIGHTS = """
GRANT SELECT, INSERT, UPDATE ON asset_contacts, psa_agents, rmm_site_links, feature_options TO codex_user;
GRANT SELECT, INSERT ON fact_changes TO codex_user;
GRANT SELECT ON asset_contacts TO codex_client;
ALTER TABLE asset_contacts ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_company ON asset_contacts FOR SELECT TO codex_client
    USING (account_number = current_setting('hivematrix.account_number', true));
"""


def upgrade() -> None:
    for table, columns in COLUMNS.items():
        added = ", ".join(f"ADD COLUMN {column}" for column in (*columns, *OF_PROVIDERS))
        op.execute(f"ALTER TABLE {table} {added}")
    for table in ("companies", "assets", "tickets", "time_entries"):
        op.execute(f"CREATE UNIQUE INDEX {table}_external ON {table} (external_id, source)")
    for statements in (TABLES, CHANGES, TRIGGER, RIGHTS, *append_only("fact_changes")):
        op.execute(statements)
    for table, key in KEYS.items():
        op.execute(
            f"CREATE TRIGGER noted_when_added AFTER INSERT ON {table} REFERENCING NEW TABLE AS is_now"
            f" FOR EACH STATEMENT EXECUTE FUNCTION facts_added({key})"
        )
        op.execute(
            f"CREATE TRIGGER noted_when_changed AFTER UPDATE ON {table}"
            " REFERENCING OLD TABLE AS was NEW TABLE AS is_now"
            f" FOR EACH STATEMENT EXECUTE FUNCTION facts_changed({key})"
        )


def downgrade() -> None:
    for table in KEYS:
        op.execute(f"DROP TRIGGER noted_when_added ON {table}")
        op.execute(f"DROP TRIGGER noted_when_changed ON {table}")
    op.execute("DROP TABLE fact_changes, asset_contacts, psa_agents, rmm_site_links, feature_options")
    op.execute("DROP FUNCTION facts_added, facts_changed, fact_of")
    for table, columns in COLUMNS.items():
        dropped = ", ".join(f"DROP COLUMN {column.split()[0]}" for column in (*columns, *OF_PROVIDERS))
        op.execute(f"ALTER TABLE {table} {dropped}")
