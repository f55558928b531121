"""Dead-man switches: a timer that did not say in time that it was done is told."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum


class Signal(StrEnum):
    START = "start"
    SUCCESS = "success"
    FAIL = "fail"


class Outcome(StrEnum):
    WAITING = "waiting"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Timer:
    """`grace` is how late it may be, and how long a run may take."""

    name: str
    title: str
    period: timedelta
    grace: timedelta


# A night by the clock on the wall has 25 hours once a year; a backup and its drill may take two.
TIMERS = {
    timer.name: timer
    for timer in (
        Timer("seal", "The month close", timedelta(hours=1), timedelta(minutes=30)),
        Timer("backup", "The backup", timedelta(days=1), timedelta(hours=3)),
        Timer("drill", "The drill", timedelta(days=1), timedelta(hours=3)),
    )
}


@dataclass(frozen=True, slots=True)
class Run:
    """What is known of a timer. It is awaited from `began_at` on: when it was first watched."""

    began_at: datetime
    started_at: datetime | None = None
    ended_at: datetime | None = None
    succeeded_at: datetime | None = None
    seconds: float | None = None
    outcome: Outcome = Outcome.WAITING
    said: str = ""


def follow(run: Run, signal: Signal, at: datetime, said: str = "") -> Run:
    """After a signal. How long a run took is known when its start was told."""
    if signal is Signal.START:
        return replace(run, started_at=at, outcome=Outcome.RUNNING, seconds=None)
    begun = run.started_at if run.outcome is Outcome.RUNNING else None
    seconds = (at - begun).total_seconds() if begun and begun <= at else None
    after = replace(run, ended_at=at, seconds=seconds, said=said)
    if signal is Signal.FAIL:
        return replace(after, outcome=Outcome.FAILED)
    return replace(after, outcome=Outcome.DONE, succeeded_at=at)


def overdue(timer: Timer, run: Run, now: datetime) -> float:
    """Seconds since it should have been done; below 0 while there is time. A wrong clock ahead makes nothing late."""
    last = run.succeeded_at or run.began_at
    return (now - last - timer.period - timer.grace).total_seconds() if last <= now else -1.0
