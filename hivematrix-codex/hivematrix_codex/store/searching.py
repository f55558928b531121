"""Search by words across kinds, one statement: what it finds is bounded whatever is asked.

Of tickets there may be millions. Where a word is in many, it is in some of the newest NEAR, which are looked at
themselves; else the index gives what has it, at most SOME, of which the newest are told.
"""

from typing import Any, Final

import orjson
from hivematrix_common.prepared import Prepared
from sqlalchemy import Connection

NEAR: Final = 4000
SOME: Final = 6000
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


def _some(kind: str, own: str) -> str:
    some = f"SELECT {MEMBERS[kind]} FROM {kind} WHERE {_FITS}{own} LIMIT {SOME}"  # noqa: S608
    return f"SELECT * FROM ({some}) y ORDER BY {_ORDER[kind]} LIMIT $2 + 1"  # noqa: S608


_TICKET: Final = MEMBERS["tickets"]
_TICKETS_OF_ALL: Final = f"""
near AS MATERIALIZED (
    SELECT {_TICKET} FROM (SELECT {_TICKET}, words FROM tickets ORDER BY {_NEWEST} LIMIT {NEAR}) y
    WHERE {_FITS} ORDER BY {_NEWEST} LIMIT $2 + 1),
far AS MATERIALIZED (
    SELECT {_TICKET} FROM (SELECT {_TICKET} FROM tickets WHERE {_FITS} LIMIT {SOME}) y
    WHERE (SELECT count(*) FROM near) <= $2 ORDER BY {_NEWEST} LIMIT $2 + 1)"""  # noqa: S608
_BOTH: Final = "(SELECT * FROM near UNION SELECT * FROM far) y"
_TICKETS_OF_ONE: Final = f"SELECT {_TICKET} FROM tickets WHERE {_FITS} AND account_number = $3 ORDER BY {_NEWEST}"  # noqa: S608


def _statement(*, of_account: bool) -> str:
    own = " AND account_number = $3" if of_account else ""
    tickets = _TICKETS_OF_ONE if of_account else f"SELECT * FROM {_BOTH} ORDER BY {_NEWEST}"  # noqa: S608
    kinds = {kind: _some(kind, own) for kind in _ORDER} | {"tickets": f"{tickets} LIMIT $2 + 1"}
    columns = ", ".join(
        f"(SELECT coalesce(json_agg(y), '[]')::text FROM ({query}) y) AS {kind}"  # noqa: S608
        for kind, query in kinds.items()
    )
    return f"{_ASKED}{'' if of_account else ',' + _TICKETS_OF_ALL} SELECT {columns}"


_OF_ALL = Prepared("search_of_all", ("text", "integer"), _statement(of_account=False))
_OF_ONE = Prepared("search_of_one", ("text", "integer", "text"), _statement(of_account=True))


def found(connection: Connection, text: str, account: str | None, limit: int) -> dict[str, Any]:
    """The first facts of each kind, and in `more` the kinds that have more of them."""
    if account is None:
        [row] = _OF_ALL.on(connection, text, limit)
    else:
        [row] = _OF_ONE.on(connection, text, limit, account)
    kinds = {kind: orjson.loads(getattr(row, kind)) for kind in MEMBERS}
    more = [kind for kind, rows in kinds.items() if len(rows) > limit]
    return {kind: rows[:limit] for kind, rows in kinds.items()} | {"more": more}
