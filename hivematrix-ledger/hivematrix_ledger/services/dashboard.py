"""All companies of a month at a glance, from one walk over a page of the feed."""

from decimal import Decimal
from typing import Any

from hivematrix_common.domain.money import decimal_text, round_half_up
from hivematrix_common.domain.period import Period

from hivematrix_ledger.clients import Sealed
from hivematrix_ledger.domain.engines import Bill, NoBill
from hivematrix_ledger.services import Ledger, bills

_TB_PLACES = 2


def dashboard(ledger: Ledger, period: Period, limit: int, cursor: str) -> dict[str, Any]:
    feed = ledger.codex.feed(period, cursor=cursor, limit=limit)
    outcomes = bills.settle(ledger, period, feed)
    rows = [_row(ledger, facts, outcome, period) for facts, outcome in zip(feed.companies, outcomes, strict=True)]
    return {"billing_period": str(period), "companies": rows, "next": feed.next}


def plans(ledger: Ledger) -> list[dict[str, Any]]:
    """Codex's plans under their earlier names, the newest version of each."""
    newest: dict[tuple[str, str], dict[str, Any]] = {}
    for plan in sorted(ledger.codex.plans(), key=lambda plan: plan["valid_from"]):
        newest[plan["plan_name"], plan["term"]] = plan
    return [
        {
            "id": f"{name} / {term}",
            "billing_plan": name,
            "term_length": term,
            "support_level": plan["support_level"],
            "per_user_cost": plan["per_user"],
            "per_workstation_cost": plan["per_workstation"],
            "per_server_cost": plan["per_server"],
        }
        for (name, term), plan in sorted(newest.items())
    ]


def _row(ledger: Ledger, facts: dict[str, Any], outcome: Sealed | Bill | NoBill, period: Period) -> dict[str, Any]:
    row = {
        "account_number": facts["account_number"],
        "name": facts["name"],
        "billing_plan": facts["billing_plan"],
        "support_level": None,
        "contract_term_length": facts["contract_term"],
        "contract_end_date": facts["contract_end"],
        "reason": None,
        "currency": facts["currency"] or ledger.defaults.currency,
        "hours": _hours_of_year(facts["entries"], period),
    }
    if isinstance(outcome, NoBill):
        absent = dict.fromkeys(("total_bill", "workstations", "servers", "vms", "users", "backup"))
        return row | absent | {"status": outcome.status, "reason": outcome.reason}
    return row | _billed(outcome.body) | {"status": "billable" if isinstance(outcome, Bill) else "accepted"}


def _billed(body: dict[str, Any]) -> dict[str, Any]:
    counts = body["counts"]
    return {
        "billing_plan": body["billing_plan"],
        "support_level": body["support_level"],
        "contract_end_date": body["contract"]["end"],
        "currency": body["currency"],
        "total_bill": body["totals"]["total"],
        "workstations": counts["workstation"],
        "servers": counts["server"],
        "vms": counts["vm"],
        "users": counts["user"],
        "backup": decimal_text(round_half_up(Decimal(counts["backup_tb"]), _TB_PLACES)),
    }


def _hours_of_year(entries: list[dict[str, Any]], period: Period) -> str:
    year = f"{period.year}-"
    worked = (Decimal(entry["hours"]) for entry in entries if entry["worked_on"].startswith(year) and entry["billable"])
    return decimal_text(sum(worked, Decimal(0)))
