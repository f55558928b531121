"""What the services wrote."""

from pathlib import Path

from hivematrix_common import clock
from hivematrix_common.errors import Problem

from hivematrix_helm.domain.loglines import Entry, Filter
from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.domain.times import before
from hivematrix_helm.services import unacceptable
from hivematrix_helm.system import logfiles


def wanted(level: str, trace_id: str | None, since: str | None) -> Filter:
    try:
        return Filter(level, trace_id, before(since, clock.now()) if since else None)
    except ValueError as error:
        raise unacceptable("since", str(error)) from None


def names(home: Path, service: str | None) -> list[str]:
    """The logs to read: one, or all there are."""
    known = logfiles.services(home)
    if service and service not in {*known, *SERVICES}:
        raise Problem("not_found", f"There is no log of {service}; there are {', '.join(known)}.")
    return [service] if service else known


def entries(home: Path, service: str | None, fit: Filter, limit: int) -> list[Entry]:
    """The newest entries that fit, oldest first."""
    return logfiles.last(home, logfiles.ends(home, names(home, service)), fit, limit)
