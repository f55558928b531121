"""Rows in PostgreSQL's binary COPY format: the quickest way in and out for rows that hold whole documents."""

import struct
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache

_HEAD = b"PGCOPY\n\xff\r\n\x00" + bytes(8)
_END = b"\xff\xff"
_NULL = b"\xff\xff\xff\xff"
_DAY_ZERO = date(2000, 1, 1).toordinal()
_INSTANT_ZERO = datetime(2000, 1, 1, tzinfo=UTC)
_PLACES = 4
_BASE = 10_000
_length = struct.Struct(">i").pack
_short = struct.Struct(">h").pack
_long = struct.Struct(">q").pack
_read_short, _read_length = struct.Struct(">h").unpack_from, struct.Struct(">i").unpack_from

Field = bytes | None


def rows(fields: Iterable[Sequence[Field]]) -> bytes:
    """A whole COPY stream; every row has its columns' encoded values, None for NULL."""
    parts = [_HEAD]
    for row in fields:
        parts.append(_short(len(row)))
        for value in row:
            if value is None:
                parts.append(_NULL)
            else:
                parts.append(_length(len(value)))
                parts.append(value)
    parts.append(_END)
    return b"".join(parts)


def read(data: bytes) -> Iterator[list[Field]]:
    """The rows of a COPY stream, their columns' values as they were encoded."""
    at = len(_HEAD)
    while (count := _read_short(data, at)[0]) >= 0:
        at += 2
        row: list[Field] = []
        for _ in range(count):
            (length,) = _read_length(data, at)
            at += 4
            row.append(data[at : at + length] if length >= 0 else None)
            at += max(length, 0)
        yield row


def text(value: str | None) -> Field:
    return None if value is None else value.encode()


def smallint(value: int) -> bytes:
    return _short(value)


def integer(value: int) -> bytes:
    return _length(value)


def bigint(value: int) -> bytes:
    return _long(value)


def day(value: date) -> bytes:
    return _length(value.toordinal() - _DAY_ZERO)


def instant(value: datetime) -> bytes:
    since = value - _INSTANT_ZERO
    return _long((since.days * 86_400 + since.seconds) * 1_000_000 + since.microseconds)


@lru_cache(maxsize=50_000)
def numeric(value: Decimal) -> bytes:
    """A numeric of scale 4: base 10,000 digits, the last of them the fraction."""
    scaled = int(value.scaleb(_PLACES))
    digits = []
    rest = abs(scaled)
    while rest:
        rest, digit = divmod(rest, _BASE)
        digits.append(digit)
    weight = len(digits) - 2
    while digits and digits[0] == 0:
        digits.pop(0)
    sign = 0x4000 if scaled < 0 else 0
    head = struct.pack(">hhHh", len(digits), weight if digits else 0, sign, _PLACES)
    return head + b"".join(_short(digit) for digit in reversed(digits))
