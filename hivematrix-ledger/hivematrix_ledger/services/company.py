"""A company's bill as a page: what was found, the lines, what changed, its prepaid hours; and what is done about it."""

from collections.abc import Sequence
from decimal import Decimal
from typing import Any

from hivematrix_common import clock
from hivematrix_common.database import own_account
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import Problem
from hivematrix_common.tables import Column, Listing, Table
from sqlalchemy import Row

from hivematrix_ledger import store
from hivematrix_ledger.domain.engines import NoBill
from hivematrix_ledger.domain.engines.v1.values import plain
from hivematrix_ledger.domain.explain import explained
from hivematrix_ledger.domain.grouping import KINDS, group_at, sections
from hivematrix_ledger.domain.hours_statement import statement
from hivematrix_ledger.services import Ledger, acceptance, bills, comparing, history, hours, leaking, no_company
from hivematrix_ledger.services.acceptance import Asked, Result
from hivematrix_ledger.store import corrections

Document = dict[str, Any]
CHANGES = Table(
    name="changes",
    caption="Every change",
    nouns=("change", "changes"),
    key="place",
    sort="place",
    search=("name",),
    columns=(
        Column("name", "What"),
        Column("class", "Class"),
        Column("before", "Before", priority=2),
        Column("after", "After", priority=2),
        Column("amount", "Amount", kind="number"),
        Column("place", "No.", kind="number", priority=3),
    ),
)
LINES = Table(
    name="lines",
    caption="Every line of the bill",
    nouns=("line", "lines"),
    key="place",
    sort="place",
    search=("name", "description"),
    columns=(
        Column("description", "Line"),
        Column("kind", "Kind", priority=2),
        Column("quantity", "Quantity", kind="number", priority=2),
        Column("rate", "Rate", kind="number", priority=2),
        Column("amount", "Amount", kind="number"),
        Column("place", "No.", kind="number", priority=3),
    ),
)


def page(ledger: Ledger, account: str, period: Period) -> Document:
    """Everything of one bill; without one, why. A client sees no findings, and accepted months alone."""
    shown = bills.show(ledger, account, period)
    about: Document = {"account": account, "period": period, "report": _report(ledger, account, period)}
    if isinstance(shown, NoBill):
        return about | {"name": _name(ledger, account, period), "without": shown}
    body = shown.body
    return about | {
        "name": body["company_name"],
        "without": None,
        "body": body,
        "digest": shown.digest,
        "is_accepted": shown.is_accepted,
        "total": Decimal(body["totals"]["total"]),
        "sections": sections(body),
        "compared": compared(ledger, account, period, period.plus(-1)),
        "bar": _pool(body),
        "entries": [row for row in statement([body]) if row["what"] == "used"],
        "late": [] if shown.is_accepted else late(ledger, account, period),
        "corrections": _corrections(account, period) if shown.is_accepted else [],
        "must_answer": ledger.insist,
        "is_over": period.has_ended(clock.now(), ledger.defaults.zone),
    }


def late(ledger: Ledger, account: str, period: Period) -> list[Document]:
    """What was changed after the month had ended and yet tells on its bill: Ledger's rows and Codex's facts."""
    zone = ledger.defaults.zone
    rows = history.changed_after(account, period, zone)
    return rows + history.facts_changed_after(ledger.codex, account, period, zone)


def why(ledger: Ledger, account: str, period: Period, place: int) -> Document:
    """The group of lines that begins at `place`, each line explained."""
    shown = bills.billed(ledger, account, period)
    group = group_at(shown.body, place)
    if group is None:
        raise Problem("not_found", f"No line {place} begins a group on this bill; open the bill again.")
    lines = explained(shown.body)
    told = {"account": account, "period": period, "body": shown.body, "group": group}
    return told | {"lines": [lines[at] for at in group.places]}


def lines(ledger: Ledger, account: str, period: Period) -> tuple[Document, Listing]:
    """The bill and a table of its single lines."""
    body = bills.billed(ledger, account, period).body
    rows = [
        {name: line[name] for name in ("description", "rate", "quantity")}
        | {
            "name": _called(line["name"]),
            "kind": KINDS[line["kind"]],
            "amount": Decimal(line["amount"]),
            "place": place,
        }
        for place, line in enumerate(body["lines"], 1)
    ]
    return body, LINES.of_rows(rows)


def compared(ledger: Ledger, account: str, period: Period, other: Period) -> Document | None:
    """The difference to another month with the steps of its waterfall; None where a client may not see that month."""
    if own_account() is not None and not bills.is_accepted(account, period):
        raise Problem("not_found", f"There is no accepted bill for {period}.")
    try:
        found = comparing.difference(ledger, account, period, other)
    except Problem as problem:
        if own_account() is None or problem.code != "not_found":
            raise
        return None
    return found | {"other": other, "steps": steps(found)}


def changes(found: Document) -> Listing:
    """Every change of a difference, or of a bill that is supposed, as a table."""
    rows = (
        one | {"name": _called(one["name"]), "amount": Decimal(one["amount"]), "place": place}
        for place, one in enumerate(found["changes"], 1)
    )
    return CHANGES.of_rows(rows)


def _called(name: str) -> str:
    """A line's name for people; `*` is the tax on whatever no category of its own has."""
    return "All categories" if name == "*" else name


def steps(found: Document) -> list[tuple[str, Decimal]]:
    """From the total before, class by class, to the total after, without the totals' own words."""
    before, after = (Decimal(found[month]["total"] or 0) for month in ("before", "after"))
    classes = [(str(one["class"]).capitalize(), Decimal(one["amount"])) for one in found["classes"]]
    return [("", before), *classes, ("", after)]


def hours_bank(ledger: Ledger, account: str, until: Period) -> Document:
    """The statement of the twelve months up to one."""
    return hours.of_company(ledger, account, until) | {"account": account, "period": until}


def accept(ledger: Ledger, asked: Asked, account: str) -> Result:
    """Accept one bill as it was shown."""
    [result] = acceptance.accept_page(ledger, asked, [account])
    return result


def _report(ledger: Ledger, account: str, period: Period) -> Document | None:
    return None if own_account() is not None else leaking.of_company(ledger, account, period)


def _pool(body: Document) -> Document | None:
    """The pool's hours that were used in other months and in this one, and those that are left."""
    pool = (body["prepaid"] or {}).get("pool")
    if not pool or not Decimal(pool["granted"]):
        return None
    granted, left, taken = (Decimal(pool[name]) for name in ("granted", "left", "taken"))
    return {"granted": granted, "others": Decimal(plain(granted - left - taken)), "now": taken, "left": left}


def _corrections(account: str, period: Period) -> Sequence[Row[Any]]:
    """What was sealed after the month's invoice; a client reads it on the documents themselves."""
    return [] if own_account() is not None else corrections.of_month(store.session(), account, str(period))


def _name(ledger: Ledger, account: str, period: Period) -> str:
    feed = ledger.codex.feed_of(period, [account])
    if not feed.companies:
        raise no_company(account)
    store.session().commit()
    return str(feed.companies[0]["name"])
