"""Silences: alerts that are not told for a while, by whom and why. Each has an end."""

from datetime import datetime, timedelta
from typing import Any

from hivematrix_common import clock
from hivematrix_common.clock import instant_text
from hivematrix_common.errors import Problem
from sqlalchemy import Row

from hivematrix_helm.domain import times
from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.services import audited, unacceptable
from hivematrix_helm.store import alerts as store
from hivematrix_helm.store import session

LONGEST = timedelta(days=30)
LONGEST_REASON, LONGEST_RULE = 500, 60


def silence(rule: str, service: str, ends: str, reason: str, by: str) -> int:
    """Tell nobody of a rule's or a service's alerts until `ends`, an instant or a span from now; the number."""
    now = clock.now()
    if not rule and not service:
        raise unacceptable("rule", "expected a rule, a service, or both: not everything is silenced at once")
    if service and service not in SERVICES:
        raise unacceptable("service", f"expected one of {', '.join(SERVICES)}")
    if len(rule) > LONGEST_RULE or "\0" in rule + reason:
        raise unacceptable("rule", f"expected at most {LONGEST_RULE} characters")
    if not 0 < len(reason.strip()) <= LONGEST_REASON:
        raise unacceptable("reason", f"expected 1 to {LONGEST_REASON} characters: the next one will ask why")
    end = _end(ends, now)
    values = {"rule": rule, "service": service, "begins_at": now, "ends_at": end, "reason": reason.strip()}
    number = store.add_silence(values | {"made_by": by, "made_at": now})
    audited.done("silence alerts", f"silences/{number}", rule=rule, service=service, ends=instant_text(end))
    session().commit()
    return number


def end(number: int) -> None:
    """End a silence now. Problem(not_found) when it is over or was never there."""
    if not store.end_silence(number, clock.now()):
        raise Problem("not_found", f"There is no silence {number} that goes on.")
    audited.done("end a silence", f"silences/{number}")
    session().commit()


def going_on() -> list[dict[str, Any]]:
    return [_shown(row) for row in store.silences_since(clock.now())]


def _end(text: str, now: datetime) -> datetime:
    try:
        found = times.after(text, now)
    except ValueError as error:
        raise unacceptable("ends", str(error)) from None
    if not now < found <= now + LONGEST:
        raise unacceptable("ends", f"expected a time to come, at most {LONGEST.days} days away")
    return found


def _shown(row: Row[Any]) -> dict[str, Any]:
    return {
        "id": row.id,
        "rule": row.rule,
        "service": row.service,
        "begins_at": instant_text(row.begins_at),
        "ends_at": instant_text(row.ends_at),
        "reason": row.reason,
        "made_by": row.made_by,
    }
