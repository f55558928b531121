"""How values stand on a page: numbers with all their digits, a real minus sign, instants in the billing time zone."""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from flask import Flask
from markupsafe import Markup, escape

from hivematrix_common import clock, logs
from hivematrix_common.domain import charts
from hivematrix_common.domain.money import minor_digits, round_half_up
from hivematrix_common.domain.period import Period

NOTHING = "—"
_SHORT, _MINUTE, _HOUR = 10, 60, 3600
_MONTHS = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)


def count(value: int | None) -> str:
    """1234567 as 1,234,567; nothing as a dash."""
    return NOTHING if value is None else _signed(f"{value:,}")


def money(value: Decimal | None, currency: str) -> str:
    """All digits of the currency; the currency itself stands once in a heading."""
    return NOTHING if value is None else _signed(f"{round_half_up(value, minor_digits(currency)):,}")


def change(value: Decimal, currency: str) -> str:
    """As money, with its sign when it grew."""
    return ("+" if value > 0 else "") + money(value, currency)


def month(period: Period | str, *, short: bool = False) -> str:
    """October 2025, or Oct 2025."""
    found = Period.parse(period) if isinstance(period, str) else period
    name = _MONTHS[found.month - 1]
    return f"{name[:3] if short else name} {found.year}"


def day(value: date | None) -> Markup | str:
    """3 Nov 2025."""
    if value is None:
        return NOTHING
    return Markup('<time datetime="{}">{}</time>').format(value.isoformat(), _day(value))


def instant(value: datetime | str | None, zone: ZoneInfo) -> Markup | str:
    """3 Nov 2025, 09:14 in `zone`."""
    if value is None:
        return NOTHING
    local = (clock.parse_instant(value) if isinstance(value, str) else value).astimezone(zone)
    return Markup('<time datetime="{}">{}, {}</time>').format(
        local.isoformat(timespec="seconds"), _day(local), f"{local:%H:%M}"
    )


def duration(seconds: Decimal | float | None) -> str:
    """0.8 s, 12 s, 3 min 5 s, 2 h 10 min; nothing as a dash."""
    if seconds is None:
        return NOTHING
    if seconds < _SHORT:
        return f"{seconds:.1f} s"
    whole = int(seconds)
    if whole < _MINUTE:
        return f"{whole} s"
    if whole < _HOUR:
        return f"{whole // _MINUTE} min {whole % _MINUTE} s"
    return f"{count(whole // _HOUR)} h {whole % _HOUR // _MINUTE} min"


def attributes(values: Mapping[str, Any]) -> Markup:
    """Keyword arguments of a macro as HTML attributes; `true` is a bare one, `false` and none are left out."""
    found = ((escape(name.replace("_", "-")), value) for name, value in values.items() if value not in (None, False))
    return Markup("").join(Markup(" {}").format(n) if v is True else Markup(' {}="{}"').format(n, v) for n, v in found)


def plural(number: int, one: str, many: str = "") -> str:
    """1 company, 2 companies."""
    return f"{count(number)} {one if number == 1 else many or one + 's'}"


def shares(amounts: Mapping[str, Decimal | int]) -> list[tuple[str, Decimal | int, str]]:
    """Word, amount and percent of the whole, as `ui.shares` draws them."""
    whole = sum(amounts.values()) or 1
    return [(word, amount, f"{amount} · {100 * amount / whole:.1f} %") for word, amount in amounts.items()]


def bar_items(rows: Iterable[Any], currency: str) -> list[tuple[str, Decimal, str]]:
    """Rows with `period` and `total` as `ui.bars` draws them."""
    return [(month(row.period, short=True), row.total, f"{money(row.total, currency)} {currency}") for row in rows]


def init_filters(app: Flask, zone: ZoneInfo) -> None:
    def zipped(left: Iterable[Any], right: Iterable[Any]) -> list[tuple[Any, Any]]:
        return list(zip(left, right, strict=True))

    app.jinja_env.filters |= {
        "attributes": attributes,
        "bar_items": bar_items,
        "change": change,
        "count": count,
        "day": day,
        "duration": duration,
        "instant": lambda value: instant(value, zone),
        "money": money,
        "month": month,
        "plural": plural,
        "shares": shares,
        "zip": zipped,
    }
    app.jinja_env.globals |= {"charts": charts, "trace_id": logs.trace_id}


def _signed(text: str) -> str:
    return text.replace("-", "−")  # noqa: RUF001 - a real minus sign


def _day(value: date) -> str:
    return f"{value.day} {_MONTHS[value.month - 1][:3]} {value.year}"
