"""The bill: every charge gathered into the document that is sealed (archive-format §1)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from decimal import localcontext
from functools import cache
from typing import Any, Final

import orjson
from hivematrix_common.domain.canonical import digest
from hivematrix_common.domain.errors import DomainError

from .backup import Backup, charge_backup
from .charges import Charged, charge_items
from .contract import contract_of
from .counting import ASSET_TYPES, USER_TYPES, Item, asset_items, check_counted, user_items
from .hours import Hours, charge_hours
from .invoice import invoice_csv
from .line_items import charge_line_items
from .months import Month, month_named, month_of
from .plan import RATES, Plan, currency_of, effective_plan, overrides_in_force, policy_of, version_for
from .prepaid import settings_for
from .tax import charge_tax
from .values import EXACT, Document, Money, NoBillError

VERSION: Final = 1
FORMAT: Final = "hivematrix.snapshot/1"


@dataclass(frozen=True, slots=True)
class Bill:
    """`data` is the body's canonical bytes, `digest` their SHA-256; `csv` is the invoice that the body's hash names."""

    account_number: str
    invoice_number: str
    body: Document
    data: bytes
    digest: str
    csv: str


@dataclass(frozen=True, slots=True)
class NoBill:
    """`status` is unbillable or skipped."""

    account_number: str
    status: str
    reason: str


def compute_bill(inputs: Document) -> Bill | NoBill:
    """The bill of one company and month. A pure function: the same inputs give the same bytes, in any order of rows."""
    account: str = inputs["company"]["account_number"]
    try:
        with localcontext(EXACT):
            return _bill(_in_order(inputs))
    except NoBillError as error:
        return NoBill(account, error.status, str(error))
    except DomainError as error:
        return NoBill(account, "unbillable", str(error))


_ORDER: Final[dict[str, Callable[[Document], Any]]] = {
    "plans": lambda row: (row["plan_name"], row["term"], row["valid_from"]),
    "overrides": lambda row: (row["key"], row["from_period"] or "", row["to_period"] or ""),
    "users": lambda row: row["uid"],
    "user_overrides": lambda row: row["contact_uid"],
    "assets": lambda row: row["uid"],
    "asset_overrides": lambda row: row["asset_uid"],
    "line_items": lambda row: row["uid"],
    "tax_rates": lambda row: row["category"],
    "entries": lambda row: (row["worked_on"], row["uid"]),
    "months": lambda row: row["period"],
}


def _in_order(inputs: Document) -> Document:
    return inputs | {name: sorted(inputs[name], key=key) for name, key in _ORDER.items()}


def _bill(inputs: Document) -> Bill:
    month = month_named(inputs["period"])
    plan = effective_plan(inputs, month)
    money = Money.of(currency_of(inputs))
    people, machines = user_items(inputs), asset_items(inputs)
    check_counted(people + machines, plan.policy, month)
    settings = settings_for(inputs, month.ordinal)

    users = charge_items("user", people, plan, month, money)
    assets = charge_items("asset", machines, plan, month, money)
    backup = charge_backup(assets.counted, plan, month, money)
    is_billed = _billed_months(inputs, people + machines)
    hours = charge_hours(inputs, plan.rates["per_hour"], month, money, settings=settings, is_billed=is_billed)
    items = charge_line_items(inputs, month, money)
    totals = {
        "user": users.total,
        "asset": assets.total,
        "backup": backup.total,
        "hours": hours.total,
        "item": items.total,
    }
    tax = charge_tax(inputs, totals, month, money)
    totals["tax"] = tax.total
    totals["total"] = money.sum(totals.values())

    body = _head(inputs, plan, month, money)
    body["totals"] = {kind: money.text(amount) for kind, amount in totals.items()}
    body["lines"] = users.lines + assets.lines + backup.lines + hours.lines + items.lines + tax.lines
    body["counts"] = _counts(users, assets, backup, hours)
    body["prepaid"] = hours.prepaid
    return _finish(body, inputs, money)


def _billed_months(inputs: Document, items: list[Item]) -> Callable[[int], bool]:
    """Whether the engine would bill a month: what it asks of the plan and of the items that count then."""

    @cache
    def is_billed(index: int) -> bool:
        month = month_named(month_of(index))
        try:
            version = version_for(inputs, overrides_in_force(inputs, month), month)
            check_counted(items, policy_of(version), month)
        except NoBillError:
            return False
        return True

    return is_billed


def _head(inputs: Document, plan: Plan, month: Month, money: Money) -> Document:
    company = inputs["company"]
    terms = company["payment_terms_days"]
    due = month.last_day + timedelta(days=inputs["defaults"]["payment_terms_days"] if terms is None else terms)
    return {
        "format": FORMAT,
        "kind": "invoice",
        "invoice_number": f"{company['account_number']}-{month.text.replace('-', '')}",
        "account_number": company["account_number"],
        "company_name": company["name"],
        "period": month.text,
        "currency": money.currency,
        "invoice_date": month.last,
        "due_date": due.isoformat(),
        "billing_plan": plan.name,
        "contract_term": plan.term,
        "plan_version": plan.version["valid_from"],
        "support_level": plan.support_level,
        "features": plan.features,
        "rates": [{"name": name, "value": plan.rates[name].text, "source": plan.rates[name].source} for name in RATES],
        "contract": contract_of(inputs, month.last_day),
        "engine": {"name": "hivematrix-ledger", "version": VERSION},
        "corrects": None,
    }


def _counts(users: Charged, assets: Charged, backup: Backup, hours: Hours) -> Document:
    counts: Document = {"user": len(users.lines), "asset": len(assets.lines)}
    counts |= {f"user_{_key(kind)}": users.types.get(kind, 0) for kind in USER_TYPES}
    counts |= {_key(kind): assets.types.get(kind, 0) for kind in ASSET_TYPES}
    return counts | backup.counts | hours.counts


def _key(kind: str) -> str:
    return kind.lower().replace(" ", "_")


def _finish(body: Document, inputs: Document, money: Money) -> Bill:
    """Add what depends on everything else: the hashes of the CSV and of the inputs."""
    csv = invoice_csv(body, money.digits)
    given = _bytes(inputs)
    body["csv_sha256"] = digest(csv.encode())
    body["inputs_digest"] = digest(given)
    # The inputs are spelled once and spliced in; a fragment of canonical bytes keeps the whole canonical.
    data = _bytes(body | {"inputs": orjson.Fragment(given)})
    body["inputs"] = inputs
    return Bill(body["account_number"], body["invoice_number"], body, data, digest(data), csv)


def _bytes(document: Document) -> bytes:
    # Only text, integers, booleans and null under ASCII keys get here, so these are the RFC 8785 bytes, unchecked.
    return orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
