"""Tables that people sort, filter, page through and export, all on the server and all in the address.

A page declares a Table once and hands it rows or a select; the macro `ui.listing` shows what comes back.
`?sort=-name&q=anna&role=admin&after=<cursor>`, and `&format=csv` for all that fits. Pages are keysets: the cursor holds
the sort value and the key of the last row, so no page costs more than the first and none repeats a row.
"""

import base64
import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import Decimal, InvalidOperation
from io import StringIO
from typing import Any, Literal
from urllib.parse import urlencode

import orjson
from flask import Response, request, stream_with_context
from sqlalchemy import ColumnElement, Select, Subquery, func, or_, select, tuple_
from sqlalchemy.sql.selectable import TextualSelect

from hivematrix_common import shown
from hivematrix_common.database import AnySession
from hivematrix_common.errors import FieldError, Problem

Kind = Literal["text", "number", "instant", "date"]
Row = Mapping[str, Any]
PAGE = 100
COUNTED = 10_000
CSV_CHUNK = 32 * 1024
_LONGEST_SEARCH = 200
_OLDEST = datetime(1, 1, 1, tzinfo=UTC)
# What an empty value is sorted as, and how a cursor's text becomes a value again.
_EMPTY: dict[Kind, Any] = {"text": "", "number": Decimal("-Infinity"), "instant": _OLDEST, "date": date.min}
_PARSED: dict[Kind, Callable[[str], Any]] = {
    "text": str,
    "number": Decimal,
    "instant": datetime.fromisoformat,
    "date": date.fromisoformat,
}


@dataclass(frozen=True, slots=True)
class Column:
    """`name` is the row's member; of priority 2 and 3 are columns that leave on narrow screens."""

    name: str
    title: str
    kind: Kind = "text"
    sortable: bool = True
    priority: Literal[1, 2, 3] = 1

    @property
    def css(self) -> str:
        return " ".join(
            (["n"] if self.kind == "number" else []) + ([f"hm-p{self.priority}"] if self.priority > 1 else [])
        )


@dataclass(frozen=True, slots=True)
class Choice:
    """A filter with (value, word) options; a row fits when its member `name` is the value, or holds it."""

    name: str
    title: str
    options: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Asked:
    """What the address asks for, once it was found acceptable."""

    sort: Column
    descending: bool
    search: str
    chosen: Mapping[str, str]
    place: tuple[Any, Any] | None
    backwards: bool
    first: int
    columns: tuple[str, ...] = ()
    """Those that are shown; all when none is named."""

    @property
    def falling(self) -> bool:
        """The direction in which rows are read: backwards turns it round."""
        return self.descending != self.backwards


@dataclass(frozen=True, kw_only=True)
class Table:
    """`key` is unique text; `sort` a column's name, with `-` for descending; `nouns` what one row is, and several."""

    name: str
    caption: str
    nouns: tuple[str, str]
    columns: tuple[Column, ...]
    key: str
    sort: str
    search: tuple[str, ...] = ()
    choices: tuple[Choice, ...] = ()
    page: int = PAGE
    choosable: bool = False
    """Whether people choose which columns they see; the first one always stands."""

    def of_rows(self, rows: Iterable[Row]) -> "Listing":
        """From rows at hand. Problem(invalid) names the part of the address that is not acceptable."""
        asked = self._asked()
        fitting = sorted((row for row in rows if _fits(row, self, asked)), key=lambda row: self._place(asked, row))
        if asked.falling:
            fitting.reverse()
        if request.args.get("format") == "csv":
            return Listing(self, asked, fitting, len(fitting))
        start = next((at for at, row in enumerate(fitting) if _is_beyond(self._place(asked, row), asked)), len(fitting))
        found = fitting[start : start + self.page + 1] if asked.place else fitting[: self.page + 1]
        return replace(self._page(asked, found, len(fitting)), fitting=fitting)

    def of_query(self, session: AnySession, query: Select[Any] | TextualSelect) -> "Listing":
        """From a select whose columns bear the names used here; those that are sorted by are never NULL."""
        asked = self._asked()
        rows = query.subquery()
        fitting = select(rows).where(*_conditions(rows, self, asked))
        place = [rows.c[asked.sort.name], rows.c[self.key]]
        fitting = fitting.order_by(*(column.desc() if asked.falling else column.asc() for column in place))
        if request.args.get("format") == "csv":
            return Listing(self, asked, _plain(session, fitting), 0)
        some = select(rows.c[self.key]).where(*_conditions(rows, self, asked)).limit(COUNTED + 1).subquery()
        total = session.scalar(select(func.count()).select_from(some)) or 0
        if asked.place:
            beyond = tuple_(*place)
            fitting = fitting.where(beyond < asked.place if asked.falling else beyond > asked.place)
        return self._page(asked, _plain(session, fitting.limit(self.page + 1)), total)

    def _asked(self) -> Asked:
        wanted = request.args.get("sort") or self.sort
        by_name = {column.name: column for column in self.columns if column.sortable}
        if wanted.removeprefix("-") not in by_name:
            raise _unacceptable("sort", f"expected one of {', '.join(by_name)}, with - before it to turn it round")
        sort = by_name[wanted.removeprefix("-")]
        search = request.args.get("q", "").strip()
        if len(search) > _LONGEST_SEARCH or "\0" in search:
            raise _unacceptable("q", f"expected at most {_LONGEST_SEARCH} characters")
        chosen = {choice.name: request.args.get(choice.name, "") for choice in self.choices}
        for choice in self.choices:
            if chosen[choice.name] not in {"", *(value for value, _ in choice.options)}:
                raise _unacceptable(choice.name, f"expected one of {', '.join(value for value, _ in choice.options)}")
        after, before = request.args.get("after", ""), request.args.get("before", "")
        columns = tuple(name for name in request.args.getlist("column") if self.choosable)
        if strange := set(columns) - {column.name for column in self.columns}:
            raise _unacceptable("column", f"there is no column {min(strange)}")
        place, first = _opened(after or before, sort) if after or before else (None, 1)
        return Asked(sort, wanted.startswith("-"), search, chosen, place, bool(before and not after), first, columns)

    def _place(self, asked: Asked, row: Row) -> tuple[Any, Any]:
        return _sortable(row[asked.sort.name], asked.sort), str(row[self.key])

    def _page(self, asked: Asked, found: Sequence[Row], total: int) -> "Listing":
        more = len(found) > self.page
        rows = list(found[: self.page])
        if asked.backwards:
            rows.reverse()
        first = max(1, asked.first - len(rows)) if asked.backwards else asked.first
        exact = total <= COUNTED
        before, after = (more, True) if asked.backwards else (asked.place is not None, more)
        return Listing(self, asked, rows, min(total, COUNTED) if not exact else total, exact, first, before, after)


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a table as the macro `ui.listing` shows it."""

    table: Table
    asked: Asked
    rows: Sequence[Row]
    total: int
    exact: bool = True
    first: int = 1
    has_previous: bool = False
    has_next: bool = False
    fitting: Sequence[Row] = ()
    """The rows of all pages, where they were at hand."""
    wants_csv: bool = field(default_factory=lambda: request.args.get("format") == "csv")

    @property
    def name(self) -> str:
        return self.table.name

    @property
    def caption(self) -> str:
        return self.table.caption

    @property
    def words(self) -> str:
        return shown.plural(self.total, *self.table.nouns) + ("" if self.exact else " or more")

    @property
    def columns(self) -> tuple[Column, ...]:
        first, *rest = self.table.columns
        return (first, *(column for column in rest if not self.asked.columns or column.name in self.asked.columns))

    @property
    def choices(self) -> tuple[Choice, ...]:
        return self.table.choices

    @property
    def chosen(self) -> Mapping[str, str]:
        return self.asked.chosen

    @property
    def search(self) -> str:
        return self.asked.search

    @property
    def searchable(self) -> bool:
        return bool(self.table.search)

    @property
    def filtered(self) -> bool:
        return bool(self.search or any(self.chosen.values()))

    @property
    def sort(self) -> str:
        return ("-" if self.asked.descending else "") + self.asked.sort.name

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1

    def sorted_by(self, column: Column) -> str | None:
        """aria-sort's word, when the table is sorted by this column."""
        if column != self.asked.sort:
            return None
        return "descending" if self.asked.descending else "ascending"

    def sort_url(self, column: Column) -> str:
        turned = column == self.asked.sort and not self.asked.descending
        return self._url(sort=("-" if turned else "") + column.name)

    @property
    def plain_url(self) -> str:
        return request.script_root + request.path

    @property
    def csv_url(self) -> str:
        return self._url(format="csv")

    @property
    def previous_url(self) -> str | None:
        return self._url(before=self._cursor(self.rows[0], self.first)) if self.has_previous and self.rows else None

    @property
    def next_url(self) -> str | None:
        return self._url(after=self._cursor(self.rows[-1], self.last + 1)) if self.has_next and self.rows else None

    def csv(self) -> Response:
        """All that fits, as it is sorted, in a file."""
        return csv_file(self.name, self.columns, self.rows)

    def _url(self, **changed: str) -> str:
        kept = {"sort": self.sort, "q": self.search, **self.chosen, "column": self.asked.columns} | changed
        found = urlencode({name: value for name, value in kept.items() if value}, doseq=True)
        return f"{self.plain_url}?{found}"

    def _cursor(self, row: Row, first: int) -> str:
        value, key = self.table._place(self.asked, row)  # noqa: SLF001 - the table's own
        text = value.isoformat() if isinstance(value, date) else str(value)
        return base64.urlsafe_b64encode(orjson.dumps([text, key, first])).decode().rstrip("=")


def csv_file(name: str, columns: Iterable[Column], rows: Iterable[Mapping[Any, Any]]) -> Response:
    """Rows as a file. Text that a spreadsheet would run is quoted."""
    return _file(name, "".join(_csv_chunks(columns, rows)))


def csv_stream(name: str, columns: Iterable[Column], rows: Iterable[Mapping[Any, Any]]) -> Response:
    """As csv_file, sent while the rows are read, which begins after the request: its session is gone then, and a file
    that fails on the way is visibly cut.
    """
    return _file(name, stream_with_context(_csv_chunks(columns, rows)))


def _csv_chunks(columns: Iterable[Column], rows: Iterable[Mapping[Any, Any]]) -> Iterator[str]:
    text, columns = StringIO(), tuple(columns)
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(column.title for column in columns)
    for row in rows:
        writer.writerow([_cell(row[column.name]) for column in columns])
        if text.tell() >= CSV_CHUNK:
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()


def _file(name: str, content: str | Iterator[str]) -> Response:
    headers = {"Content-Disposition": f'attachment; filename="{name}.csv"'}
    return Response(content, headers=headers, content_type="text/csv; charset=utf-8")


def _opened(cursor: str, sort: Column) -> tuple[tuple[Any, Any], int]:
    try:
        value, key, first = orjson.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        found = _PARSED[sort.kind](value)
        sound = isinstance(key, str) and type(first) is int and first > 0 and "\0" not in value + key
        sound = sound and not (isinstance(found, Decimal) and found.is_nan())
        sound = sound and not (isinstance(found, datetime) and found.tzinfo is None)
    except (ValueError, TypeError, InvalidOperation):
        sound = False
    if not sound:
        raise _unacceptable("after", "the place in the table is not readable; go back to its first page")
    return (found, key), first


def _sortable(value: Any, column: Column) -> Any:
    if value is None:
        return _EMPTY[column.kind]
    if column.kind == "text":
        return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return Decimal(value) if column.kind == "number" else value


def _is_beyond(place: tuple[Any, Any], asked: Asked) -> bool:
    if asked.place is None:
        return True
    return bool(place < asked.place if asked.falling else place > asked.place)


def _fits(row: Row, table: Table, asked: Asked) -> bool:
    wanted = asked.search.casefold()
    if wanted and not any(wanted in _sortable(row[name], Column(name, name)).casefold() for name in table.search):
        return False
    return all(not value or _holds(row[name], value) for name, value in asked.chosen.items())


def _holds(member: Any, value: str) -> bool:
    return value in member if isinstance(member, list | tuple | set | frozenset) else _word(member) == value


def _word(value: Any) -> str:
    """How a member is written in an address: booleans are yes and no."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value)


def _conditions(rows: Subquery, table: Table, asked: Asked) -> list[ColumnElement[bool]]:
    found: list[ColumnElement[bool]] = []
    if asked.search:
        found.append(or_(*(rows.c[name].icontains(asked.search, autoescape=True) for name in table.search)))
    for name, value in asked.chosen.items():
        if value:
            is_boolean = value in {"yes", "no"} and rows.c[name].type.python_type is bool
            found.append(rows.c[name] == ((value == "yes") if is_boolean else value))
    return found


def _plain(session: AnySession, query: Select[Any]) -> list[Row]:
    return [dict(row) for row in session.execute(query).mappings()]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        value = ", ".join(map(str, value))
    text = value.isoformat() if isinstance(value, date) else _word(value)
    return f"'{text}" if isinstance(value, str) and text.startswith(("=", "+", "-", "@", "\t", "\r")) else text


def _unacceptable(name: str, message: str) -> Problem:
    return Problem("invalid", f"{name}: {message}", fields=[FieldError(name, message)])
