from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hivematrix_common.domain.period import Period
from hivematrix_ledger.domain.acceptance import entry_uids, settled_month
from hivematrix_ledger.domain.engines import Bill, NoBill, compute_bill
from hivematrix_ledger.domain.inputs import Defaults, Page, PlanBook, Rows, build_inputs, candidates

RATES = {
    "per_user": "100",
    "per_workstation": "15",
    "per_server": "125",
    "per_vm": "50",
    "per_switch": "25",
    "per_firewall": "30",
    "per_hour": "150",
    "backup_base_workstation": "25",
    "backup_base_server": "50",
    "backup_included_tb": "1",
    "backup_per_tb": "15",
}
TB = 1024**4


class Case:
    """One company as Codex feeds it with Ledger's rows beside it: V1 of the billing rules until a test changes it."""

    def __init__(self) -> None:
        self.facts: dict[str, Any] = {
            "account_number": "620547",
            "name": "Acme Ltd",
            "billing_plan": "Gold",
            "contract_term": "1 Year",
            "contract_start": None,
            "contract_end": None,
            "currency": None,
            "payment_terms_days": None,
            "status": "active",
            "contacts": [],
            "assets": [],
            "entries": [],
        }
        self.plans = [self.plan()]
        self.rows = Rows()
        self.asset_overrides: dict[str, Any] = {}
        self.user_overrides: dict[str, Any] = {}
        self.billed: set[str] = set()
        self.zone = ZoneInfo("UTC")

    def worked_vector(self) -> "Case":
        self.contact("Ann")
        self.contact("Bob")
        self.asset("WS1", "Workstation")
        self.asset("SRV1", "Server", backup_bytes=5 * TB // 2)
        self.entry("3.3333")
        return self

    def plan(self, name="Gold", term="1 Year", valid_from="2020-01-01", rates=None, **more):
        plan = {"plan_name": name, "term": term, "valid_from": valid_from, "support_level": None, "currency": None}
        return plan | RATES | (rates or {}) | {"count_policy": None, "features": {}} | more

    def contact(self, name, **more):
        row = {"uid": f"c-{name}", "name": name, "active": True, "active_from": None, "active_to": None} | more
        self.facts["contacts"].append(row)

    def asset(self, hostname, billing_type, **more):
        row = {"uid": f"a-{hostname}", "hostname": hostname, "billing_type": billing_type, "backup_bytes": 0}
        self.facts["assets"].append(row | {"active_from": None, "active_to": None} | more)

    def entry(self, hours, worked_on="2025-10-05", uid=None, billable=True):
        uid = uid or f"e-{len(self.facts['entries']) + 1}"
        row = {"uid": uid, "ticket": "INC-7", "worked_on": worked_on, "hours": hours, "billable": billable}
        self.facts["entries"].append(row | {"first_seen": worked_on})

    def override(self, key, value, from_period=None, to_period=None):
        row = {"key": key, "value": value, "from_period": from_period, "to_period": to_period}
        self.rows.overrides.append(row)

    def asset_override(self, hostname, billing_type, custom_cost=None):
        uid = f"a-{hostname}"
        self.asset_overrides[uid] = {"asset_uid": uid, "billing_type": billing_type, "custom_cost": custom_cost}

    def user_override(self, name, billing_type, custom_cost=None):
        uid = f"c-{name}"
        self.user_overrides[uid] = {"contact_uid": uid, "billing_type": billing_type, "custom_cost": custom_cost}

    def manual_asset(self, hostname, billing_type, custom_cost=None, uid=None):
        row = {"uid": uid or f"manual:{hostname}", "source": "manual", "hostname": hostname}
        self.rows.manual_assets.append(row | {"billing_type": billing_type, "custom_cost": custom_cost})

    def manual_user(self, name, billing_type, custom_cost=None, uid=None):
        row = {"uid": uid or f"manual:{name}", "source": "manual", "name": name, "active": True}
        row |= {"active_from": None, "active_to": None}
        self.rows.manual_users.append(row | {"billing_type": billing_type, "custom_cost": custom_cost})

    def line_item(self, name, kind, fee, **more):
        row = {"uid": f"item:{name}", "name": name, "description": None, "kind": kind, "fee": fee}
        row |= {"period": None, "month": None, "from_period": None, "to_period": None}
        self.rows.line_items.append(row | more)

    def prepaid(self, monthly=None, yearly=None, pool_year="calendar", rollover_months=0):
        self.rows.prepaid = {
            "monthly": monthly,
            "yearly": yearly,
            "pool_year": pool_year,
            "rollover_months": rollover_months,
        }

    def tax(self, category, percent):
        self.rows.tax_rates.append({"category": category, "percent": percent})

    def inputs(self, period="2025-10") -> dict[str, Any]:
        month = Period.parse(period)
        page = Page(PlanBook(self.plans), Defaults(self.zone), self.asset_overrides, self.user_overrides, self.billed)
        found = candidates(month, self.facts, self.rows, self.zone)
        return build_inputs(month, self.facts, self.rows, found, page)

    def outcome(self, period="2025-10") -> Bill | NoBill:
        return compute_bill(self.inputs(period))

    def bill(self, period="2025-10") -> Bill:
        bill = self.outcome(period)
        assert isinstance(bill, Bill), bill
        return bill

    def body(self, period="2025-10") -> dict[str, Any]:
        return self.bill(period).body

    def totals(self, period="2025-10") -> dict[str, str]:
        totals: dict[str, str] = self.body(period)["totals"]
        return totals

    def reason(self, period="2025-10") -> str:
        outcome = self.outcome(period)
        assert isinstance(outcome, NoBill), outcome
        assert outcome.status == "unbillable"
        return outcome.reason

    def accept(self, period="2025-10") -> dict[str, Any]:
        body = self.body(period)
        self.rows.accepted[period] = settled_month(body)
        self.billed |= set(entry_uids(body))
        return body


@pytest.fixture(scope="session")
def new_case():
    """A factory: an empty company, to be filled by the test."""
    return Case


@pytest.fixture
def case():
    return Case().worked_vector()
