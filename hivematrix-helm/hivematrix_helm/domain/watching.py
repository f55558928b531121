"""What probes say of a service: whether it is up, slow or down, and when an incident begins and ends."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

# So many probes in a row have to agree before the state turns: a restart is no incident.
AGREE = 3
# Older than so many intervals nothing is known of now, and never of less than this.
STALE_INTERVALS, LEAST_STALE = 4, timedelta(minutes=1)


class State(StrEnum):
    """`unknown` is no kind of health: nobody looked, or what was seen does not agree yet."""

    UNKNOWN = "unknown"
    UP = "up"
    SLOW = "slow"
    DOWN = "down"


@dataclass(frozen=True, slots=True)
class Probe:
    """What one look at a service saw; an empty `fault` is an answer that was as it should be."""

    service: str
    at: datetime
    ms: float
    fault: str = ""


@dataclass(frozen=True, slots=True)
class Watched:
    """How a service stands. `streak` probes have agreed since `streak_since` on whether it answers."""

    state: State
    since: datetime
    streak: int
    streak_since: datetime
    fault: str
    looked_at: datetime


def follow(before: Watched | None, probe: Probe, slow_ms: float) -> Watched:
    """How the service stands after one more probe. It turns when enough agree, as of the first of them."""
    agrees = before is not None and bool(before.fault) == bool(probe.fault)
    if before is None or not agrees:
        state, since = (before.state, before.since) if before else (State.UNKNOWN, probe.at)
        after = Watched(state, since, 1, probe.at, probe.fault, probe.at)
    else:
        after = replace(before, streak=before.streak + 1, fault=probe.fault, looked_at=probe.at)
    if probe.fault:
        return _turned(after, State.DOWN) if after.streak >= AGREE else after
    # Good news at the first sight is only believed where nothing bad was known.
    if after.streak >= AGREE or after.state is not State.DOWN:
        return _turned(after, State.SLOW if probe.ms >= slow_ms else State.UP)
    return after


def is_down(watched: Watched | None) -> bool:
    return watched is not None and watched.state is State.DOWN


def now_state(watched: Watched | None, now: datetime, interval: timedelta) -> State:
    """How the service stands now: what was seen too long ago is no knowledge."""
    if watched is None or now - watched.looked_at > max(interval * STALE_INTERVALS, LEAST_STALE):
        return State.UNKNOWN
    return watched.state


def _turned(after: Watched, state: State) -> Watched:
    if state is after.state:
        return after
    # From up to slow and back nothing agreed for long: the last probe alone says so.
    between = {state, after.state} == {State.UP, State.SLOW}
    return replace(after, state=state, since=after.looked_at if between else after.streak_since)
