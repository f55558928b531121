"""Every change of a rule: who, when, from what to what; and a customer's person reads its own company's rules."""

from alembic import op
from hivematrix_common.audit_ddl import append_only

revision = "0004"
down_revision = "0003"

RULES = (
    *("client_overrides", "asset_overrides", "user_overrides", "manual_assets", "manual_users"),
    *("line_items", "prepaid_hours", "tax_rates"),
)

# Notes are the operator's own: they stand apart, so that a customer's person can be shown the rest.
TABLE = """
CREATE TABLE rule_changes (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    at timestamptz NOT NULL,
    actor text NOT NULL,
    actor_kind text NOT NULL CHECK (actor_kind IN ('person', 'service', 'command', 'database')),
    action text NOT NULL,
    trace_id text,
    account_number account_text NOT NULL,
    rule text NOT NULL,
    before jsonb,
    after jsonb,
    notes_before text,
    notes_after text,
    CHECK (before IS NOT NULL OR after IS NOT NULL)
);
CREATE INDEX rule_changes_account ON rule_changes (account_number, id DESC);
"""

# The service says who by the setting hivematrix.change; whoever changes a row past the service is named by the role.
TRIGGER = """
CREATE FUNCTION note_rule_change(rule text, was jsonb, is_now jsonb) RETURNS void LANGUAGE plpgsql
SET search_path = public, pg_temp AS $$
DECLARE
    told jsonb := nullif(current_setting('hivematrix.change', true), '');
BEGIN
    INSERT INTO rule_changes (
        at, actor, actor_kind, action, trace_id, account_number, rule, before, after, notes_before, notes_after)
    VALUES (
        coalesce((told->>'at')::timestamptz, now()), coalesce(told->>'actor', session_user),
        coalesce(told->>'actor_kind', 'database'), coalesce(told->>'action', 'SQL'), told->>'trace_id',
        coalesce(is_now, was)->>'account_number', rule, was - 'notes', is_now - 'notes',
        was->>'notes', is_now->>'notes');
END $$;
CREATE FUNCTION rule_changed() RETURNS trigger LANGUAGE plpgsql SET search_path = public, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        PERFORM note_rule_change(TG_TABLE_NAME, NULL, to_jsonb(NEW));
    ELSIF TG_OP = 'DELETE' THEN
        PERFORM note_rule_change(TG_TABLE_NAME, to_jsonb(OLD), NULL);
    ELSIF OLD.account_number <> NEW.account_number THEN
        PERFORM note_rule_change(TG_TABLE_NAME, to_jsonb(OLD), NULL);
        PERFORM note_rule_change(TG_TABLE_NAME, NULL, to_jsonb(NEW));
    ELSIF OLD IS DISTINCT FROM NEW THEN
        PERFORM note_rule_change(TG_TABLE_NAME, to_jsonb(OLD), to_jsonb(NEW));
    END IF;
    RETURN NULL;
END $$;
"""

# What a customer's person may see: its rules without notes, and how they came to be without who wrote them.
SEEN = "id, at, account_number, rule, before, after"
PLAIN = ", ".join(table for table in RULES if not table.startswith("manual_"))
MANUAL = {
    "manual_assets": "account_number, uid, hostname, billing_type, custom_cost",
    "manual_users": "account_number, uid, name, billing_type, custom_cost",
}
RIGHTS = f"""
GRANT SELECT, INSERT ON rule_changes TO ledger_user;
GRANT SELECT ({SEEN}) ON rule_changes TO ledger_client;
GRANT SELECT ON {PLAIN} TO ledger_client;
ALTER TABLE rule_changes ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_company ON rule_changes FOR SELECT TO ledger_client USING (
    account_number = current_setting('hivematrix.account_number', true) AND before IS DISTINCT FROM after);
"""  # noqa: S608 - our own names


def upgrade() -> None:
    for statements in (TABLE, TRIGGER, RIGHTS, *append_only("rule_changes")):
        op.execute(statements)
    for table, columns in MANUAL.items():
        op.execute(f"GRANT SELECT ({columns}) ON {table} TO ledger_client")
    for table in RULES:
        # What is there already stands at the beginning, so that the rows can be told from their history alone.
        op.execute(f"SELECT note_rule_change('{table}', NULL, to_jsonb(held)) FROM {table} held")  # noqa: S608
        op.execute(
            f"CREATE TRIGGER never_unnoted AFTER INSERT OR UPDATE OR DELETE ON {table}"
            " FOR EACH ROW EXECUTE FUNCTION rule_changed()"
        )


def downgrade() -> None:
    for table in RULES:
        op.execute(f"DROP TRIGGER never_unnoted ON {table}")
    for table, columns in MANUAL.items():
        op.execute(f"REVOKE SELECT ({columns}) ON {table} FROM ledger_client")  # noqa: S608
    op.execute(f"REVOKE SELECT ON {PLAIN} FROM ledger_client")  # noqa: S608
    op.execute("DROP TABLE rule_changes")
    op.execute("DROP FUNCTION rule_changed")
    op.execute("DROP FUNCTION note_rule_change")
