"""The schema `audit` of every service's database, for its migration: who did what, and when a token was last used."""

_TABLES = """
CREATE SCHEMA audit;
CREATE TABLE audit.entries (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    uid uuid NOT NULL UNIQUE,
    at timestamptz NOT NULL,
    service text NOT NULL,
    actor text,
    actor_kind text NOT NULL CHECK (actor_kind IN ('person', 'service', 'job', 'command', 'unknown')),
    role text,
    action text NOT NULL,
    target text,
    outcome text NOT NULL CHECK (outcome IN ('allowed', 'refused', 'failed')),
    status smallint,
    address text,
    trace_id text,
    details jsonb NOT NULL CHECK (jsonb_typeof(details) = 'object')
);
CREATE TABLE audit.token_uses (
    token_id text PRIMARY KEY,
    used_at timestamptz NOT NULL,
    address text
);
CREATE FUNCTION audit.refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION '% on %.%: what was done stays written', TG_OP, TG_TABLE_SCHEMA, TG_TABLE_NAME
        USING ERRCODE = 'restrict_violation';
END $$;
"""
_RIGHTS = """
GRANT USAGE ON SCHEMA audit TO {role};
GRANT SELECT, INSERT ON audit.entries TO {role};
GRANT SELECT, INSERT, UPDATE ON audit.token_uses TO {role};
GRANT SELECT ON ALL SEQUENCES IN SCHEMA audit TO {role};
"""


def audit_ddl(service: str) -> list[str]:
    """Statements that make the schema, and let the service's role add entries and never change one."""
    return [_TABLES, *append_only("audit.entries"), _RIGHTS.format(role=f"{service}_user")]


def append_only(table: str) -> list[str]:
    """Triggers that refuse every change of a row, the owner's too."""
    refuse = "EXECUTE FUNCTION audit.refuse()"
    return [
        f"CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW {refuse}",
        f"CREATE TRIGGER never_emptied BEFORE TRUNCATE ON {table} FOR EACH STATEMENT {refuse}",
    ]
