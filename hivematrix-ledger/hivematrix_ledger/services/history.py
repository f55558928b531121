"""Who changed which override or item, when, from what to what."""

from typing import Any

from hivematrix_common import clock

from hivematrix_ledger import store
from hivematrix_ledger.store import rules


def page(account: str, rule: str | None, before: int | None, limit: int, *, internal: bool) -> dict[str, Any]:
    """A keyset page of an account's changes, newest first; without `internal` nobody is named."""
    session = store.session()
    found = rules.history(session, account, rule, before=before, limit=limit + 1, internal=internal)
    total = rules.count_history(session, account, rule)
    changes = [change | {"at": clock.instant_text(change["at"])} for change in found[:limit]]
    return {
        "changes": changes,
        "next": str(changes[-1]["id"]) if len(found) > limit else None,
        "total": min(total, rules.COUNTED),
        "total_exact": total <= rules.COUNTED,
    }
