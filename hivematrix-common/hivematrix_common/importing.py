"""Import files: UTF-8 CSV with a header, or the same as JSON lines, read into typed rows, every fault named at once.

A service describes each of its files as a `Table`; a `Reading` streams typed rows out of the files given and gathers
faults on the way. Nothing here touches a database:

    reading = Reading(folder(path), tables)
    for row in reading.rows("contacts"):
        if row.values["account_number"] not in known:
            reading.refuse(row, "account_number", "no such company")
    reading.settle(partial=False)      # raises Problem("invalid_rows") with all faults

An empty cell and an absent optional column are the column's `default`, None when it has none. Under `partial` bad rows
are left out and reported; an unknown column is reported and its cells are ignored. A file of the folder's other service
is passed over silently, a file that no service reads is passed over with a warning.
"""

import csv
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from io import TextIOWrapper
from itertools import chain
from pathlib import Path, PurePath
from typing import Any, BinaryIO, NamedTuple, TextIO

from hivematrix_common.cells import Parser, shown
from hivematrix_common.domain.canonical import unique_members
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.errors import FieldError, Problem

FILES = (
    *("plans", "companies", "contacts", "assets", "tickets", "time_entries"),
    *("client_overrides", "asset_overrides", "user_overrides", "manual_assets", "manual_users"),
    *("line_items", "prepaid_hours", "tax_rates"),
)
"""The stems of one import folder, Codex's and Ledger's together."""

SUFFIXES = (".csv", ".jsonl", ".ndjson")
LONGEST = 400

Check = Callable[[dict[str, Any]], tuple[str, str] | None]
"""A row's values to (column, message) when they contradict each other."""


class Column(NamedTuple):
    name: str
    parse: Parser
    required: bool = False
    default: Any = None
    document: bool = False
    """In JSON lines the cell may be an object; `parse` gets its text."""


@dataclass(frozen=True, slots=True)
class Table:
    """One file's description. Two rows with the same `key` are a fault.

    A `subject` column says that the file states that subject's rows whole: a row with only the subject is required
    nothing else of and arrives with `clears` set. Leaving one of a subject's rows out would then delete what it had, so
    that `partial` leaves out all of them (`Reading.spared`).
    """

    stem: str
    columns: tuple[Column, ...]
    key: tuple[str, ...] = ()
    checks: tuple[Check, ...] = ()
    subject: str | None = None


class Row(NamedTuple):
    file: str
    line: int
    values: dict[str, Any]
    clears: bool = False


class Source(NamedTuple):
    """A file by name; `open` gives its bytes and may be called once per reading of the table."""

    name: str
    open: Callable[[], BinaryIO]


def folder(path: Path) -> list[Source]:
    """The import files of a folder; anything with another suffix is no concern of ours."""
    files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
    return [Source(file.name, lambda file=file: file.open("rb")) for file in files]  # type: ignore[misc]


def stated(rows: Iterable[Row], subject: Callable[[Row], str]) -> dict[str, list[Row]]:
    """What a file that states rows whole says: each subject it names with its rows, none when it is only cleared."""
    named: dict[str, list[Row]] = {}
    for row in rows:
        kept = named.setdefault(subject(row), [])
        if not row.clears:
            kept.append(row)
    return named


def in_order(first: str, last: str) -> Check:
    """`last` before `first` is a bad row; either may be open."""

    def check(values: dict[str, Any]) -> tuple[str, str] | None:
        if values[first] is None or values[last] is None or values[last] >= values[first]:
            return None
        return last, f"{values[last]} lies before {first} {values[first]}"

    return check


def checked(
    table: Table, record: Mapping[str, object], *, clears: bool = False
) -> tuple[dict[str, Any], list[tuple[str, str]]]:
    """One row's values, and every fault in it as (column, message); values are whole when there is no fault."""
    values: dict[str, Any] = {}
    faults: list[tuple[str, str]] = []
    for column in table.columns:
        try:
            value = _value(column, record.get(column.name))
        except DomainError as error:
            faults.append((column.name, error.message))
            continue
        if value is None and column.required and not (clears and column.name != table.subject):
            faults.append((column.name, "a value is required"))
        else:
            values[column.name] = value
    if not faults and not clears:
        faults += [found for check in table.checks if (found := check(values))]
    return values, faults


def described(fault: FieldError) -> str:
    """A fault as a line for people: contacts.csv:12: active_to: lies before active_from."""
    place = f"{fault.file or ''}:{fault.line}" if fault.line else fault.file
    return ": ".join(part for part in (place, fault.field, fault.message) if part)


class Reading:
    """One import: typed rows table by table, `faults` and `warnings` gathered on the way.

    Problem `invalid` when there is no import file at all.
    """

    def __init__(self, sources: Iterable[Source], tables: Iterable[Table]) -> None:
        self.tables = {table.stem: table for table in tables}
        self.faults: list[FieldError] = []
        self.warnings: list[FieldError] = []
        self._sources: dict[str, list[Source]] = {stem: [] for stem in self.tables}
        self._spoiled: dict[str, dict[str | None, FieldError]] = {stem: {} for stem in self.tables}
        taken = [self._take(source) for source in sources]
        if not any(self._sources.values()):
            message = f"no file to import; known are {', '.join(self.tables)}"
            if not any(taken):
                raise Problem("invalid", message.capitalize() + ".", fields=self.warnings)
            self.warnings.append(FieldError("", message))

    def _take(self, source: Source) -> bool:
        """Whether the file is one of a service's, this one or another."""
        path = PurePath(source.name)
        is_known = path.suffix.lower() in SUFFIXES and path.stem in FILES
        if is_known and path.stem in self._sources:
            self._sources[path.stem].append(Source(path.name, source.open))
        elif not is_known:
            message = "passed over: no service imports a file of this name"
            self.warnings.append(FieldError("", message, shown(path.name)))
        return is_known

    def has(self, stem: str) -> bool:
        return bool(self._sources[stem])

    def rows(self, stem: str) -> Iterator[Row]:
        """The good rows of a table, streamed; `foo.csv` and `foo.jsonl` together are one table."""
        seen: dict[tuple[Any, ...], str] = {}
        for source in self._sources[stem]:
            yield from _File(source, self.tables[stem], self.faults, self._spoiled[stem], seen).rows()

    def refuse(self, row: Row, column: str, message: str) -> None:
        fault = FieldError(column, shown(message, LONGEST), row.file, row.line)
        self.faults.append(fault)
        stem = PurePath(row.file).stem
        self._spoiled[stem].setdefault(row.values.get(self.tables[stem].subject or ""), fault)

    def warn(self, row: Row, column: str, message: str) -> None:
        self.warnings.append(FieldError(column, shown(message, LONGEST), row.file, row.line))

    def spared(self, stem: str, said: dict[str, list[Row]], owner: Mapping[str, str]) -> dict[str, list[Row]]:
        """What a file that states rows whole says of the accounts that have no bad row in it; `owner` gives a
        subject's account.

        Every other account is reported as left out, with the place of its first bad row; all of them are when a fault
        does not tell whose row it is.
        """
        spoiled = self._spoiled[stem]
        subject = self.tables[stem].subject or ""
        if None in spoiled:
            self._keep(spoiled[None], "", "every account keeps what it had here: whose row this is cannot be told")
            return {}
        left_out = {owner[name]: fault for name, fault in reversed(spoiled.items()) if name and name in owner}
        for account in sorted(left_out.keys() & said.keys()):
            rows = f"{len(said[account])} good row(s)" if said[account] else "clearing row"
            self._keep(left_out[account], subject, f"{account} keeps what it had here: its {rows} are left out too")
        return {account: rows for account, rows in said.items() if account not in left_out}

    def _keep(self, fault: FieldError, column: str, message: str) -> None:
        self.faults.append(FieldError(column, message, fault.file, fault.line))

    def settle(self, *, partial: bool) -> None:
        """Call it when all rows are read and checked: Problem `invalid_rows` unless all was well or `partial`."""
        self.faults.sort(key=lambda fault: (fault.file or "", fault.line or 0))
        if self.faults and not partial:
            count = f"{len(self.faults)} fault{'s' if len(self.faults) > 1 else ''}"
            raise Problem("invalid_rows", f"{count}, nothing was imported", fields=self.faults)


@dataclass(slots=True)
class _File:
    source: Source
    table: Table
    faults: list[FieldError]
    spoiled: dict[str | None, FieldError]
    seen: dict[tuple[Any, ...], str]
    names: frozenset[str] = field(init=False)
    absent: set[str] = field(default_factory=set)
    unknown: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        self.names = frozenset(column.name for column in self.table.columns)

    def rows(self) -> Iterator[Row]:
        lines = self._csv if self.source.name.lower().endswith(".csv") else self._json
        with self._text() as text:
            first = text.readline()
            if not first.lstrip().startswith("{") and (refusal := _no_text(first)):
                self._fault(1, "", refusal)
                return
            for line, record in lines(chain([first] if first else [], text)):
                row = self._row(line, record)
                if row and self._is_new(row):
                    yield row

    @contextmanager
    def _text(self) -> Iterator[TextIO]:
        # Bytes that are no UTF-8 become lone surrogates, which the cell's check finds and names.
        with self.source.open() as stream:
            yield TextIOWrapper(stream, encoding="utf-8-sig", errors="surrogateescape", newline="")

    def _fault(self, line: int, column: str, message: str, subject: str | None = None) -> None:
        # A stranger's text may stand in it: keys that are no UTF-8, cells of a megabyte.
        fault = FieldError(column, shown(message, LONGEST), self.source.name, line)
        self.faults.append(fault)
        self.spoiled.setdefault(subject, fault)

    def _subject(self, record: dict[str, Any]) -> str | None:
        """Whose row it is, as far as a broken row tells."""
        cell = record.get(self.table.subject or "")
        return cell.strip() or None if isinstance(cell, str) else None

    def _csv(self, text: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        reader = csv.reader(text, strict=True)
        header: list[str] | None = None
        while True:
            line = reader.line_num + 1
            try:
                cells = next(reader)
            except StopIteration:
                break
            except csv.Error as error:
                self._fault(line, "", f"broken CSV up to line {reader.line_num}: {error}")
                continue
            if header is None:
                header = self._header(line, cells)
                if self.names.isdisjoint(header):
                    break
            elif len(cells) == len(header):
                yield line, dict(zip(header, cells, strict=True))
            elif cells:
                message = f"expected {len(header)} cells as in the header, got {len(cells)}"
                self._fault(line, "", message, self._subject(dict(zip(header, cells, strict=False))))
        if header is None:
            self._fault(1, "", "expected a header")

    def _header(self, line: int, cells: list[str]) -> list[str]:
        header = [cell.strip() for cell in cells]
        if self.names.isdisjoint(header):
            hint = "; commas are expected between columns, not semicolons" if ";" in "".join(header) else ""
            names = ", ".join(sorted(self.names))
            self._fault(line, "", f"expected a header{hint}; known columns are {names}, got {shown(','.join(header))}")
            return header
        for name in sorted({name for name in header if header.count(name) > 1}):
            self._fault(line, shown(name), "the column stands twice")
        self._know(line, header)
        self.absent = {column.name for column in self.table.columns if column.required} - set(header)
        for name in sorted(self.absent):
            self._fault(line, name, "the column is missing")
        return header

    def _know(self, line: int, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.names and name not in self.unknown:
                self.unknown.add(name)
                self._fault(line, shown(name), f"unknown column; known are {', '.join(sorted(self.names))}")

    def _json(self, text: Iterable[str]) -> Iterator[tuple[int, dict[str, Any]]]:
        for line, record_text in enumerate(text, 1):
            if not record_text.strip():
                continue
            try:
                record = parse_record(record_text)
            except (ValueError, RecursionError) as error:
                self._fault(line, "", f"expected one JSON object: {error}")
                continue
            self._know(line, record)
            yield line, record

    def _row(self, line: int, record: dict[str, Any]) -> Row | None:
        clears, subject = self._clears(record), self._subject(record)
        values, faults = checked(self.table, record, clears=clears)
        for name, message in faults:
            if name not in self.absent:
                self._fault(line, name, message, subject)
        return None if faults else Row(self.source.name, line, values, clears)

    def _clears(self, record: dict[str, Any]) -> bool:
        others = self.names - {self.table.subject}
        return self.table.subject is not None and not any(_is_set(record.get(name)) for name in others)

    def _is_new(self, row: Row) -> bool:
        if not self.table.key or row.clears:
            return True
        key = tuple(row.values[name] for name in self.table.key)
        place = f"{row.file}:{row.line}"
        first = self.seen.setdefault(key, place)
        if first != place:
            message = f"repeats {' '.join(map(str, key))} of {first}"
            self._fault(row.line, self.table.key[-1], message, row.values.get(self.table.subject or ""))
        return first == place


def parse_record(text: str) -> dict[str, Any]:
    """A JSON object, its numbers as the text they are, so that no float stands for money; ValueError if it is none."""
    record = json.loads(
        text, parse_float=str, parse_int=str, parse_constant=_no_constant, object_pairs_hook=unique_members
    )
    if not isinstance(record, dict):
        raise DomainError("", f"got {shown(text.strip())}")
    return record


def _no_text(line: str) -> str | None:
    """What is wrong with a file whose first line is not text; a later line's rubbish is its own cell's fault."""
    try:
        line.encode()
    except UnicodeEncodeError:
        return "not UTF-8 text"
    return "not text: control characters in the first line" if min("".join(line.split()), default=" ") < " " else None


def _no_constant(text: str) -> Any:
    raise DomainError("", f"{text} is no number")


def _value(column: Column, cell: object) -> Any:
    text = _cell_text(column, cell)
    if not text:
        return column.default
    if "\0" in text:
        raise DomainError("", "expected text without NUL")
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError:
            raise DomainError("", f"expected UTF-8, got {shown(text)}") from None
    return column.parse(text)


def _is_set(cell: object) -> bool:
    return cell is not None and cell != "" and not (isinstance(cell, str) and cell.isspace())


def _cell_text(column: Column, cell: object) -> str:
    if isinstance(cell, str):
        return cell.strip()
    if cell is None:
        return ""
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if column.document and isinstance(cell, dict):
        return json.dumps(cell, ensure_ascii=False)
    raise DomainError("", f"expected text, a number or a boolean, got {shown(json.dumps(cell))}")
