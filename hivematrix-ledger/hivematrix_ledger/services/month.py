"""The pages of months: the board beside the month before, the companies to work through, what was found on bills."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from hivematrix_common import clock, shown
from hivematrix_common.domain.period import Period
from hivematrix_common.tables import Choice, Column, Listing, Table
from sqlalchemy import Row

from hivematrix_ledger import store
from hivematrix_ledger.domain.engines import Bill, NoBill
from hivematrix_ledger.services import Ledger, board, leaking
from hivematrix_ledger.services.board import KINDS
from hivematrix_ledger.store import months, overview

Document = dict[str, Any]
YEAR = 12
PAGE = 100
LISTED = 36
STATE_WORDS = {
    "unbillable": "Not billable",
    "findings": "With findings",
    "unrecorded": "Not recorded",
    "sealing": "On its way",
    "open": "Open",
    "sealed": "Sealed",
    "erased": "Erased",
    "skipped": "Skipped",
}
# Who needs somebody comes first.
_NEED = {state: place for place, state in enumerate(STATE_WORDS)}
KIND_WORDS = {
    "user": "Users",
    "asset": "Assets",
    "backup": "Backup",
    "hours": "Hours",
    "item": "Items",
    "tax": "Tax",
    "total": "Total",
}
_AMOUNTS = tuple(
    Column(kind, word, kind="number", priority=1 if kind == "total" else 3) for kind, word in KIND_WORDS.items()
)
COMPANIES = Table(
    name="companies",
    caption="Bills by company",
    nouns=("company", "companies"),
    key="account_number",
    sort="need",
    search=("company", "account_number"),
    choosable=True,
    choices=(Choice("state", "Status", tuple(STATE_WORDS.items())),),
    columns=(
        Column("company", "Company"),
        Column("need", "Status", priority=2),
        *_AMOUNTS,
        Column("change", "Change", kind="number"),
        Column("year", "12 months", sortable=False, priority=2),
    ),
)
CSV = (
    *(Column("account_number", "Account"), Column("company", "Company"), Column("state", "Status")),
    *(Column("reason", "Reason"), Column("findings", "Findings", kind="number")),
    *(Column("invoice_number", "Invoice"), Column("currency", "Currency")),
    *_AMOUNTS,
    *(Column("change", "Change", kind="number"), Column("credited", "Credited", kind="number")),
)


def last_ended(ledger: Ledger) -> Period:
    """The month that bills are due for."""
    return Period.of(clock.now().astimezone(ledger.defaults.zone).date()).plus(-1)


def list_months(ledger: Ledger) -> Document:
    """The months with accepted bills, newest first, by currency; and the one that bills are due for."""
    ended = last_ended(ledger)
    rows = overview.months(store.session(), str(ended.plus(1 - LISTED)))
    return {"ended": ended, "rows": rows, "is_begun": any(row.period == str(ended) for row in rows)}


def month(ledger: Ledger, period: Period) -> Document:
    """The board for people: its table, and for each currency the totals beside those of the month before."""
    found = board.board(ledger, period)
    session = store.session()
    before = months.invoiced(session, str(period.plus(-1)))
    was = {row.account_number: row for row in before}
    rows = [_row(row, was.get(row["account_number"])) for row in found["companies"]]
    session.commit()
    listing = COMPANIES.of_rows(rows)
    return {
        "period": period,
        "states": found["states"],
        "is_over": period.has_ended(clock.now(), ledger.defaults.zone),
        "companies": len(rows),
        "open_findings": sum(row["findings"] for row in rows),
        "money": [_money(total, before) | _drawn(total, period) for total in found["totals"]],
        "listing": listing,
        "sum": _sum(listing.fitting),
    }


def sparks(listing: Listing, period: Period) -> Mapping[str, list[Decimal]]:
    """What the companies of a page were invoiced in the eleven months before, and are billed in this one."""
    accounts = [row["account_number"] for row in listing.rows]
    until = str(period.plus(-1))
    invoiced = months.totals(store.session(), accounts, str(period.plus(1 - YEAR)), until)
    return {
        row["account_number"]: [*invoiced.get(row["account_number"], ()), row["total"]]
        for row in listing.rows
        if row["total"] is not None
    }


def found_on_bills(ledger: Ledger, period: Period, cursor: str) -> Document:
    """Of a page of companies those whose bill has findings, with them."""
    feed = ledger.codex.feed(period, cursor=cursor, limit=PAGE)
    names = [(facts["account_number"], facts["name"]) for facts in feed.companies]
    rows = []
    for (account, name), (outcome, findings) in zip(names, leaking.reports(ledger, period, feed), strict=True):
        if not isinstance(outcome, NoBill) and findings:
            told = {"account_number": account, "company": name, "is_sealed": not isinstance(outcome, Bill)}
            rows.append(told | {"findings": findings})
    return {"period": period, "rows": rows, "looked_at": len(names), "next": feed.next}


def _sum(rows: Sequence[Mapping[str, Any]]) -> Document | None:
    """What the bills that fit come to, where they are in one currency."""
    billed = [row for row in rows if row["total"] is not None]
    currencies = {row["currency"] for row in billed}
    if len(currencies) != 1:
        return None
    amounts = {kind: sum(row[kind] for row in billed) for kind in KINDS}
    changes = [row["change"] for row in billed if row["change"] is not None]
    told = {"bills": len(billed), "currency": currencies.pop()}
    return amounts | told | {"change": sum(changes, Decimal(0)) if changes else None}


def _row(row: Document, before: Row[Any] | None) -> Document:
    totals = {kind: Decimal(row["totals"][kind]) if row["totals"] else None for kind in KINDS}
    known = before is not None and before.totals and before.currency == row["currency"]
    was = Decimal(before.totals["total"]) if before and known else None
    now = totals["total"]
    return (
        row
        | totals
        | {
            "company": row["company_name"] or row["account_number"],
            "need": f"{_NEED[row['state']]} {row['company_name']}",
            "change": None if now is None or was is None else now - was,
            "year": None,
        }
    )


def _money(total: Document, before: Sequence[Row[Any]]) -> Document:
    """A currency's amounts by kind, those of the month before, None where they are not known, and the change."""
    kept = [row.totals for row in before if row.currency == total["currency"]]
    was = {kind: sum(Decimal(one[kind]) for one in kept) for kind in KINDS} if kept and all(kept) else None
    now = {kind: Decimal(total[kind]) for kind in KINDS}
    change = None if was is None else {kind: now[kind] - was[kind] for kind in KINDS}
    recurring = {name: None if total[name] is None else Decimal(total[name]) for name in ("mrr", "mrr_change")}
    return {"currency": total["currency"], "now": now, "was": was, "change": change, **recurring}


def _drawn(total: Document, period: Period) -> Document:
    """What is drawn: each kind's share, unless a kind is below nothing, and what recurred over twelve months."""
    kinds = {word: Decimal(total[kind]) for kind, word in KIND_WORDS.items() if kind != "total"}
    parts = {word: amount for word, amount in kinds.items() if amount}
    year = _year(total, period)
    bars = [(name, amount, f"{shown.money(amount, total['currency'])} {total['currency']}") for name, amount in year]
    whole = sum(parts.values())
    told = [(word, amount, f"{100 * amount / whole:.1f} %") for word, amount in parts.items()] if whole else []
    return {"year": year, "bars": bars, "shares": told if min(parts.values(), default=0) >= 0 else []}


def _year(total: Document, period: Period) -> list[tuple[str, Decimal]]:
    """What recurred in each of the twelve months that is known, this one last."""
    since, until = str(period.plus(1 - YEAR)), str(period.plus(-1))
    rows = months.recurring(store.session(), total["currency"], since, until)
    return [*((row.period, row.total) for row in rows), (str(period), Decimal(total["mrr"]))]
