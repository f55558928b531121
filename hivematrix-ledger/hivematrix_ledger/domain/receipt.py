"""A bill under the names it had in earlier releases. Money, rates and hours stay text."""

from decimal import Decimal
from typing import Any, Final

from hivematrix_common.domain.money import minor_digits

Document = dict[str, Any]

RATE_NAMES: Final = {
    "per_user": "per_user_cost",
    "per_workstation": "per_workstation_cost",
    "per_server": "per_server_cost",
    "per_vm": "per_vm_cost",
    "per_switch": "per_switch_cost",
    "per_firewall": "per_firewall_cost",
    "per_hour": "per_hour_ticket_cost",
    "backup_base_workstation": "backup_base_fee_workstation",
    "backup_base_server": "backup_base_fee_server",
    "backup_included_tb": "backup_included_tb",
    "backup_per_tb": "backup_per_tb_fee",
}
_TYPES: Final = ("workstation", "server", "vm", "switch", "firewall", "custom", "no_charge")
_FEATURE: Final = "feature:"


def billing_answer(body: Document) -> Document:
    """What `GET /api/billing/{account}` says beside the bill itself."""
    return {
        "account_number": body["account_number"],
        "company_name": body["company_name"],
        "billing_period": body["period"],
        "receipt": receipt(body),
        "quantities": quantities(body),
        "effective_rates": {RATE_NAMES[rate["name"]]: rate["value"] for rate in body["rates"]},
        "plan_features": {feature["name"]: feature["value"] for feature in body["features"]},
        "feature_override_status": {
            row["key"].removeprefix(_FEATURE): True
            for row in body["inputs"]["overrides"]
            if row["key"].startswith(_FEATURE)
        },
    }


def receipt(body: Document) -> Document:
    totals, counts = body["totals"], body["counts"]
    backup = {line["name"]: line["amount"] for line in _lines(body, "backup")}
    prepaid = body["prepaid"]
    zero = f"{Decimal(0):.{minor_digits(body['currency'])}f}"
    return {
        "billed_assets": [_billed(line) for line in _lines(body, "asset")],
        "billed_users": [_billed(line) for line in _lines(body, "user")],
        "billed_line_items": [_item(line) for line in _lines(body, "item")],
        "total_user_charges": totals["user"],
        "total_asset_charges": totals["asset"],
        "total_line_item_charges": totals["item"],
        "total_tax_charges": totals["tax"],
        "ticket_charge": totals["hours"],
        "backup_charge": totals["backup"],
        "total": totals["total"],
        "hours_for_billing_period": counts["hours"],
        "prepaid_hours_monthly": prepaid["monthly"]["hours"] if prepaid else "0",
        "remaining_yearly_hours": prepaid["pool"]["left"] if prepaid and prepaid["pool"] else "0",
        "billable_hours": counts["billable_hours"],
        "backup_base_workstation": backup.get("Workstation Backup Base", zero),
        "backup_base_server": backup.get("Server Backup Base", zero),
        "total_included_tb": counts["backup_included_tb"],
        "overage_tb": counts["backup_overage_tb"],
        "overage_charge": backup.get("Backup Overage (TB)", zero),
    }


def quantities(body: Document) -> dict[str, int]:
    counts = body["counts"]
    return {
        "regular_users": counts["user_paid"],
        "free_users": counts["user_free"],
        "custom_users": counts["user_custom"],
        **{name: counts[name] for name in _TYPES},
    }


def summary(body: Document, *, is_archived: bool) -> Document:
    """What `GET /api/invoice/{account}/summary` says; counts are of lines with an amount."""
    billed = [line["kind"] for line in body["lines"] if line["amount"].strip("-0.")]
    return {
        "invoice_number": body["invoice_number"],
        "company_name": body["company_name"],
        "total_amount": body["totals"]["total"],
        "user_count": billed.count("user"),
        "asset_count": billed.count("asset"),
        "line_item_count": billed.count("item"),
        "has_backup_charges": "backup" in billed,
        "has_hourly_charges": "hours" in billed,
        "total_lines": len(billed),
        "is_archived": is_archived,
    }


def _lines(body: Document, kind: str) -> list[Document]:
    return [line for line in body["lines"] if line["kind"] == kind]


def _billed(line: Document) -> Document:
    return {"name": line["name"], "type": line["why"]["basis"]["type"], "cost": line["amount"]}


def _item(line: Document) -> Document:
    labels = {"recurring": "Recurring", "one_off": "One-Off", "yearly": "Yearly"}
    return {"name": line["name"], "type": labels[line["why"]["basis"]["kind"]], "cost": line["amount"]}
