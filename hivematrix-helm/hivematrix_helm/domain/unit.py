"""One supervised process as a value: what it is wanted to be, what it is, and what comes next."""

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Self

REFUSED_EXIT = 78  # a configuration fault: starting again cannot help
HEALTHY_SECONDS = 60.0
LONGEST_DELAY = 30.0
KILLED_DELAY = 2.0  # who was killed, and did not fail by itself, is back within five seconds however often


class State(StrEnum):
    WAITING = "waiting"  # to be started at `due`
    RUNNING = "running"
    STOPPING = "stopping"  # asked to end; killed at `due`
    STOPPED = "stopped"
    REFUSED = "refused"  # it says why it will not start


@dataclass(frozen=True, slots=True)
class Unit:
    """Times are seconds of one monotonic clock. Every method gives the unit as it is afterwards."""

    state: State = State.WAITING
    wanted: bool = True
    since: float = 0.0
    due: float = 0.0
    failures: int = 0
    restarts: int = 0
    why: str = ""

    def started(self, now: float) -> Self:
        return replace(self, state=State.RUNNING, since=now)

    def exited(self, now: float, code: int, words: str) -> Self:
        if self.state is State.STOPPING:
            return replace(self, state=State.WAITING if self.wanted else State.STOPPED, since=now, due=now)
        if code == REFUSED_EXIT:
            return replace(self, state=State.REFUSED, since=now, why=words)
        lived = now - self.since if self.state is State.RUNNING else 0.0
        failures = 1 if lived >= HEALTHY_SECONDS else self.failures + 1
        return replace(
            self,
            state=State.WAITING,
            since=now,
            due=now + (delay(failures) if code >= 0 else min(delay(failures), KILLED_DELAY)),
            failures=failures,
            restarts=self.restarts + 1,
            why=f"{ending(code)}: {words}" if words and code > 0 else ending(code),
        )

    def start(self, now: float) -> Self:
        """As a person asks for it: at once, with a clean record."""
        if self.state in {State.RUNNING, State.STOPPING}:
            return replace(self, wanted=True)
        return replace(self, state=State.WAITING, wanted=True, since=now, due=now, failures=0, why="")

    def stop(self, now: float, grace: float) -> Self:
        if self.state is State.RUNNING:
            return replace(self, state=State.STOPPING, wanted=False, since=now, due=now + grace)
        if self.state is State.STOPPING:
            return replace(self, wanted=False)
        return replace(self, state=State.STOPPED, wanted=False, since=now)

    def restart(self, now: float, grace: float) -> Self:
        return replace(self.stop(now, grace), wanted=True) if self.state is State.RUNNING else self.start(now)

    def is_due(self, now: float) -> bool:
        return self.state in {State.WAITING, State.STOPPING} and now >= self.due

    def is_back_soon(self, now: float) -> bool:
        """Whether it is worth while to wait for it."""
        return self.state is State.WAITING and self.due - now <= KILLED_DELAY


def delay(failures: int) -> float:
    """Seconds before the next start: 1, 2, 4 … 30."""
    return min(2.0 ** min(failures - 1, 10), LONGEST_DELAY)


def ending(code: int) -> str:
    """How a process ended, as `subprocess` tells it: negative for a signal."""
    return f"killed by signal {-code}" if code < 0 else f"ended with exit code {code}"
