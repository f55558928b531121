"""What bills are searched by: the distinct names of each company and its lines, and how many bills a month has.

All of it is made from what is sealed and can be made again. The service's role reads it; the one way to add to it is
archive_search.fill(), so that nobody but the owner can make a search pass over a bill.
"""

from alembic import op

revision = "0005"
down_revision = "0004"

# A name stands once for as long as each further bill of the account bears it: in the bills with ids [since, until).
# A text may be long, so no key holds it. Without fastupdate a search never reads a pending list.
TABLES = """
CREATE TABLE archive_search.names (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    account_number text COLLATE "C" NOT NULL,
    what text NOT NULL CHECK (what IN ('company', 'line')),
    name text NOT NULL,
    since bigint NOT NULL,
    until bigint CHECK (until > since)
);
CREATE INDEX names_account ON archive_search.names (account_number, what);
CREATE INDEX names_living ON archive_search.names (account_number) WHERE until IS NULL;
CREATE INDEX names_company ON archive_search.names USING gin (name {schema}.gin_trgm_ops)
    WITH (fastupdate = off) WHERE what = 'company';
CREATE INDEX names_line ON archive_search.names USING gin (name {schema}.gin_trgm_ops)
    WITH (fastupdate = off) WHERE what = 'line';

CREATE TABLE archive_search.months (
    billing_year integer NOT NULL,
    billing_month integer NOT NULL,
    documents bigint NOT NULL,
    PRIMARY KEY (billing_year, billing_month)
);

-- Bills up to this id are in the two tables above; those after it are looked at one by one.
CREATE TABLE archive_search.filled (
    id integer PRIMARY KEY DEFAULT 1 CHECK (id = 1),
    upto bigint NOT NULL DEFAULT 0
);
INSERT INTO archive_search.filled DEFAULT VALUES;

CREATE INDEX billing_snapshots_archived ON billing_snapshots (archived_at, id);
CREATE INDEX billing_snapshots_total ON billing_snapshots (total_amount, id);
CREATE INDEX billing_snapshots_plan ON billing_snapshots (billing_plan, id);
CREATE INDEX billing_snapshots_credit ON billing_snapshots (id) WHERE kind = 'credit_note';
"""

# A run is as many of an account's successive bills, among `ids`, as bear a name. `first`: it begins with the account's
# first of them; `until` is null when it reaches the last.
FUNCTIONS = """
CREATE FUNCTION archive_search.runs(ids bigint[])
RETURNS TABLE (account text, what text, name text, first boolean, since bigint, until bigint)
LANGUAGE sql STABLE AS $$
    WITH bill AS (
        SELECT s.id, s.company_account_number AS account, s.company_name,
            row_number() OVER of_account AS place, lead(s.id) OVER of_account AS next
        FROM public.billing_snapshots s WHERE s.id = ANY (ids)
        WINDOW of_account AS (PARTITION BY s.company_account_number ORDER BY s.id)
    ), said AS (
        SELECT b.account, 'company' AS what, b.company_name AS name, b.place, b.id, b.next FROM bill b
        UNION
        SELECT b.account, 'line', l.description, b.place, b.id, b.next
        FROM bill b JOIN public.snapshot_line_items l ON l.snapshot_id = b.id
        UNION
        SELECT b.account, 'line', l.item_name, b.place, b.id, b.next
        FROM bill b JOIN public.snapshot_line_items l ON l.snapshot_id = b.id
        WHERE strpos(l.description, l.item_name) = 0
    ), placed AS (
        SELECT *, place - row_number() OVER (PARTITION BY said.account, said.what, said.name ORDER BY place) AS run
        FROM said
    )
    SELECT p.account, p.what, p.name, min(p.place) = 1, min(p.id), (array_agg(p.next ORDER BY p.place DESC))[1]
    FROM placed p GROUP BY p.account, p.what, p.name, p.run
$$;

-- Right after a first month the tables' statistics still say that they are empty; no plan is made of that.
CREATE FUNCTION archive_search.fill(most integer) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp SET enable_seqscan = off AS $$
DECLARE
    ids bigint[];
    last bigint;
BEGIN
    SELECT upto INTO last FROM archive_search.filled FOR UPDATE;
    ids := ARRAY (SELECT s.id FROM public.billing_snapshots s WHERE s.id > last ORDER BY s.id LIMIT most);
    IF cardinality(ids) = 0 THEN
        RETURN 0;
    END IF;
    WITH run AS MATERIALIZED (
        SELECT * FROM archive_search.runs(ids)
    ), living AS MATERIALIZED (
        SELECT n.id, n.account_number, n.what, n.name, c.since AS next
        FROM run c JOIN archive_search.names n ON n.account_number = c.account AND n.until IS NULL
        WHERE c.first AND c.what = 'company'
    ), ended AS (
        UPDATE archive_search.names n SET until = e.until
        FROM (
            SELECT o.id, CASE WHEN r.name IS NULL THEN o.next ELSE r.until END AS until
            FROM living o LEFT JOIN run r
                ON r.first AND r.account = o.account_number AND r.what = o.what AND r.name = o.name
        ) e
        WHERE n.id = e.id AND e.until IS NOT NULL
    )
    INSERT INTO archive_search.names (account_number, what, name, since, until)
    SELECT r.account, r.what, r.name, r.since, r.until
    FROM run r LEFT JOIN living o
        ON r.first AND o.account_number = r.account AND o.what = r.what AND o.name = r.name
    WHERE o.id IS NULL
    ORDER BY r.account, r.since;
    INSERT INTO archive_search.months AS m (billing_year, billing_month, documents)
    SELECT s.billing_year, s.billing_month, count(*)
    FROM public.billing_snapshots s WHERE s.id = ANY (ids) GROUP BY 1, 2
    ON CONFLICT (billing_year, billing_month) DO UPDATE SET documents = m.documents + excluded.documents;
    UPDATE archive_search.filled SET upto = ids[cardinality(ids)];
    RETURN cardinality(ids);
END $$;

CREATE FUNCTION archive_search.close_names(part text, account text, most integer)
RETURNS TABLE (name text) LANGUAGE sql STABLE AS $$
    SELECT n.name FROM archive_search.names n
    WHERE n.what = 'line' AND n.name OPERATOR({schema}.%>) part
        AND (close_names.account IS NULL OR n.account_number = close_names.account)
    GROUP BY n.name ORDER BY {schema}.word_similarity(part, n.name) DESC, n.name LIMIT most
$$;

-- After names of an account were erased from its bills: they are erased here too. It takes turns with fill().
CREATE FUNCTION archive_search.refill(account text) RETURNS void LANGUAGE sql AS $$
    SELECT FROM archive_search.filled FOR UPDATE;
    DELETE FROM archive_search.names n WHERE n.account_number = refill.account;
    INSERT INTO archive_search.names (account_number, what, name, since, until)
    SELECT r.account, r.what, r.name, r.since, r.until
    FROM archive_search.runs(ARRAY (
        SELECT s.id FROM public.billing_snapshots s, archive_search.filled f
        WHERE s.company_account_number = refill.account AND s.id <= f.upto
    )) r;
$$;
"""

RIGHTS = """
GRANT USAGE ON SCHEMA archive_search TO archive_user, archive_client;
GRANT SELECT ON ALL TABLES IN SCHEMA archive_search TO archive_user;
GRANT SELECT ON ALL SEQUENCES IN SCHEMA archive_search TO archive_user;
REVOKE EXECUTE ON FUNCTION archive_search.fill, archive_search.refill FROM PUBLIC;
GRANT EXECUTE ON FUNCTION archive_search.fill TO archive_user;

GRANT SELECT ON archive_search.names, archive_search.filled TO archive_client;
ALTER TABLE archive_search.names ENABLE ROW LEVEL SECURITY;
CREATE POLICY own_company ON archive_search.names FOR SELECT TO archive_client
    USING (account_number = current_setting('hivematrix.account_number', true));
"""


def upgrade() -> None:
    op.execute("CREATE SCHEMA archive_search")
    trigrams = _trigrams()
    op.execute(TABLES.format(schema=trigrams))
    op.execute(FUNCTIONS.format(schema=trigrams))
    op.execute(RIGHTS)


def downgrade() -> None:
    op.execute(
        "DROP INDEX billing_snapshots_archived, billing_snapshots_total, billing_snapshots_plan,"
        " billing_snapshots_credit"
    )
    op.execute("DROP SCHEMA archive_search CASCADE")


def _trigrams() -> str:
    """The schema that pg_trgm is in. The database's owner may make this extension; an administrator may have before."""
    op.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm SCHEMA archive_search")
    where = "SELECT extnamespace::regnamespace FROM pg_extension WHERE extname = 'pg_trgm'"
    return str(op.get_bind().exec_driver_sql(where).scalar())
