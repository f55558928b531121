"""What everybody may know of the services: bars of 90 days, what happened, what is planned; never an internal word."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from decimal import ROUND_FLOOR, Decimal

from hivematrix_helm.domain.watching import State

BARS = 90
# What people do with each service, in the order of how many miss it.
PARTS = {
    "helm": "Signing in",
    "ledger": "Bills and invoices",
    "archive": "Archive and proofs",
    "codex": "Customers and tickets",
}
SLOW_MINUTES = 5  # fewer in a day are no slow day
DAY_MINUTES = 24 * 60
_DIGITS, _WHOLE = Decimal("0.001"), Decimal(100)
# The state of a part: its shape, its word.
WORDS = {
    State.UP: ("ok", "Works"),
    State.SLOW: ("warn", "Slow"),
    State.DOWN: ("bad", "Does not answer"),
    State.UNKNOWN: ("unknown", "Not measured"),
}


@dataclass(frozen=True, slots=True)
class Minutes:
    """The measured minutes of one day."""

    up: int = 0
    slow: int = 0
    down: int = 0

    @property
    def measured(self) -> int:
        return self.up + self.slow + self.down


@dataclass(frozen=True, slots=True)
class Planned:
    begins_at: datetime
    ends_at: datetime
    services: tuple[str, ...]

    def touches(self, service: str, day: date) -> bool:
        return service in self.services and self.begins_at.date() <= day <= self.last_day

    def covers(self, service: str, at: datetime) -> bool:
        return service in self.services and self.begins_at <= at < self.ends_at

    @property
    def last_day(self) -> date:
        return (self.ends_at - timedelta(microseconds=1)).date()


@dataclass(frozen=True, slots=True)
class Day:
    """One bar: `kind` is ok, warn, bad, busy (planned work) or unknown; `words` say what was not as usual."""

    day: date
    kind: str
    words: str


def judge(day: date, minutes: Minutes | None, *, is_planned: bool) -> Day:
    """What a day's bar shows. Away weighs more than planned work, planned work more than slow."""
    if minutes is None or not minutes.measured:
        return Day(day, "busy" if is_planned else "unknown", "Planned work" if is_planned else "Not measured")
    told = [f"Away for {_minutes(minutes.down)}"] if minutes.down else []
    is_slow = minutes.slow >= SLOW_MINUTES
    told += [f"Slow for {_minutes(minutes.slow)}"] if is_slow else []
    if is_planned:
        return Day(day, "busy", "; ".join(["Planned work", *(told or ["nothing was away"])]))
    kind = "bad" if minutes.down else "warn" if is_slow else "ok"
    return Day(day, kind, "; ".join(told) or "Worked")


def bars(service: str, known: Mapping[date, Minutes], planned: Iterable[Planned], today: date) -> list[Day]:
    """The last 90 days, oldest first; each has a bar, whether it was measured or not."""
    work = [one for one in planned if service in one.services]
    span = [today - timedelta(days=ago) for ago in reversed(range(BARS))]
    return [judge(day, known.get(day), is_planned=any(one.touches(service, day) for one in work)) for day in span]


def uptime(minutes: Iterable[Minutes]) -> Decimal | None:
    """Percent of the measured minutes in which the service answered, slow ones too; None when none was measured.

    Rounded down: 100 says that not one minute was missed.
    """
    found = list(minutes)
    measured, down = sum(one.measured for one in found), sum(one.down for one in found)
    if not measured:
        return None
    return (_WHOLE * (measured - down) / measured).quantize(_DIGITS, ROUND_FLOOR)


def percent(value: Decimal | None) -> str:
    """100 %, 99.989 %, 99.9 %; not measured."""
    if value is None:
        return "not measured"
    text = format(value, "f")
    return f"{text.rstrip('0').rstrip('.') if '.' in text else text} %"


def headline(states: Sequence[State]) -> tuple[str, str]:
    """The whole in a shape and a few words; the worst part decides."""
    if State.DOWN in states:
        away = sum(state is State.DOWN for state in states)
        return "bad", "Nothing answers" if away == len(states) else "Something does not answer"
    if State.UNKNOWN in states:
        return "unknown", "Not everything is measured at the moment"
    if State.SLOW in states:
        return "warn", "Something is slow"
    return "ok", "Everything works"


def _minutes(count: int) -> str:
    return "1 minute" if count == 1 else f"{count} minutes"


def unusual(parts: Mapping[str, Sequence[Day]]) -> list[tuple[date, date, str, str]]:
    """The days that were not as usual in words, newest first: first and last day, which part, what."""
    runs: dict[tuple[date, date, str], list[str]] = {}
    for name, found in parts.items():
        for run in _runs([day for day in found if day.words != "Worked"]):
            runs.setdefault((run[0].day, run[-1].day, run[0].words), []).append(name)
    told = [
        (first, last, "All" if len(names) == len(parts) else ", ".join(names), words)
        for (first, last, words), names in runs.items()
    ]
    return sorted(told, key=lambda row: row[:2], reverse=True)


def _runs(found: Sequence[Day]) -> list[list[Day]]:
    """Days that follow each other and were alike."""
    runs: list[list[Day]] = []
    for one in found:
        alike = runs and runs[-1][-1].words == one.words and runs[-1][-1].day == one.day - timedelta(days=1)
        if alike:
            runs[-1].append(one)
        else:
            runs.append([one])
    return runs
