"""Times as people write them in commands."""

import re
from datetime import UTC, datetime, timedelta

_SPAN = re.compile(r"([0-9]{1,5})([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def instant(text: str) -> datetime:
    """An ISO 8601 date or instant, aware; UTC when it names no offset."""
    found = datetime.fromisoformat(text)
    try:
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except OverflowError:
        raise ValueError(f"out of range: {text}") from None


def before(text: str, now: datetime) -> datetime:
    """`10m`, `2h`, `3d` ago, or an instant; ValueError says what was expected."""
    return now - found if (found := span(text)) else _instant(text)


def after(text: str, now: datetime) -> datetime:
    """`12h`, `90d` from now, or an instant; ValueError says what was expected."""
    return now + found if (found := span(text)) else _instant(text)


def span(text: str) -> timedelta | None:
    """`30s`, `10m`, `2h`, `3d`; None when it is none."""
    match = _SPAN.fullmatch(text)
    return timedelta(**{_UNITS[match[2]]: int(match[1])}) if match else None


def _instant(text: str) -> datetime:
    try:
        return instant(text)
    except ValueError:
        raise ValueError(
            f"expected a time such as 2025-11-01T02:00, or a span such as 10m, 2h, 3d, got {text!r}"
        ) from None
