"""Forgetting what a bill said once it is erased in the archive: names and texts go, who did what and when stays."""

from alembic import op
from hivematrix_common.audit_ddl import append_only

revision = "0009"
down_revision = "0008"

HISTORIES = ("rule_changes", "invoice_mails")
# Nobody may set it and change a row: the service's role may not change these tables at all.
UNLESS_FORGETTING = "WHEN (current_setting('hivematrix.forgetting', true) IS DISTINCT FROM 'yes')"

NAMELESS = """
CREATE FUNCTION nameless(said jsonb, stands jsonb) RETURNS jsonb LANGUAGE sql IMMUTABLE
RETURN said || (
    SELECT coalesce(jsonb_object_agg(part, 'erased'), '{}')
    FROM unnest(ARRAY['uid', 'name', 'hostname', 'description']) AS parts (part)
    WHERE said->>part IS NOT NULL AND said->>part IS DISTINCT FROM stands->>part);
"""

# Of rules that stand, what they say today stays in their history too: whoever wants it gone removes the rule first.
FORGET = """
CREATE FUNCTION forget_bill(account text, forgotten text, following text) RETURNS integer LANGUAGE plpgsql
SECURITY DEFINER SET search_path = public, pg_temp AS $$
DECLARE
    invoice text := account || '-' || replace(forgotten, '-', '');
    dropped integer;
BEGIN
    PERFORM set_config('hivematrix.forgetting', 'yes', true);
    DELETE FROM previews WHERE account_number = account;
    GET DIAGNOSTICS dropped = ROW_COUNT;
    DELETE FROM reports WHERE account_number = account;
    UPDATE acknowledged_findings SET subject = 'erased', detail = 'erased', reason = 'erased'
    WHERE account_number = account
        AND (period IN (forgotten, following) OR position(invoice IN detail) > 0);
    UPDATE runs SET left_over = (
        SELECT jsonb_agg(CASE WHEN one->>'account_number' = account
            THEN jsonb_build_object('account_number', account, 'status', one->'status', 'reason', 'erased')
            ELSE one END ORDER BY place)
        FROM jsonb_array_elements(left_over) WITH ORDINALITY AS listed (one, place))
    WHERE period = forgotten AND left_over @> jsonb_build_array(jsonb_build_object('account_number', account));
    UPDATE invoice_mails SET recipient = 'erased', reason = CASE WHEN reason IS NOT NULL THEN 'erased' END
    WHERE account_number = account AND period = forgotten;
    DELETE FROM idempotency_keys
    WHERE position(convert_to(invoice, 'UTF8') IN body) > 0 AND position(convert_to('"to":', 'UTF8') IN body) > 0;
    UPDATE rule_changes c SET before = nameless(before, stands), after = nameless(after, stands),
        notes_before = CASE WHEN notes_before = stands->>'notes' THEN notes_before END,
        notes_after = CASE WHEN notes_after = stands->>'notes' THEN notes_after END
    FROM (
        SELECT h.id, coalesce(to_jsonb(a), to_jsonb(u), to_jsonb(i)) AS stands
        FROM rule_changes h
        CROSS JOIN LATERAL (SELECT coalesce(h.after, h.before)->>'uid' AS uid) named
        LEFT JOIN manual_assets a ON h.rule = 'manual_assets' AND (a.account_number, a.uid) = (account, named.uid)
        LEFT JOIN manual_users u ON h.rule = 'manual_users' AND (u.account_number, u.uid) = (account, named.uid)
        LEFT JOIN line_items i ON h.rule = 'line_items' AND (i.account_number, i.uid) = (account, named.uid)
        WHERE h.account_number = account AND h.rule IN ('manual_assets', 'manual_users', 'line_items')
    ) now
    WHERE c.id = now.id;
    PERFORM set_config('hivematrix.forgetting', 'no', true);
    RETURN dropped;
END $$;
REVOKE ALL ON FUNCTION forget_bill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION forget_bill TO ledger_user;
"""


def upgrade() -> None:
    for table in HISTORIES:
        op.execute(f"DROP TRIGGER never_changed ON {table}")
        op.execute(
            f"CREATE TRIGGER never_changed BEFORE UPDATE OR DELETE ON {table} FOR EACH ROW {UNLESS_FORGETTING}"
            " EXECUTE FUNCTION audit.refuse()"
        )
    op.execute(NAMELESS)
    op.execute(FORGET)


def downgrade() -> None:
    op.execute("DROP FUNCTION forget_bill")
    op.execute("DROP FUNCTION nameless")
    for table in HISTORIES:
        op.execute(f"DROP TRIGGER never_changed ON {table}")
        op.execute(append_only(table)[0])
