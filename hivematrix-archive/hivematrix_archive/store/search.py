"""Search: pages of sealed bills in an order, all of them, and how many there are."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from typing import Any

from hivematrix_common.database import Reader, connection_of, only_own, own_account
from hivematrix_common.database import rows as driver_rows
from hivematrix_common.domain.money import CURRENCIES, minor_digits
from hivematrix_common.domain.period import Period
from hivematrix_common.prepared import Prepared
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    Dialect,
    Row,
    Select,
    Text,
    bindparam,
    cast,
    func,
    literal_column,
    or_,
    select,
    true,
    tuple_,
)
from sqlalchemy.dialects import postgresql

from hivematrix_archive.domain.filter import Filter, Sort
from hivematrix_archive.models import checkpoints, filled, line_items, months, snapshots
from hivematrix_archive.store.naming import Columns, Leading, bears, holds, leading, words

PAGE, COUNTED = 100, 10_000
# Where a word is in many names, NEAR times as many bills as are wanted are looked at themselves before all are found by
# name; and the bills of SOME names are mostly enough to count COUNTED.
NEAR, SOME, CHUNK = 5, 20_000, 1000
WRITTEN = 256
_ROW = (
    *("id", "company_account_number", "company_name", "invoice_number", "billing_year", "billing_month"),
    *("invoice_date", "archived_at", "billing_plan", "currency", "kind", "total_amount", "user_count", "asset_count"),
)
_ORDERS: dict[str, tuple[str, ...]] = {
    "sealed": ("id",),
    "period": ("billing_year", "billing_month", "id"),
    "total": ("total_amount", "id"),
}
_DIGITS = {currency: digits for currency in sorted(CURRENCIES) if (digits := minor_digits(currency)) != 2}  # noqa: PLR2004
# Looked up once, where a CASE alone compares with one after the other.
_USUAL = "currency <> ALL('{{{}}}')".format(",".join(_DIGITS))
_OTHER = " ".join(f"WHEN '{currency}' THEN {digits}" for currency, digits in _DIGITS.items())
_TOLD = {
    "archived_at": """to_char(timezone('UTC', archived_at), 'YYYY-MM-DD"T"HH24:MI:SS"Z"')""",
    "total_amount": f"round(total_amount, CASE WHEN {_USUAL} THEN 2 ELSE CASE currency {_OTHER} END END)::text",
}
_SIGNED = select(checkpoints.c.snapshots).order_by(checkpoints.c.id.desc()).limit(1)
_BILLS = select(*(snapshots.c[name] for name in _ROW))
# In literals, for to put them together anew took a third of a search's time.
_MEMBERS = ", ".join(f"{_TOLD.get(name, name)} AS {name}" for name in _ROW)
_DOCUMENT: ColumnElement[str] = literal_column("row_to_json(told)::text", Text).label("document")
# How many there are, at most one more than a page has; the page as a list in JSON; its last bill's id; how many are
# signed. Planned once a connection, for what is asked for most.
_NEWEST = Prepared(
    "newest_page",
    (),
    f"""
    SELECT
        count(*) AS found,
        '[' || string_agg(document, ',' ORDER BY place) FILTER (WHERE place <= {PAGE}) || ']' AS documents,
        max(id) FILTER (WHERE place = {PAGE}) AS last,
        (SELECT snapshots FROM archive_log.checkpoints ORDER BY id DESC LIMIT 1) AS signed
    FROM (
        SELECT id, row_to_json(told)::text AS document, row_number() OVER (ORDER BY id DESC) AS place
        FROM (SELECT {_MEMBERS} FROM (
            SELECT {", ".join(_ROW)} FROM billing_snapshots ORDER BY id DESC LIMIT {PAGE + 1}) AS bills) AS told
    ) AS placed""",  # noqa: S608
)
Place = tuple[Any, ...]


def newest(reader: Reader) -> Any:
    """The first page of all there is, newest first."""
    return _NEWEST.one(connection_of(reader))


class Search:
    """One search: what it asks for, and the word that leads to it, looked up once."""

    def __init__(self, session: Reader, wanted: Filter) -> None:
        self._session, self.wanted = session, wanted
        self._leading = leading(session, wanted)

    def page(self, sort: Sort, limit: int, *, offset: int = 0, beyond: Place | None = None) -> Sequence[Row[Any]]:
        """At most `limit` bills in that order; those after `beyond` (a `place`) alone."""
        return self._fetch(sort, limit, offset, beyond, lambda query: query)

    def documents(self, sort: Sort, limit: int, *, offset: int = 0, beyond: Place | None = None) -> Sequence[Any]:
        """As `page`: ids, and the bills as JSON that the server made."""

        def shape(query: Select[Any]) -> Select[Any]:
            # By the columns, not by what is told of them under the same names.
            order = _falling([literal_column(f"bills.{name}") for name in _order_names(self.wanted, sort)], sort)
            told: Select[Any] = select(literal_column(_MEMBERS)).select_from(query.subquery("bills")).order_by(*order)
            return select(literal_column("id", BigInteger), _DOCUMENT).select_from(told.subquery("told"))

        if self._leading or beyond or own_account():
            return self._fetch(sort, limit, offset, beyond, shape)
        statement = _written((sort, self.wanted.asked), lambda: shape(_first(self.wanted, sort)))
        values = _values(self.wanted) | {"most": limit, "passed": offset}
        return driver_rows(connection_of(self._session), statement, values)

    def _fetch(
        self, sort: Sort, limit: int, offset: int, beyond: Place | None, shape: Callable[[Select[Any]], Select[Any]]
    ) -> Sequence[Row[Any]]:
        if self._leading and self._leading.ranges is None:
            near = _near(self.wanted, sort, limit + offset, beyond).limit(limit).offset(offset)
            rows = self._session.execute(shape(near)).all()
            if len(rows) == limit:
                return rows
        found = _found(self.wanted, sort, self._leading, most=limit + offset, beyond=beyond)
        return self._session.execute(shape(found.limit(limit).offset(offset))).all()

    def every(self, sort: Sort) -> Iterator[Row[Any]]:
        """All that fits, in that order, read from the server while it is asked for."""
        query = _found(self.wanted, sort, self._leading)
        yield from self._session.execute(query, execution_options={"yield_per": CHUNK})

    def count(self) -> tuple[int, bool]:
        """How many there are, and whether that is exact: above 10,000 it is for no filter, months or an account."""
        if not self.wanted.asked:
            return self._session.execute(_SIGNED).scalar_one_or_none() or 0, True
        if self.wanted.months_only:
            return _count_months(self._session, self.wanted), True
        if self.wanted.one_account:
            return self._number(None, None), True
        many = self._leading and self._leading.ranges is None
        found = self._number(COUNTED + 1, SOME) if many else 0
        if found <= COUNTED:
            found = self._number(COUNTED + 1, None)
        return (found, True) if found <= COUNTED else (COUNTED, False)

    def _number(self, most: int | None, names: int | None) -> int:
        bills = _found(self.wanted, None, self._leading, names=names).limit(most).subquery()
        return int(self._session.execute(select(func.count()).select_from(bills)).scalar_one())


def place(session: Reader, wanted: Filter, sort: Sort, snapshot: int) -> Place | None:
    """Where a bill stands in that order; None when the caller may see no such bill."""
    query = select(*_order(snapshots.c, wanted, sort)).where(snapshots.c.id == snapshot)
    row = session.execute(query.where(only_own(snapshots.c.company_account_number))).one_or_none()
    return tuple(row) if row else None


def _found(
    wanted: Filter,
    sort: Sort | None,
    leading: Leading | None,
    *,
    most: int | None = None,
    beyond: Place | None = None,
    names: int | None = None,
) -> Select[Any]:
    """The bills that fit, in order (their ids alone without one); through the leading word's names, all or some."""
    bill = snapshots.c
    query = _plain(wanted, sort, beyond)
    if leading is None:
        return query
    borne = leading.bills(names)
    query = query.where(
        bill.company_account_number == borne.c.account_number,
        bill.id >= borne.c.low,
        bill.id < borne.c.high,
        *(bears(bill, word) for word in words(wanted) if word != leading.word),
    )
    if leading.ranges is None:
        return query
    # One range after the other, each by the account's index.
    of_range = query.correlate(borne).limit(most).lateral("bill")
    ordered = select(of_range).select_from(borne.join(of_range, true()))
    return ordered.order_by(*_falling(_order(of_range.c, wanted, sort), sort)) if sort else ordered


# As psycopg2 takes them.
_DIALECT: Dialect = postgresql.psycopg2.dialect()  # type: ignore[no-untyped-call]
_statements: dict[Hashable, str] = {}


def _written(known: Hashable, make: Callable[[], Select[Any]]) -> str:
    """A statement as text, put together when it is first needed: that takes longer than the server needs for it."""
    if known not in _statements:
        if len(_statements) >= WRITTEN:
            _statements.clear()
        _statements[known] = str(make().compile(dialect=_DIALECT))
    return _statements[known]


def _first(wanted: Filter, sort: Sort) -> Select[Any]:
    page = _plain(wanted, sort, None).limit(bindparam("most")).offset(bindparam("passed"))
    if _ORDERS[sort.removeprefix("-")] != ("id",) or not wanted.asked & {"min_total", "max_total"}:
        return page
    # Amounts stand in an index with the ids, and apart in the table: only the rows that are told are looked up there.
    chosen = page.with_only_columns(snapshots.c.id).subquery("chosen")
    return _BILLS.join(chosen, chosen.c.id == snapshots.c.id).order_by(*_falling([snapshots.c.id], sort))


def _near(wanted: Filter, sort: Sort, most: int, beyond: Place | None) -> Select[Any]:
    """Those that fit among the next bills in that order."""
    nearest = _plain(wanted, sort, beyond).limit(most * NEAR).subquery("nearest")
    fitting = select(nearest).where(*(bears(nearest.c, word) for word in words(wanted)))
    return fitting.order_by(*_falling(_order(nearest.c, wanted, sort), sort))


def _plain(wanted: Filter, sort: Sort | None, beyond: Place | None) -> Select[Any]:
    """Every condition but those of words."""
    if sort is None:
        return select(snapshots.c.id).where(*_conditions(wanted))
    query = _BILLS.where(*_conditions(wanted))
    order = _order(snapshots.c, wanted, sort)
    if beyond is not None:
        query = query.where(tuple_(*order) < beyond if sort.startswith("-") else tuple_(*order) > beyond)
    return query.order_by(*_falling(order, sort))


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    bill = snapshots.c
    conditions: dict[str, Callable[[Any], ColumnElement[bool]]] = {
        "account_number": lambda value: bill.company_account_number == value,
        "since": lambda value: bill.archived_at >= value,
        "before": lambda value: bill.archived_at < value,
        "min_total": lambda value: bill.total_amount >= value,
        "max_total": lambda value: bill.total_amount <= value,
        "plan": lambda value: bill.billing_plan == value,
        "kind": lambda value: bill.kind == value,
    }
    return [*_asked(wanted, conditions), *_of_months(bill, wanted), only_own(bill.company_account_number)]


def _of_months(bill: Columns, wanted: Filter) -> list[ColumnElement[bool]]:
    month = tuple_(bill.billing_year, bill.billing_month)
    conditions: dict[str, Callable[[Any], ColumnElement[bool]]] = {
        "year": lambda value: bill.billing_year == value,
        "month": lambda value: bill.billing_month == value,
        "from_period": lambda value: month >= value,
        "to_period": lambda value: month <= value,
    }
    return _asked(wanted, conditions)


def _asked(wanted: Filter, conditions: dict[str, Callable[[Any], ColumnElement[bool]]]) -> list[ColumnElement[bool]]:
    return [condition(_parameter(wanted, name)) for name, condition in conditions.items() if name in wanted.asked]


def _parameter(wanted: Filter, name: str) -> Any:
    """What is asked for, as a parameter of the member's name; a month is two of them."""
    own: list[ColumnElement[Any]] = [bindparam(part, value) for part, value in _parts(wanted, name)]
    return tuple_(*own) if len(own) > 1 else own[0]


def _values(wanted: Filter) -> dict[str, Any]:
    return {part: value for name in wanted.asked for part, value in _parts(wanted, name)}


def _parts(wanted: Filter, name: str) -> list[tuple[str, Any]]:
    value = getattr(wanted, name)
    if isinstance(value, Period):
        return [(f"{name}_year", value.year), (f"{name}_month", value.month)]
    return [(name, value)]


def _order(bill: Columns, wanted: Filter, sort: Sort) -> list[ColumnElement[Any]]:
    return [bill[name] for name in _order_names(wanted, sort)]


def _order_names(wanted: Filter, sort: Sort) -> tuple[str, ...]:
    """Ids rise as bills are sealed. Days have an index of their own, for clocks go wrong; it gives that order too."""
    names = _ORDERS[sort.removeprefix("-")]
    return ("archived_at", "id") if names == ("id",) and (wanted.since or wanted.before) else names


def _falling(order: list[ColumnElement[Any]], sort: Sort) -> list[ColumnElement[Any]]:
    return [column.desc() for column in order] if sort.startswith("-") else order


def _count_months(session: Reader, wanted: Filter) -> int:
    """The bills of months as they were counted, and those after them."""
    documents = cast(func.coalesce(func.sum(months.c.documents), 0), BigInteger)
    counted = select(documents).where(*_of_months(months.c, wanted)).scalar_subquery()
    number, upto = session.execute(select(counted, filled.c.upto)).one()
    after = select(func.count()).where(snapshots.c.id > upto, *_of_months(snapshots.c, wanted))
    return int(number + session.execute(after).scalar_one())


def lines_with(session: Reader, ids: Sequence[int], part: str) -> dict[int, Row[Any]]:
    """Of each of these bills the first line that bears `part`, how many do, and what they come to."""
    line = line_items.c
    columns = (
        *(line.snapshot_id, line.description),
        func.count().over(partition_by=line.snapshot_id).label("lines"),
        func.sum(line.amount).over(partition_by=line.snapshot_id).label("amount"),
    )
    bearing = or_(holds(line.description, part), holds(line.item_name, part))
    query = select(*columns).distinct(line.snapshot_id).where(line.snapshot_id.in_(ids), bearing)
    return {row.snapshot_id: row for row in session.execute(query.order_by(line.snapshot_id, line.id))}


def close_names(session: Reader, text: str, account: str | None, most: int = 3) -> list[str]:
    """Names on lines that are spelled much alike, the closest first."""
    found = func.archive_search.close_names(text, account, most).table_valued("name")
    return list(session.execute(select(found.c.name)).scalars())


def span(session: Reader, wanted: Filter) -> tuple[Period, Period] | None:
    """The first and the last month of the bills that fit."""
    month = (snapshots.c.billing_year, snapshots.c.billing_month)
    query = select(*month).where(*_conditions(wanted)).limit(1)
    first = session.execute(query.order_by(*month)).one_or_none()
    last = session.execute(query.order_by(*(column.desc() for column in month))).one_or_none()
    return (Period(*first), Period(*last)) if first and last else None


def plans(session: Reader, wanted: Filter) -> list[str]:
    """The plans of the bills that fit, by name; each is one step in an index, however many bills have it."""
    plan, fitting = snapshots.c.billing_plan, _conditions(wanted)
    step = select(func.min(plan).label("plan")).where(*fitting).cte("step", recursive=True)
    following = select(func.min(plan)).where(plan > step.c.plan, *fitting).correlate(step).scalar_subquery()
    step = step.union_all(select(following).where(step.c.plan.is_not(None)))
    return list(session.execute(select(step.c.plan).where(step.c.plan.is_not(None))).scalars())


def fill(session: Reader, most: int) -> int:
    """Let the search's names know the next `most` bills at most; how many it took. Nothing is kept before a commit."""
    taken: int = session.execute(select(func.archive_search.fill(most))).scalar_one()
    return taken
