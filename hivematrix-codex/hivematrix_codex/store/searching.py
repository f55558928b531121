"""Search by words across kinds, one statement: what it finds is bounded whatever is asked.

Of tickets there may be millions. Who asks for a ticket's number gets that ticket. Where a word is in many, it is in
some of the newest NEAR, which are looked at themselves; else the index gives what has it, at most SOME, of which the
newest are told. One company's are looked at themselves.
"""

from typing import Any, Final

import orjson
from hivematrix_common.database import own_account
from hivematrix_common.prepared import Prepared
from sqlalchemy import Connection

NEAR: Final = 6000
SOME: Final = 4000
MEMBERS: Final = {
    "companies": "account_number, name, billing_plan, status",
    "contacts": "uid, account_number, name, email, active, active_to",
    "assets": "uid, account_number, hostname, billing_type, operating_system, active_to",
    "tickets": "uid, account_number, number, subject, status, priority, opened_at, closed_at",
}
_ORDER: Final = {"companies": "name, account_number", "contacts": "name, uid", "assets": "hostname, uid"}
# As the index has it.
_NEWEST: Final = "coalesce(opened_at, '0001-01-01T00:00:00Z') DESC, uid DESC"
_ASKED: Final = """
WITH asked AS MATERIALIZED (
    SELECT string_agg(quote_literal(word) || ':*', ' & ')::tsquery AS words
    FROM unnest(tsvector_to_array(search_words($1))) word)"""
_FITS: Final = "words @@ (SELECT words FROM asked)"


def _source(kind: str, *, of_account: bool) -> str:
    """Where a kind's facts are looked for: an account's own are found first, whatever else they may be found by."""
    own = f"(SELECT * FROM {kind} WHERE account_number = $3 OFFSET 0) own"  # noqa: S608
    return own if of_account else kind


def _some(kind: str, *, of_account: bool) -> str:
    source = _source(kind, of_account=of_account)
    some = f"SELECT {MEMBERS[kind]} FROM {source} WHERE {_FITS} LIMIT {SOME}"  # noqa: S608
    return f"SELECT * FROM ({some}) y ORDER BY {_ORDER[kind]} LIMIT $2 + 1"  # noqa: S608


_TICKET: Final = MEMBERS["tickets"]


def _tickets(*, of_account: bool) -> str:
    source = _source("tickets", of_account=of_account)
    most = "" if of_account else f" LIMIT {NEAR}"
    newest = f"SELECT {_TICKET}, words FROM {source} ORDER BY {_NEWEST}{most}"  # noqa: S608
    return f"""
numbered AS MATERIALIZED (SELECT {_TICKET} FROM {source} WHERE number IN ($1, upper($1)) LIMIT $2 + 1),
near AS MATERIALIZED (
    SELECT {_TICKET} FROM ({newest}) y
    WHERE {_FITS} AND NOT EXISTS (SELECT FROM numbered) ORDER BY {_NEWEST} LIMIT $2 + 1),
far AS MATERIALIZED (
    SELECT {_TICKET} FROM (SELECT {_TICKET} FROM {source} WHERE {_FITS} LIMIT {SOME}) y
    WHERE (SELECT count(*) FROM near) <= $2 AND NOT EXISTS (SELECT FROM numbered) AND {not of_account}
    ORDER BY {_NEWEST} LIMIT $2 + 1)"""  # noqa: S608


def _statement(*, of_account: bool) -> str:
    all_ = "(SELECT * FROM numbered UNION SELECT * FROM near UNION SELECT * FROM far) y"
    kinds = {kind: _some(kind, of_account=of_account) for kind in _ORDER}
    kinds["tickets"] = f"SELECT * FROM {all_} ORDER BY {_NEWEST} LIMIT $2 + 1"  # noqa: S608
    columns = ", ".join(
        f"(SELECT coalesce(json_agg(y), '[]')::text FROM ({query}) y) AS {kind}"  # noqa: S608
        for kind, query in kinds.items()
    )
    return f"{_ASKED},{_tickets(of_account=of_account)} SELECT {columns}"


_OF_ALL = Prepared("search_of_all", ("text", "integer"), _statement(of_account=False))
_OF_ONE = Prepared("search_of_one", ("text", "integer", "text"), _statement(of_account=True))


def found(connection: Connection, text: str, account: str | None, limit: int) -> dict[str, Any]:
    """The first facts of each kind, and in `more` the kinds that have more of them."""
    account = own_account() or account
    if account is None:
        [row] = _OF_ALL.on(connection, text, limit)
    else:
        [row] = _OF_ONE.on(connection, text, limit, account)
    kinds = {kind: orjson.loads(getattr(row, kind)) for kind in MEMBERS}
    more = [kind for kind, rows in kinds.items() if len(rows) > limit]
    return {kind: rows[:limit] for kind, rows in kinds.items()} | {"more": more}
