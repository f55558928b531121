"""Search across companies, contacts, assets and tickets, and pages of lists."""

from collections.abc import Mapping
from typing import Any, Final

import orjson
from hivematrix_common.database import own_account
from hivematrix_common.errors import FieldError, Problem

from hivematrix_codex import store
from hivematrix_codex.domain.pages import Page
from hivematrix_codex.store import lists, searching
from hivematrix_codex.store.lists import Wanted

_SINGULAR: Final = {
    "companies": "company",
    "contacts": "contact",
    "assets": "asset",
    "locations": "location",
    "tickets": "ticket",
    "time_entries": "time entry",
}


def search(text: str, account: str | None, limit: int) -> dict[str, Any]:
    """The first facts of each kind that have a word beginning with each word of `text`; tickets the newest first.

    A client searches its own company. `more` names the kinds of which there are more than shown.
    """
    with store.single_reads() as connection:
        return searching.found(connection, text, own_account() or account, limit)


def page(kind: str, having: Mapping[str, Any], cursor: str, limit: int, *, fields: str = "", offset: int = 0) -> Page:
    """A page of a kind's facts; Problem(invalid) names a field that it does not have."""
    wanted = Wanted(kind, having, cursor, limit, offset, selected(kind, fields))
    with store.single_reads() as connection:
        return lists.page(connection, wanted)


def members(page: Page) -> list[dict[str, Any]]:
    """A page's facts as they were told."""
    return [orjson.loads(orjson.dumps(item)) for item in page.items]


def one(kind: str, key: str, fields: str = "") -> tuple[orjson.Fragment, str]:
    """A fact and the digest of its state; Problem(not_found) when there is none."""
    with store.single_reads() as connection:
        found = lists.one(connection, kind, key, selected(kind, fields))
    if found is None:
        raise Problem("not_found", f"There is no {_SINGULAR[kind]} {key}.")
    return found


def selected(kind: str, fields: str) -> tuple[str, ...]:
    """The members that `a,b,c` names, in that order."""
    names = tuple(dict.fromkeys(name.strip() for name in fields.split(",") if name.strip()))
    strange = sorted(set(names) - lists.MEMBERS[kind].keys())
    if strange:
        message = f"expected some of {', '.join(lists.MEMBERS[kind])}, got {strange[0][:40]}"
        raise Problem("invalid", f"fields: {message}", fields=[FieldError("fields", message)])
    return names
