"""Named places where a test may make the process die or fail, as a power cut would.

HIVEMATRIX_FAILPOINT is `name=action` or `name@N=action` (at the N-th pass); actions: `kill` (SIGKILL to itself),
`raise` (FailpointError), `sleep:SECONDS`. `@/path` reads the same from a file, which is removed when it strikes, so
that a running mesh can be struck once. Unset, as always in production, a failpoint costs one look-up.
"""

import contextlib
import os
import signal
import time
from collections import Counter
from pathlib import Path

_passes: Counter[str] = Counter()


class FailpointError(Exception):
    """The fault a test asked for."""


def failpoint(name: str) -> None:
    wanted = os.environ.get("HIVEMATRIX_FAILPOINT")
    if wanted:
        _maybe_fail(name, wanted)


def _maybe_fail(name: str, wanted: str) -> None:
    file = Path(wanted[1:]) if wanted.startswith("@") else None
    if file:
        with contextlib.suppress(FileNotFoundError):
            wanted = file.read_text()
    place, _, action = wanted.partition("=")
    place, _, nth = place.partition("@")
    if place != name:
        return
    _passes[wanted] += 1
    if _passes[wanted] == int(nth or 1):
        if file:
            _passes[wanted] = 0
            file.unlink(missing_ok=True)
        _strike(name, action)


def _strike(name: str, action: str) -> None:
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action.startswith("sleep:"):
        time.sleep(float(action.removeprefix("sleep:")))
    else:
        raise FailpointError(name)
