"""Which bills bear a word: a company's name, a text on a line, an account's or an invoice's number.

`archive_search.names` says in which bills of an account a name stands, up to the bill `filled.upto`; those after it are
looked at themselves. What is filled once is never changed, so what is found never depends on how far, nor on what is
filled meanwhile.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from hivematrix_common.database import Reader, only_own
from sqlalchemy import (
    BigInteger,
    ColumnElement,
    FromClause,
    Select,
    Text,
    exists,
    func,
    literal,
    or_,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.sql.base import ReadOnlyColumnCollection

from hivematrix_archive.domain.bill import ACCOUNT
from hivematrix_archive.domain.filter import Filter
from hivematrix_archive.models import filled, line_items, names, snapshots

Columns = ReadOnlyColumnCollection[str, ColumnElement[Any]]
Range = tuple[str, int, int]
"""An account and the ids [low, high) of its bills that bear a word."""
# Up to FEW names lead to their bills one by one; a word in more of them is on many bills.
FEW = 200
_LAST = 2**63 - 1
_WHAT = {"company": ("company",), "item": ("line",), "q": ("company", "line")}
_NUMBER = re.compile(r"[A-Za-z0-9]{1,32}-[0-9]{0,6}(-C[0-9]{0,4})?")


@dataclass(frozen=True, slots=True)
class Word:
    """What is searched for by a member of the filter."""

    member: str
    text: str

    @property
    def is_account(self) -> bool:
        return self.member != "item" and bool(ACCOUNT.fullmatch(self.text))

    @property
    def is_number(self) -> bool:
        return self.member == "q" and bool(_NUMBER.fullmatch(self.text))


@dataclass(frozen=True, slots=True)
class Leading:
    """A word and the bills that bear it: `ranges`, or None when too many names do. `upto`: how far names are filled."""

    word: Word
    wanted: Filter
    upto: int
    ranges: list[Range] | None

    def bills(self, most: int | None = None) -> FromClause:
        """The ranges as a table (account_number, low, high); of `most` names only where they are many."""
        if self.ranges is None:
            return _of_many(self, most)
        columns = list(zip(*self.ranges, strict=True)) or [(), (), ()]
        types = (Text, BigInteger, BigInteger)
        arrays: list[Any] = [literal(list(values), ARRAY(kind)) for values, kind in zip(columns, types, strict=True)]
        return func.unnest(*arrays).table_valued("account_number", "low", "high").render_derived("borne")


def words(wanted: Filter) -> list[Word]:
    return [Word(member, text) for member in _WHAT if (text := getattr(wanted, member)) is not None]


def leading(session: Reader, wanted: Filter) -> Leading | None:
    """The word through which bills are found: one that is in few names, if there is one."""
    found = None
    for word in words(wanted):
        some = _named(word, wanted, names.c.since, names.c.until).limit(FEW + 1).lateral("some")
        rows = session.execute(select(filled.c.upto, some).select_from(filled.join(some, true(), isouter=True))).all()
        upto, named = rows[0].upto, [row for row in rows if row.account_number is not None]
        if len(named) <= FEW:
            bounds = [(row.account_number, row.since, row.until or upto + 1) for row in named if row.since <= upto]
            return Leading(word, wanted, upto, _merged([*bounds, *_others(session, word, wanted, upto)]))
        found = found or Leading(word, wanted, upto, None)
    return found


def bears(columns: Columns, word: Word) -> ColumnElement[bool]:
    """Whether a bill bears the word, by looking at it."""
    lines = line_items.c
    found: list[ColumnElement[bool]] = []
    if word.member != "company":
        on_line = or_(holds(lines.item_name, word.text), holds(lines.description, word.text))
        found.append(exists().where(lines.snapshot_id == columns.id, on_line))
    if word.member != "item":
        found.append(holds(columns.company_name, word.text))
    return or_(*found, *_numbered(columns, word))


def holds(column: ColumnElement[str], part: str) -> ColumnElement[bool]:
    return column.icontains(part, autoescape=True)


def _numbered(columns: Columns, word: Word) -> list[ColumnElement[bool]]:
    found = [columns.company_account_number == word.text] if word.is_account else []
    return [*found, columns.invoice_number.startswith(word.text, autoescape=True)] if word.is_number else found


def _named(word: Word, wanted: Filter, *columns: ColumnElement[Any]) -> Select[Any]:
    bearing = or_(*((names.c.what == what) & holds(names.c.name, word.text) for what in _WHAT[word.member]))
    return select(names.c.account_number, *columns).where(bearing, _own(wanted, names.c.account_number))


def _own(wanted: Filter, account: ColumnElement[str]) -> ColumnElement[bool]:
    own = only_own(account)
    return own if wanted.account_number is None else own & (account == wanted.account_number)


def _bills(word: Word, wanted: Filter, upto: int) -> list[Select[Any]]:
    """Bills that bear the word and are found without names: those not filled in yet, and by their number."""
    bill = snapshots.c
    bills = select(bill.company_account_number, bill.id).where(_own(wanted, bill.company_account_number))
    number = [bills.where(bill.invoice_number.startswith(word.text, autoescape=True))] if word.is_number else []
    return [bills.where(bill.id > upto, bears(bill, word)), *number]


def _others(session: Reader, word: Word, wanted: Filter, upto: int) -> list[Range]:
    account = [(word.text, 1, _LAST)] if word.is_account else []
    found = (session.execute(query) for query in _bills(word, wanted, upto))
    return [*account, *((row[0], row[1], row[1] + 1) for rows in found for row in rows)]


def _merged(ranges: Iterable[Range]) -> list[Range]:
    """The same ids in as few ranges, so that none is in two."""
    merged: list[Range] = []
    for account, low, high in sorted(ranges):
        if merged and merged[-1][0] == account and low <= merged[-1][2]:
            merged[-1] = (account, merged[-1][1], max(high, merged[-1][2]))
        else:
            merged.append((account, low, high))
    return merged


def _of_many(leading: Leading, most: int | None) -> FromClause:
    """As `_merged`, in the database."""
    word, wanted, upto = leading.word, leading.wanted, leading.upto
    until = func.coalesce(names.c.until, upto + 1)
    named = _named(word, wanted, func.int8range(names.c.since, until)).where(names.c.since <= upto).limit(most)
    parts = [named]
    for bills in _bills(word, wanted, upto):
        account, id_ = bills.subquery().c
        parts.append(select(account, func.int8range(id_, id_ + 1)))
    if word.is_account:
        parts.append(select(literal(word.text), func.int8range(1, _LAST)))
    account, ids = union_all(*(select(part.subquery()) for part in parts)).subquery("found").c
    merged = select(account.label("account_number"), func.unnest(func.range_agg(ids)).label("ids")).group_by(account)
    found = merged.subquery("merged").c
    low, high = func.lower(found.ids).label("low"), func.upper(found.ids).label("high")
    return select(found.account_number, low, high).cte("borne")
