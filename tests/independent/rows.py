"""An MSP's facts as the rows of its import files; every cell is text, empty means not set."""

import csv
import json
from collections import defaultdict
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from zoneinfo import ZoneInfo

Row = dict[str, str]

RATES = (
    *("per_user", "per_workstation", "per_server", "per_vm", "per_switch", "per_firewall", "per_hour"),
    *("backup_base_workstation", "backup_base_server", "backup_included_tb", "backup_per_tb"),
)
COLUMNS = {
    "plans": ("plan_name", "term", "valid_from", "support_level", "currency", *RATES, "count_policy", "features"),
    "companies": (
        *("account_number", "name", "billing_plan", "contract_term", "contract_start", "contract_end", "currency"),
        *("payment_terms_days", "email", "status"),
    ),
    "contacts": ("uid", "account_number", "name", "email", "active", "active_from", "active_to"),
    "assets": (
        *("uid", "account_number", "hostname", "billing_type", "backup_bytes", "operating_system"),
        *("active_from", "active_to"),
    ),
    "tickets": ("uid", "account_number", "number", "subject", "status", "opened_at", "closed_at"),
    "time_entries": ("uid", "ticket_uid", "worked_on", "hours", "billable"),
    "client_overrides": ("account_number", "key", "value", "from_period", "to_period"),
    "asset_overrides": ("asset_uid", "billing_type", "custom_cost"),
    "user_overrides": ("contact_uid", "billing_type", "custom_cost"),
    "manual_assets": ("account_number", "hostname", "billing_type", "custom_cost", "notes"),
    "manual_users": ("account_number", "name", "billing_type", "custom_cost", "notes"),
    "line_items": (
        *("account_number", "name", "description", "kind", "fee", "period", "month"),
        *("from_period", "to_period"),
    ),
    "prepaid_hours": ("account_number", "monthly", "yearly", "pool_year", "rollover_months"),
    "tax_rates": ("account_number", "category", "percent"),
}


@dataclass(frozen=True, eq=False)
class Facts:
    """Rows by file. `arrivals`: the time entries, new or changed, that a company's PSA shows only after a month's
    bills were accepted.
    """

    tables: dict[str, list[Row]]
    zone: ZoneInfo = field(default_factory=lambda: ZoneInfo("UTC"))
    arrivals: dict[str, list[Row]] = field(default_factory=dict)
    _after: dict[str, "Facts"] = field(default_factory=dict, init=False)

    @property
    def accounts(self) -> list[str]:
        return sorted(row["account_number"] for row in self.tables["companies"])

    @cached_property
    def _by_account(self) -> dict[tuple[str, str], list[Row]]:
        owners: dict[str, str] = {}
        found: dict[tuple[str, str], list[Row]] = defaultdict(list)
        for stem in COLUMNS:
            for row in self.tables.get(stem, []):
                owner = row.get("account_number") or next(
                    (owners[row[key]] for key in ("ticket_uid", "asset_uid", "contact_uid") if key in row), ""
                )
                owners[row.get("uid", "")] = owner
                found[stem, owner].append(row)
        return found

    def of(self, stem: str, account: str) -> list[Row]:
        """The rows of one company."""
        return self._by_account.get((stem, account), [])

    def after(self, period: str) -> "Facts":
        """The facts with what turned up once `period` was accepted."""
        if period not in self._after:
            self._after[period] = self._with_arrivals(period)
        return self._after[period]

    def _with_arrivals(self, period: str) -> "Facts":
        entries = {row["uid"]: row for row in self.tables["time_entries"]}
        entries |= {row["uid"]: row for row in self.arrivals.get(period, [])}
        return replace(self, tables=self.tables | {"time_entries": list(entries.values())})


def write(tables: dict[str, list[Row]], folder: Path, seed: int = 0) -> None:
    """Import files in `folder`, about a third of them as JSON lines; which ones depends on the seed."""
    folder.mkdir(parents=True, exist_ok=True)
    for number, stem in enumerate(tables):
        if (number + seed) % 3:
            _write_csv(folder / f"{stem}.csv", COLUMNS[stem], tables[stem])
        else:
            lines = [json.dumps(_document(row), ensure_ascii=False) for row in tables[stem]]
            (folder / f"{stem}.jsonl").write_text("".join(f"{line}\n" for line in lines), "utf-8")


def _write_csv(file: Path, columns: tuple[str, ...], rows: list[Row]) -> None:
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.DictWriter(stream, columns, restval="")
        writer.writeheader()
        writer.writerows(rows)


def _document(row: Row) -> dict[str, object]:
    """A row as JSON: empty cells absent, features an object, booleans and whole counts as JSON has them."""
    found: dict[str, object] = {name: cell for name, cell in row.items() if cell}
    for name in ("features", "active", "billable", "backup_bytes", "month", "rollover_months", "payment_terms_days"):
        if row.get(name):
            found[name] = json.loads(row[name])
    return found
