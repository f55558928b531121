"""The start page: what is closed, what it came to, what cannot be billed."""

from typing import Any
from zoneinfo import ZoneInfo

from hivematrix_common import clock
from hivematrix_common.domain.period import Period
from hivematrix_common.lately import latest_acts
from hivematrix_common.tables import Column, Listing, Table

from hivematrix_ledger import store
from hivematrix_ledger.domain.engines import NoBill
from hivematrix_ledger.services import Ledger, bills
from hivematrix_ledger.store import overview as held

MONTHS = 12
PAGE = 500
OWN_BILLS = Table(
    name="invoices",
    caption="Your invoices",
    nouns=("invoice", "invoices"),
    key="invoice_number",
    sort="-period",
    search=("invoice_number",),
    columns=(
        Column("period", "Month"),
        Column("invoice_number", "Invoice"),
        Column("total", "Total", kind="number"),
        Column("credited", "Credited", kind="number"),
        Column("currency", "Currency"),
    ),
)


def overview(zone: ZoneInfo) -> dict[str, Any]:
    """`ended` is the month that bills are due for, `newest` the last one that has accepted bills."""
    session, ended = store.session(), Period.of(clock.now().astimezone(zone).date()).plus(-1)
    newest = held.newest_period(session)
    months = held.months(session, str(Period.parse(newest).plus(1 - MONTHS))) if newest else []
    currency = months[0].currency if months else ""
    return {
        "ended": ended,
        "newest": Period.parse(newest) if newest else None,
        "months": months,
        "currency": currency,
        "charted": [month for month in reversed(months) if month.currency == currency],
        "on_their_way": held.on_their_way(session),
        "acts": latest_acts(session),
    }


def unbilled(ledger: Ledger, period: Period, cursor: str) -> dict[str, Any]:
    """Of a page of Codex's companies those without a bill, each with the reason; computed from today's facts."""
    feed = ledger.codex.feed(period, cursor=cursor, limit=PAGE)
    names = {facts["account_number"]: facts["name"] for facts in feed.companies}
    outcomes = bills.settle(ledger, period, feed)
    found = [one for one in outcomes if isinstance(one, NoBill) and one.status != "erased"]
    # What cannot be billed needs somebody; what is skipped was decided.
    found.sort(key=lambda outcome: (outcome.status != "unbillable", outcome.account_number))
    rows = [(names[outcome.account_number], outcome) for outcome in found]
    return {"rows": rows, "looked_at": len(names), "next": feed.next}


def own_bills() -> Listing:
    """A client's accepted bills."""
    return OWN_BILLS.of_query(store.session(), held.own_bills())
