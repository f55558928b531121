"""Named places where a test may make the process die or fail, as a power cut would.

HIVEMATRIX_FAILPOINT is `name=action` or `name@N=action` (at the N-th pass); actions: `kill` (SIGKILL to itself),
`raise` (FailpointError), `sleep:SECONDS`. Unset, which is always so in production, a failpoint costs one dict look-up.
"""

import os
import signal
import time
from collections import Counter

_passes: Counter[str] = Counter()


class FailpointError(Exception):
    """The fault a test asked for."""


def failpoint(name: str) -> None:
    wanted = os.environ.get("HIVEMATRIX_FAILPOINT")
    if wanted:
        _maybe_fail(name, wanted)


def _maybe_fail(name: str, wanted: str) -> None:
    place, _, action = wanted.partition("=")
    place, _, nth = place.partition("@")
    if place != name:
        return
    _passes[name] += 1
    if _passes[name] != int(nth or 1):
        return
    if action == "kill":
        os.kill(os.getpid(), signal.SIGKILL)
    if action.startswith("sleep:"):
        time.sleep(float(action.removeprefix("sleep:")))
        return
    raise FailpointError(name)
