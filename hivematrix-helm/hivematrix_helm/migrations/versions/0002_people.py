"""People, their second factor and their sessions."""

from alembic import op

revision = "0002"
down_revision = "0001"

STATEMENTS = (
    """
    CREATE TABLE people (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL UNIQUE CHECK (name = lower(name) AND name <> ''),
        display_name text NOT NULL,
        role text NOT NULL CHECK (role IN ('admin', 'billing', 'technician', 'auditor', 'client')),
        account_number text,
        password_hash text NOT NULL,
        password_changed_at timestamptz NOT NULL,
        must_change boolean NOT NULL,
        totp_secret bytea,
        totp_pending bytea,
        totp_last_step bigint NOT NULL DEFAULT 0,
        disabled_at timestamptz,
        created_at timestamptz NOT NULL,
        theme text NOT NULL DEFAULT 'auto' CHECK (theme IN ('auto', 'light', 'dark')),
        shortcuts boolean NOT NULL DEFAULT true,
        CONSTRAINT clients_have_an_account CHECK ((role = 'client') = (account_number IS NOT NULL))
    )
    """,
    """
    CREATE TABLE recovery_codes (
        person_id bigint NOT NULL REFERENCES people,
        digest bytea NOT NULL,
        used_at timestamptz,
        PRIMARY KEY (person_id, digest)
    )
    """,
    """
    CREATE TABLE sessions (
        sid text PRIMARY KEY,
        person_id bigint NOT NULL REFERENCES people,
        created_at timestamptz NOT NULL,
        seen_at timestamptz NOT NULL,
        ends_at timestamptz NOT NULL,
        address text NOT NULL,
        agent text NOT NULL,
        revoked_at timestamptz,
        revoked_why text,
        CHECK ((revoked_at IS NULL) = (revoked_why IS NULL))
    )
    """,
    "CREATE INDEX sessions_by_person ON sessions (person_id)",
    "CREATE INDEX sessions_revoked ON sessions (revoked_at) WHERE revoked_at IS NOT NULL",
    """
    CREATE TABLE hand_over_codes (
        digest bytea PRIMARY KEY,
        sid text NOT NULL REFERENCES sessions ON DELETE CASCADE,
        service text NOT NULL,
        made_at timestamptz NOT NULL,
        used_at timestamptz
    )
    """,
    """
    CREATE TABLE sign_in_failures (
        id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
        name text NOT NULL,
        address text NOT NULL,
        at timestamptz NOT NULL
    )
    """,
    "CREATE INDEX sign_in_failures_by_name ON sign_in_failures (name)",
    "CREATE INDEX sign_in_failures_by_address ON sign_in_failures (address)",
    "CREATE INDEX sign_in_failures_by_time ON sign_in_failures (at)",
    "GRANT SELECT, INSERT, UPDATE ON people TO helm_user",
    "GRANT SELECT, INSERT, UPDATE, DELETE ON recovery_codes, sessions, hand_over_codes TO helm_user",
    "GRANT SELECT, INSERT, DELETE ON sign_in_failures TO helm_user",
)


def upgrade() -> None:
    for statement in STATEMENTS:
        op.execute(statement)


def downgrade() -> None:
    op.execute("DROP TABLE sign_in_failures, hand_over_codes, sessions, recovery_codes, people")
