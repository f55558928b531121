"""What Ledger itself knows of a page's companies, as the engine's inputs take it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import orjson
from hivematrix_common.database import AnySession
from hivematrix_common.prepared import Prepared
from sqlalchemy import Connection, Row, text

from hivematrix_ledger.domain.inputs import Document, Rows

from . import listed

# One column a table, its rows as JSON in the engine's own spelling.
_COLUMNS = """
WITH {page}
corrected AS (
    SELECT DISTINCT ON (account_number, period) account_number, period, prepaid_monthly, prepaid_taken, prepaid_pool
    FROM corrections {of} ORDER BY account_number, period, revision DESC
)
SELECT
    (SELECT coalesce(json_agg(y), '[]')::text FROM (
        SELECT account_number, key, value, from_period, to_period
        FROM client_overrides {of}) y) AS overrides,
    (SELECT coalesce(json_agg(y), '[]')::text FROM (
        SELECT account_number, uid, 'manual' AS source, hostname, billing_type,
            trim_scale(custom_cost)::text AS custom_cost
        FROM manual_assets {of}) y) AS manual_assets,
    (SELECT coalesce(json_agg(y), '[]')::text FROM (
        SELECT account_number, uid, 'manual' AS source, name, true AS active, null AS active_from, null AS active_to,
            billing_type, trim_scale(custom_cost)::text AS custom_cost
        FROM manual_users {of}) y) AS manual_users,
    (SELECT coalesce(json_agg(y), '[]')::text FROM (
        SELECT account_number, uid, name, description, kind, trim_scale(fee)::text AS fee, period, month,
            from_period, to_period
        FROM line_items {of}) y) AS line_items,
    (SELECT coalesce(json_agg(y), '[]')::text FROM (
        SELECT account_number, trim_scale(monthly)::text AS monthly, trim_scale(yearly)::text AS yearly,
            pool_year, rollover_months
        FROM prepaid_hours {of}) y) AS prepaid,
    (SELECT coalesce(json_agg(y), '[]')::text FROM (
        SELECT account_number, category, trim_scale(percent)::text AS percent
        FROM tax_rates {of}) y) AS tax_rates,
    (SELECT coalesce(json_agg(y), '[]')::text FROM (
        SELECT account_number, period, 'accepted' AS state,
            trim_scale(coalesce(c.prepaid_monthly, a.prepaid_monthly))::text AS monthly,
            coalesce(c.prepaid_taken, a.prepaid_taken) AS taken,
            trim_scale(coalesce(c.prepaid_pool, a.prepaid_pool))::text AS pool
        FROM (SELECT * FROM acceptances {of}) a LEFT JOIN corrected c USING (account_number, period)
        WHERE period <= {until} AND (period >= {since} OR period >= {rolled_since} AND account_number IN (
            SELECT account_number FROM prepaid_hours WHERE rollover_months > 0))) y) AS accepted,
    (SELECT coalesce(json_agg(y), '[]')::text FROM (
        SELECT asset_uid, billing_type, trim_scale(custom_cost)::text AS custom_cost FROM asset_overrides
        WHERE asset_uid {assets}) y) AS asset_overrides,
    (SELECT coalesce(json_agg(y), '[]')::text FROM (
        SELECT contact_uid, billing_type, trim_scale(custom_cost)::text AS custom_cost FROM user_overrides
        WHERE contact_uid {contacts}) y) AS user_overrides{more}
"""
_MORE_OF_ONE = """,
    (SELECT coalesce(json_agg(uid), '[]')::text FROM accepted_entries WHERE uid = ANY ($7)) AS billed,
    (SELECT coalesce(json_agg(body_sha256), '[]')::text FROM previews
        WHERE account_number = $1 AND period = $8 AND shown_at > $9) AS previews
"""
_ROWS = text(
    _COLUMNS.format(
        page="page AS MATERIALIZED (SELECT json_array_elements_text(:accounts) AS account_number),",
        of="JOIN page USING (account_number)",
        assets="IN (SELECT json_array_elements_text(:assets))",
        contacts="IN (SELECT json_array_elements_text(:contacts))",
        since=":since",
        until=":until",
        rolled_since=":rolled_since",
        more="",
    )
)
# One company's alone, through the indexes, and what else its bill asks for: entries on bills, previews that are kept.
_OF_ONE = Prepared(
    "inputs_of_one",
    ("text", "text[]", "text[]", "text", "text", "text", "text[]", "text", "timestamptz"),
    _COLUMNS.format(
        page="",
        of="WHERE account_number = $1",
        assets="= ANY ($2)",
        contacts="= ANY ($3)",
        since="$4",
        until="$5",
        rolled_since="$6",
        more=_MORE_OF_ONE,
    ),
)
_UNBILLED = text(
    "SELECT coalesce(json_agg(uid), '[]')::text FROM json_array_elements_text(:uids) AS asked (uid)"
    " WHERE NOT EXISTS (SELECT FROM accepted_entries WHERE accepted_entries.uid = asked.uid)"
)


@dataclass(frozen=True, slots=True)
class Months:
    """Which accepted months are read; from `rolled_since` on where unused hours roll over."""

    since: str
    until: str
    rolled_since: str


@dataclass(frozen=True, slots=True)
class Uids:
    """Of Codex's rows."""

    assets: list[str]
    contacts: list[str]
    entries: list[str]


@dataclass(frozen=True, slots=True)
class PageRows:
    """By account, and the overrides of single items by their uid."""

    accounts: Mapping[str, Rows]
    asset_overrides: Mapping[str, Document]
    user_overrides: Mapping[str, Document]


@dataclass(frozen=True, slots=True)
class Held:
    """What Ledger holds of one company's month: `rows`, the entries that are `billed`, digests of `previews`.

    A preview counts when it was shown after a moment. `spelled` is all that the bill may depend on, as it was read.
    """

    rows: PageRows
    billed: set[str]
    previews: list[str]
    spelled: tuple[str, ...]


def read_rows(session: AnySession, accounts: Sequence[str], uids: Uids, months: Months) -> PageRows:
    """Everything in one statement."""
    values = {"accounts": listed(accounts), "assets": listed(uids.assets), "contacts": listed(uids.contacts)}
    return _page_rows(accounts, session.execute(_ROWS, values | asdict(months)).one())


def read_one(
    connection: Connection, account: str, period: str, uids: Uids, months: Months, *, shown_after: datetime
) -> Held:
    """The same for one company, and what else its bill asks for."""
    span = (months.since, months.until, months.rolled_since)
    [row] = _OF_ONE.on(connection, account, uids.assets, uids.contacts, *span, uids.entries, period, shown_after)
    previews = orjson.loads(row.previews)
    return Held(_page_rows([account], row), set(orjson.loads(row.billed)), previews, tuple(row)[:-1])


def _page_rows(accounts: Sequence[str], row: Row[Any]) -> PageRows:
    found = {account: Rows() for account in accounts}
    for name in ("overrides", "manual_assets", "manual_users", "line_items", "tax_rates"):
        for document in orjson.loads(getattr(row, name)):
            getattr(found[document.pop("account_number")], name).append(document)
    for document in orjson.loads(row.prepaid):
        found[document.pop("account_number")].prepaid = document
    for document in orjson.loads(row.accepted):
        found[document.pop("account_number")].accepted[document["period"]] = document
    return PageRows(found, _by("asset_uid", row.asset_overrides), _by("contact_uid", row.user_overrides))


def read_unbilled(session: AnySession, uids: Sequence[str]) -> set[str]:
    """Those of the entries that no accepted bill holds."""
    return set(orjson.loads(session.scalar(_UNBILLED, {"uids": listed(uids)}))) if uids else set()


def _by(name: str, rows: Any) -> dict[str, Document]:
    return {document[name]: document for document in orjson.loads(rows)}
