"""Search: each fact's words, and the newest tickets first."""

from alembic import op

revision = "0004"
down_revision = "0003"

# Letters and digits make a word; everything else parts words. A question is cut in the same way.
WORDS = """
CREATE FUNCTION search_words(said text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN strip(to_tsvector('simple'::regconfig, regexp_replace(lower(said), '[^[:alnum:]]+', ' ', 'g')));
"""
SAID = {
    "companies": ("account_number", "name", "email", "domains"),
    "contacts": ("name", "email", "secondary_emails"),
    "assets": ("hostname", "last_logged_in_user", "operating_system"),
    "tickets": ("number", "subject", "requester_name", "requester_email"),
}
NEWEST = """
CREATE INDEX tickets_newest ON tickets (coalesce(opened_at, '0001-01-01T00:00:00Z'), uid);
CREATE INDEX tickets_newest_of_account ON tickets (account_number, coalesce(opened_at, '0001-01-01T00:00:00Z'), uid);
CREATE INDEX tickets_open ON tickets (uid) WHERE closed_at IS NULL;
CREATE INDEX tickets_number ON tickets (number);
"""


def upgrade() -> None:
    op.execute(WORDS)
    for table, columns in SAID.items():
        said = " || ' ' || ".join(f"coalesce({column}, '')" for column in columns)
        op.execute(f"ALTER TABLE {table} ADD COLUMN words tsvector GENERATED ALWAYS AS (search_words({said})) STORED")
        # Without a list of what is pending, which every search would have to read through.
        op.execute(f"CREATE INDEX {table}_words ON {table} USING gin (words) WITH (fastupdate = off)")
    op.execute(NEWEST)


def downgrade() -> None:
    op.execute("DROP INDEX tickets_newest, tickets_newest_of_account, tickets_open, tickets_number")
    for table in SAID:
        op.execute(f"ALTER TABLE {table} DROP COLUMN words")
    op.execute("DROP FUNCTION search_words")
