"""Search: sealed bills that fit, as JSON, as a file, and as the page shows them."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from flask import Response
from hivematrix_common.clock import instant_text
from hivematrix_common.database import AnySession, Reader, own_account
from hivematrix_common.domain.money import minor_digits, round_half_up
from hivematrix_common.errors import FieldError, Problem
from hivematrix_common.tables import Column, csv_stream
from sqlalchemy import Row

from hivematrix_archive.domain.filter import Filter, Sort, turned
from hivematrix_archive.schemas import Searched, SearchForm
from hivematrix_archive.services import growth
from hivematrix_archive.services.reading import opened_cursor
from hivematrix_archive.store import search as store

PAGE = store.PAGE
KIND_WORDS = {"invoice": "Invoice", "credit_note": "Credit note"}
_CSV = (
    Column("invoice_number", "Number"),
    Column("kind", "Document"),
    Column("company_account_number", "Account"),
    Column("company_name", "Company"),
    Column("period", "Month"),
    Column("billing_plan", "Plan"),
    Column("total_amount", "Total"),
    Column("currency", "Currency"),
    Column("archived_at", "Sealed"),
    Column("log_index", "Entry"),
)


def wanted(query: Searched, zone: ZoneInfo) -> Filter:
    """What is asked for; a client asks for its own company's bills whatever it says."""
    since, before = _day_bounds(query.from_date, query.to_date, zone)
    others = {"from_date", "to_date", "account_number"}
    asked = {name: getattr(query, name) for name in Searched.model_fields if name not in others}
    return Filter(since=since, before=before, account_number=own_account() or query.account_number, **asked)


def answer(
    session: Reader, asked: Filter, sort: Sort, *, limit: int, offset: int = 0, cursor: str = ""
) -> dict[str, Any]:
    """One page as JSON has it. `next` is the cursor of the following one."""
    if (sort, limit, offset, cursor) == ("-sealed", store.PAGE, 0, "") and not asked.asked:
        return _newest(session)
    given = opened_cursor(cursor, 1)
    beyond = _place(session, asked, sort, given[0], "cursor") if given else None
    search = store.Search(session, asked)
    rows = search.documents(sort, limit + 1, offset=offset, beyond=beyond)
    # A first page that is not full has them all.
    complete = len(rows) <= limit and not cursor and not offset
    total, exact = (len(rows), True) if complete else search.count()
    return {
        "total": total,
        "total_exact": exact,
        "limit": limit,
        "offset": offset,
        "next": str(rows[limit - 1].id) if len(rows) > limit else None,
        "results": [orjson.Fragment(row.document) for row in rows[:limit]],
    }


def _newest(session: Reader) -> dict[str, Any]:
    page = store.newest(session)
    return {
        "total": page.signed or 0 if page.found > store.PAGE else page.found,
        "total_exact": True,
        "limit": store.PAGE,
        "offset": 0,
        "next": str(page.last) if page.found > store.PAGE else None,
        "results": orjson.Fragment(page.documents or "[]"),
    }


def csv(session: AnySession, asked: Filter, sort: Sort) -> Response:
    """All that fits, in that order, sent while it is read."""
    return csv_stream("documents", _CSV, _csv_rows(store.Search(session, asked).every(sort)))


def found(session: AnySession, asked: Filter, form: SearchForm) -> dict[str, Any]:
    """One page as people see it: rows with what bears the word that was asked for, its place among all, its edges."""
    backwards, edge = form.before is not None, form.before or form.after
    sort = turned(form.sort) if backwards else form.sort
    beyond = _place(session, asked, sort, edge, "before" if backwards else "after") if edge else None
    search = store.Search(session, asked)
    rows = list(search.page(sort, PAGE + 1, beyond=beyond))
    more, rows = len(rows) > PAGE, rows[:PAGE]
    if backwards:
        rows.reverse()
    total, exact = (len(rows), True) if not more and not edge else search.count()
    word = asked.item or asked.q
    return {
        "rows": rows,
        "lines": store.lines_with(session, [row.id for row in rows], word) if word else {},
        "word": word,
        "total": total,
        "exact": exact,
        "first": max(1, form.first - len(rows)) if backwards else form.first,
        "previous": more if backwards else bool(edge),
        "next": bool(backwards or more),
        "sum": _sum(rows) if len(rows) == total else None,
    }


def nearby(session: AnySession, form: SearchForm, zone: ZoneInfo) -> dict[str, Any]:
    """When nothing fits: names on lines that are spelled alike, and how many fit when one thing less is asked for."""
    asked = [name for name in Searched.model_fields if getattr(form, name) is not None and name != "account_number"]
    less = {name: wanted(form.model_copy(update={name: None}), zone) for name in asked}
    account = own_account() or form.account_number
    return {
        "close": store.close_names(session, form.item, account) if form.item else [],
        "with_less": [(name, store.Search(session, one).count()) for name, one in less.items()],
    }


def parts(text: str, word: str) -> list[str]:
    """`text` in pieces; every second one is `word`, however it is spelled there."""
    return re.split(f"({re.escape(word)})", text, flags=re.IGNORECASE)


def overview(session: AnySession) -> dict[str, Any]:
    """All documents the caller may see: how many, of which months, of which plans, and what was verified of them."""
    all_seen = Filter(account_number=own_account())
    total, exact = store.Search(session, all_seen).count()
    return {
        "held": total,
        "held_exact": exact,
        "span": store.span(session, all_seen),
        "plans": store.plans(session, all_seen),
        "verified": None if own_account() else growth.verified(session),
    }


def _place(session: Reader, asked: Filter, sort: Sort, snapshot: int, field: str) -> store.Place:
    place = store.place(session, asked, sort, snapshot)
    if place is None:
        message = "is not one that this list gave"
        raise Problem("invalid", f"{field}: {message}.", fields=[FieldError(field, message)])
    return place


def _csv_rows(rows: Iterator[Row[Any]]) -> Iterator[Mapping[Any, Any]]:
    for row in rows:
        yield row._asdict() | {
            "kind": KIND_WORDS[row.kind],
            "period": f"{row.billing_year}-{row.billing_month:02}",
            "total_amount": round_half_up(row.total_amount, minor_digits(row.currency)),
            "archived_at": instant_text(row.archived_at),
            "log_index": row.id - 1,
        }


def _sum(rows: Sequence[Row[Any]]) -> Decimal | None:
    """None where currencies differ."""
    return sum((row.total_amount for row in rows), Decimal(0)) if len({row.currency for row in rows}) == 1 else None


def _day_bounds(first: date | None, last: date | None, zone: ZoneInfo) -> tuple[datetime | None, datetime | None]:
    """The instants [first 00:00, day after last 00:00) in the billing time zone: both days count whole."""
    since = datetime(first.year, first.month, first.day, tzinfo=zone) if first else None
    if last is None:
        return since, None
    after = last + timedelta(days=1)
    return since, datetime(after.year, after.month, after.day, tzinfo=zone)
