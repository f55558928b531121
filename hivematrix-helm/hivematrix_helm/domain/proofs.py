"""How the backup stands: when it was proved last, and whether anybody has to look."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from hivematrix_helm.domain import offsite
from hivematrix_helm.domain.backup import Record
from hivematrix_helm.domain.backup import State as SetState

OLDEST = timedelta(hours=26)


class State(StrEnum):
    """Of the backup as a whole. `waiting`: there was no time yet to prove anything. The last three are alerts."""

    WAITING = "waiting"
    GOOD = "good"
    LATE = "late"
    DAMAGED = "damaged"
    NOT_AWAY = "not_away"


ALERTS = (State.LATE, State.DAMAGED, State.NOT_AWAY)


@dataclass(frozen=True, slots=True)
class Finding:
    state: State
    detail: str


def last_proof(sets: Iterable[Record], now: datetime) -> Record | None:
    """The set whose drill went well last. An old set drilled again proves nothing of today; nor does a wrong clock."""
    proved = [one for one in sets if one.state is SetState.PROVED and _counts(one, now)]
    return max(proved, key=lambda one: (one.proved_at, one.name), default=None)


def judge(sets: Sequence[Record], began_at: datetime, now: datetime, *, sends: bool) -> Finding:
    """What is to be told of the sets; `began_at`: when they were looked at first, `sends`: whether they go off-site."""
    proof = last_proof(sets, now)
    since = proof.proved_at if proof and proof.proved_at else began_at
    if now - since > OLDEST:
        what = f"{proof.name} was proved last, more than" if proof else "nothing was proved in"
        return Finding(State.LATE, f"{what} {_hours(OLDEST)} ago" if proof else f"{what} {_hours(OLDEST)}")
    if damaged := [one for one in sets if one.fault]:
        more = f"; and {len(damaged) - 1} more" if damaged[1:] else ""
        return Finding(State.DAMAGED, f"{damaged[-1].name}: {damaged[-1].fault}{more}")
    late = [one for one in offsite.awaited(list(sets)) if now - one.made_at > OLDEST] if sends else []
    if late:
        fault = offsite.Copy.of(late[0]).fault or "it was not tried"
        return Finding(State.NOT_AWAY, f"{late[0].name} is not off-site after {_hours(OLDEST)}: {fault}")
    if proof is None:
        return Finding(State.WAITING, "nothing was proved yet")
    return Finding(State.GOOD, "the newest sets are proved")


def _counts(one: Record, now: datetime) -> bool:
    return one.proved_at is not None and one.proved_at <= now and one.proved_at - one.made_at <= OLDEST


def _hours(span: timedelta) -> str:
    return f"{span.total_seconds() / 3600:.0f} hours"
