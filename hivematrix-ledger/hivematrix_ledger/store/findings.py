"""Findings that somebody let stand."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from hivematrix_common.database import AnySession
from sqlalchemy import text

from . import listed

_ACKNOWLEDGED = text(
    "SELECT account_number, key, acknowledged_by, reason FROM acknowledged_findings"
    " WHERE (period = :period OR kind = 'altered_hours')"
    " AND account_number IN (SELECT json_array_elements_text(:accounts))"
)
_ACKNOWLEDGE = text(
    "INSERT INTO acknowledged_findings"
    " (account_number, period, key, kind, subject, detail, reason, acknowledged_by, acknowledged_at)"
    " VALUES (:account, :period, :key, :kind, :subject, :detail, :reason, :by, :at)"
    " ON CONFLICT DO NOTHING"
)


def acknowledged(session: AnySession, period: str, accounts: Sequence[str]) -> dict[tuple[str, str], dict[str, str]]:
    """By account and the finding's key: who let it stand, and why. Billed hours that changed are let stand once, not
    in each of the months that tell them.
    """
    rows = session.execute(_ACKNOWLEDGED, {"period": period, "accounts": listed(accounts)})
    return {(row.account_number, row.key): {"by": row.acknowledged_by, "reason": row.reason} for row in rows}


def acknowledge(
    session: AnySession, account: str, period: str, finding: dict[str, Any], *, reason: str, by: str, at: datetime
) -> None:
    values = {"account": account, "period": period, "reason": reason, "by": by, "at": at}
    session.execute(_ACKNOWLEDGE, values | finding)
