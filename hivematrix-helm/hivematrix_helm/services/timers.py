"""The timers' signals: that a run began, was done, or failed; and which timers are waited for."""

from collections.abc import Callable
from datetime import datetime
from typing import Any

from hivematrix_common import clock
from hivematrix_common.clock import instant_text
from hivematrix_common.errors import Problem

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain import timers as domain
from hivematrix_helm.domain.timers import TIMERS, Outcome, Run, Signal
from hivematrix_helm.services import timer
from hivematrix_helm.store import alerts as store
from hivematrix_helm.store import session

UNITS = {"seal": timer.UNIT, "backup": timer.BACKUP_UNIT, "drill": timer.DRILL_UNIT}
LONGEST = 2000


def signal(name: str, what: Signal, said: str = "") -> None:
    """Take a timer's signal. Problem(not_found) when there is no such timer."""
    if name not in TIMERS:
        raise Problem("not_found", f"There is no timer {name}; there are {', '.join(TIMERS)}.")
    now = clock.now()
    run = store.runs().get(name) or Run(began_at=now)
    store.keep_run(name, domain.follow(run, what, now, said[-LONGEST:]))
    session().commit()


def ended(name: str, code: int) -> None:
    """Take the end of a run by its exit code; that another run was at work says nothing of this one."""
    if code != timer.LOCKED:
        signal(name, Signal.FAIL if code else Signal.SUCCESS, f"exit code {code}" if code else "")


def watched(name: str, work: Callable[[], int]) -> int:
    """Work of a timer between its signals; its exit code."""
    signal(name, Signal.START)
    code = work()
    ended(name, code)
    return code


def awaited(settings: HelmSettings, now: datetime) -> dict[str, Run]:
    """The timers that are waited for: Helm's own from now on, another's once it has given a signal."""
    runs = store.runs()
    for name, unit in UNITS.items():
        if name not in runs and timer.is_ours(settings, unit):
            runs[name] = Run(began_at=now)
            store.keep_run(name, runs[name])
    return {name: run for name, run in runs.items() if name in TIMERS}


def listed(settings: HelmSettings) -> list[dict[str, Any]]:
    """Every timer, whether it is waited for or not."""
    runs, now = store.runs(), clock.now()
    return [_row(settings, name, runs.get(name), now) for name in TIMERS]


def _row(settings: HelmSettings, name: str, run: Run | None, now: datetime) -> dict[str, Any]:
    definition = TIMERS[name]
    told = {
        "timer": name,
        "title": definition.title,
        "by": "helm" if timer.is_ours(settings, UNITS[name]) else "systemd",
        "period_seconds": int(definition.period.total_seconds()),
        "grace_seconds": int(definition.grace.total_seconds()),
    }
    run = run or Run(began_at=now)
    return told | {
        "outcome": run.outcome,
        "started_at": _text(run.started_at),
        "ended_at": _text(run.ended_at),
        "succeeded_at": _text(run.succeeded_at),
        "seconds": run.seconds,
        "said": run.said,
        "is_overdue": run.outcome is not Outcome.WAITING and domain.overdue(definition, run, now) > 0,
    }


def _text(at: datetime | None) -> str | None:
    return instant_text(at) if at else None
