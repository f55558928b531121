"""Credit notes and replacements, and how a month stands after each; an invoice credited whole gives its hours back."""

from alembic import op

revision = "0003"
down_revision = "0002"

TABLE = """
CREATE TABLE corrections (
    account_number account_text NOT NULL,
    period period_text NOT NULL,
    revision integer NOT NULL CHECK (revision > 0),
    kind text NOT NULL CHECK (kind IN ('invoice', 'credit_note')),
    invoice_number key_text NOT NULL UNIQUE,
    corrects key_text NOT NULL,
    body_sha256 digest_text NOT NULL,
    currency text NOT NULL CHECK (currency ~ '^[A-Z]{3}$'),
    total exact_decimal NOT NULL,
    -- How the month stands after it: the invoice in force, what is credited of it (negative), its prepaid hours.
    bill key_text NOT NULL,
    bill_sha256 digest_text NOT NULL,
    bill_total exact_decimal NOT NULL,
    credited exact_decimal NOT NULL,
    prepaid_monthly unsigned_decimal NOT NULL,
    prepaid_taken jsonb NOT NULL CHECK (jsonb_typeof(prepaid_taken) = 'array'),
    prepaid_pool unsigned_decimal NOT NULL,
    -- The invoice whose hours it gives back: no invoice's hours are given back twice.
    releases key_text UNIQUE,
    log_index bigint NOT NULL CHECK (log_index >= 0),
    sealed_at timestamptz NOT NULL,
    checkpoint text NOT NULL,
    corrected_by text NOT NULL,
    corrected_at timestamptz NOT NULL,
    PRIMARY KEY (account_number, period, revision),
    FOREIGN KEY (account_number, period) REFERENCES acceptances
);
"""

# The service itself may take no entry off a bill: only a correction that says so does, and stays.
RELEASE = """
CREATE FUNCTION release_entries() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER
SET search_path = public, pg_temp AS $$
BEGIN
    DELETE FROM accepted_entries WHERE account_number = NEW.account_number AND period = NEW.period;
    RETURN NULL;
END $$;
CREATE TRIGGER gives_hours_back AFTER INSERT ON corrections
    FOR EACH ROW WHEN (NEW.releases IS NOT NULL) EXECUTE FUNCTION release_entries();
"""

VIEW = """
CREATE VIEW bills WITH (security_invoker = true) AS
SELECT a.account_number, a.period, coalesce(c.currency, a.currency) AS currency,
    coalesce(c.bill, a.invoice_number) AS invoice_number, coalesce(c.bill_sha256, a.body_sha256) AS body_sha256,
    coalesce(c.bill_total, a.total) AS total, coalesce(c.credited, 0) AS credited
FROM acceptances a
LEFT JOIN (
    SELECT DISTINCT ON (account_number, period)
        account_number, period, currency, bill, bill_sha256, bill_total, credited
    FROM corrections ORDER BY account_number, period, revision DESC
) c USING (account_number, period);
"""

# A customer's person: without who corrected it and why.
SEEN = "account_number, period, revision, currency, bill, bill_sha256, bill_total, credited"
RIGHTS = f"""
GRANT SELECT, INSERT ON corrections TO ledger_user;
GRANT SELECT ON bills TO ledger_user, ledger_client;
GRANT SELECT ({SEEN}) ON corrections TO ledger_client;
ALTER TABLE corrections ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_company ON corrections FOR SELECT TO ledger_client
    USING (account_number = current_setting('hivematrix.account_number', true));
"""

# What was said about a bill, or why it was corrected, stands in the archive alone: erased there, it is gone.
NOTES = "ALTER TABLE acceptances DROP COLUMN notes"


def upgrade() -> None:
    for statements in (TABLE, RELEASE, VIEW, RIGHTS, NOTES):
        op.execute(statements)


def downgrade() -> None:
    op.execute("ALTER TABLE acceptances ADD COLUMN notes text")
    op.execute("DROP VIEW bills")
    op.execute("DROP TABLE corrections")
    op.execute("DROP FUNCTION release_entries")
