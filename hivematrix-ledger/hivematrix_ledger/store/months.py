"""What the pages of months show beside the board: what earlier months were invoiced, as totals and by company."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from hivematrix_common.database import AnySession
from sqlalchemy import Row, text

from . import listed

_INVOICED = text("SELECT account_number, currency, totals FROM acceptances WHERE period = :period")
_RECURRING = text(
    "SELECT period, sum(recurring) AS total FROM acceptances"
    " WHERE currency = :currency AND period BETWEEN :since AND :until"
    " GROUP BY period HAVING bool_and(recurring IS NOT NULL) ORDER BY period"
)
_TOTALS = text(
    "SELECT account_number, total FROM acceptances"
    " WHERE period BETWEEN :since AND :until AND account_number IN (SELECT json_array_elements_text(:accounts))"
    " ORDER BY account_number, period"
)


def invoiced(session: AnySession, period: str) -> Sequence[Row[Any]]:
    """A month's bills as they were accepted; `totals` by kind are None where they were not kept yet."""
    return session.execute(_INVOICED, {"period": period}).all()


def recurring(session: AnySession, currency: str, since: str, until: str) -> Sequence[Row[Any]]:
    """By month what the bills of a currency recurred; months in which it is not known of all are left out."""
    return session.execute(_RECURRING, {"currency": currency, "since": since, "until": until}).all()


def totals(session: AnySession, accounts: Sequence[str], since: str, until: str) -> Mapping[str, list[Decimal]]:
    """By account what its months were invoiced, oldest first."""
    found: dict[str, list[Decimal]] = defaultdict(list)
    for row in session.execute(_TOTALS, {"accounts": listed(accounts), "since": since, "until": until}):
        found[row.account_number].append(row.total)
    return found
