"""The billing rules once more, for checking: written from the rules' text alone, in fractions, one function a rule, no
thought of speed. It shares no code with the engine, and must not.
"""

import re
from calendar import monthrange
from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from fractions import Fraction
from math import floor
from typing import Any

from independent.rows import RATES, Facts, Row

DIGITS = {"JPY": 0, "KRW": 0, "BHD": 3, "KWD": 3}
PER_TYPE = {
    "Workstation": "per_workstation",
    "Server": "per_server",
    "VM": "per_vm",
    "Switch": "per_switch",
    "Firewall": "per_firewall",
}
BACKUP_CLASS = {"Workstation": "W", "Server": "S", "VM": "S"}
KINDS = ("user", "asset", "backup", "hours", "item", "tax")
LATE = "late "

# A month is a number, so that months can be counted: 2025-10 is 2025 * 12 + 9.


def month_of(text: str) -> int:
    return int(text[:4]) * 12 + int(text[5:7]) - 1


def month_text(month: int) -> str:
    return f"{month // 12}-{month % 12 + 1:02}"


def first_day(month: int) -> date:
    return date(month // 12, month % 12 + 1, 1)


def last_day(month: int) -> date:
    return first_day(month + 1) - timedelta(days=1)


def number(cell: str | None) -> Fraction:
    return Fraction(cell or 0)


def half_up(exact: Fraction, digits: int) -> Fraction:
    size = Fraction(floor(abs(exact) * 10**digits + Fraction(1, 2)), 10**digits)
    return size if exact >= 0 else -size


def money_text(amount: Fraction, digits: int) -> str:
    units = amount * 10**digits
    assert units.denominator == 1
    whole, rest = divmod(abs(units.numerator), 10**digits)
    return ("-" if units < 0 else "") + (f"{whole}.{rest:0{digits}}" if digits else f"{whole}")


class UnbillableError(Exception):
    """`words`: the reason given to people must hold one of them."""

    def __init__(self, reason: str, *words: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.words = words


class SkippedError(Exception):
    pass


@dataclass(frozen=True)
class Line:
    kind: str
    name: str
    amount: Fraction


@dataclass(frozen=True)
class Taken:
    """What one month took, and the entries it billed. `monthly` is by the month whose allowance it was."""

    uids: frozenset[str]
    monthly: dict[int, Fraction]
    pool: Fraction
    charged: dict[int, Fraction]


History = dict[int, Taken]


@dataclass
class Books:
    """One company's facts and what was accepted of it so far; the methods are the rules, in the order of the page."""

    facts: Facts
    account: str
    history: History = field(default_factory=dict)

    def __post_init__(self) -> None:
        (self.company,) = self.of("companies")
        self.asset_overrides = {row["asset_uid"]: row for row in self.of("asset_overrides") if row.get("billing_type")}
        self.user_overrides = {row["contact_uid"]: row for row in self.of("user_overrides") if row.get("billing_type")}
        self.prepaid: Row = next(iter(self.of("prepaid_hours")), {})

    def of(self, stem: str) -> list[Row]:
        return self.facts.of(stem, self.account)

    # 1. Money, quantities, time

    def day(self, text: str) -> date:
        if len(text) == len("2025-10-31"):
            return date.fromisoformat(text)
        return datetime.fromisoformat(text).astimezone(self.facts.zone).date()

    @property
    def currency(self) -> str:
        return self.company.get("currency") or "USD"

    @property
    def digits(self) -> int:
        return DIGITS.get(self.currency, 2)

    # 2. Plans and rates

    def override(self, month: int, key: str) -> str | None:
        for row in self.of("client_overrides"):
            if row.get("key") == key and row["value"] and _in_window(row, month):
                return row["value"]
        return None

    def plan_name(self, month: int) -> str:
        return (self.override(month, "billing_plan") or self.company.get("billing_plan") or "").strip()

    @property
    def term(self) -> str:
        return normal_term(self.company.get("contract_term"))

    def plan(self, month: int) -> Row:
        name = self.plan_name(month)
        if name.lower() == "inactive":
            raise SkippedError
        versions = [
            row
            for row in self.facts.tables["plans"]
            if row["plan_name"].strip() == name
            and normal_term(row.get("term")) == self.term
            and self.day(row["valid_from"]) <= last_day(month)
        ]
        if not name or not versions:
            raise UnbillableError("no plan", *([name] if name else ["plan"]))
        plan = max(versions, key=lambda row: self.day(row["valid_from"]))
        if plan.get("currency") and plan["currency"] != self.currency:
            raise UnbillableError("currency", plan["currency"])
        return plan

    def rate(self, month: int, name: str) -> tuple[Fraction, str]:
        if overridden := self.override(month, name):
            return Fraction(overridden), "client_override"
        if planned := self.plan(month).get(name):
            return Fraction(planned), "plan"
        return Fraction(1 if name == "backup_included_tb" else 0), "default"

    def price(self, month: int, name: str) -> Fraction:
        return self.rate(month, name)[0]

    def support_level(self, month: int) -> str | None:
        return self.override(month, "support_level") or self.plan(month).get("support_level") or None

    # 3. What is counted

    def share(self, month: int, row: Row) -> Fraction:
        first, last = first_day(month), last_day(month)
        begin = self.day(row["active_from"]) if row.get("active_from") else date.min
        end = self.day(row["active_to"]) if row.get("active_to") else date.max
        active = max(0, (min(end, last) - max(begin, first)).days + 1)
        whole = (last - first).days + 1
        shares: dict[str, Callable[[], Fraction]] = {
            "end_of_period": lambda: Fraction(begin <= last <= end),
            "any_day": lambda: Fraction(active > 0),
            "prorate_actual": lambda: Fraction(active, whole),
            "prorate_30": lambda: Fraction(1) if active == whole else Fraction(min(active, 30), 30),
        }
        return shares[self.plan(month).get("count_policy") or "end_of_period"]()

    def assets(self, month: int) -> list[tuple[Row, str, Fraction]]:
        """Counted Codex assets: row, type after overrides, share."""
        counted = []
        for row in self.of("assets"):
            override = self.asset_overrides.get(row["uid"])
            kind = override["billing_type"] if override else row.get("billing_type") or "Workstation"
            if kind not in (*PER_TYPE, "Custom", "No Charge"):
                raise UnbillableError("unknown type", row["hostname"], row["uid"])
            share = self.share(month, row)
            if share and kind == "Custom" and not override:
                raise UnbillableError("custom without cost", row["hostname"], row["uid"])
            if share:
                counted.append((row, kind, share))
        return counted

    def asset_lines(self, month: int) -> list[Line]:
        lines = []
        for row, kind, share in self.assets(month):
            cost = self.asset_cost(month, kind, self.asset_overrides.get(row["uid"], {})) * share
            lines.append(self.line("asset", f"Asset: {row['hostname']} ({kind})", cost))
        for row in self.of("manual_assets"):
            if row.get("billing_type"):
                cost = self.asset_cost(month, row["billing_type"], row)
                lines.append(self.line("asset", f"Asset: {row['hostname']} ({row['billing_type']})", cost))
        return lines

    def asset_cost(self, month: int, kind: str, stated: Row) -> Fraction:
        if kind == "Custom":
            return number(stated["custom_cost"])
        return self.price(month, PER_TYPE[kind]) if kind in PER_TYPE else Fraction(0)

    def user_lines(self, month: int) -> list[Line]:
        lines = []
        for row in self.of("contacts"):
            share = self.share(month, row)
            if row.get("active") != "false" and share:
                override = self.user_overrides.get(row["uid"], {"billing_type": "Paid"})
                lines.append(self.user_line(month, row["name"], override, share))
        manual = [row for row in self.of("manual_users") if row.get("billing_type")]
        return lines + [self.user_line(month, row["name"], row, Fraction(1)) for row in manual]

    def user_line(self, month: int, name: str, stated: Row, share: Fraction) -> Line:
        kind = stated["billing_type"].replace("No Charge", "Free")
        costs = {
            "Paid": self.price(month, "per_user"),
            "Custom": number(stated.get("custom_cost")),
            "Free": Fraction(0),
        }
        return self.line("user", f"User: {name} ({kind})", costs[kind] * share)

    def line(self, kind: str, name: str, exact: Fraction) -> Line:
        return Line(kind, name, half_up(exact, self.digits))

    # 4. Hours

    def check(self, month: int) -> None:
        """Raises what keeps the company from getting a bill."""
        self.plan(month)
        self.assets(month)
        if self.prepaid.get("pool_year") == "contract" and not self.company.get("contract_start"):
            raise UnbillableError("no contract start", "contract_start", "contract start")

    def gets_bill(self, month: int) -> bool:
        try:
            self.check(month)
        except (SkippedError, UnbillableError):
            return False
        return True

    def due(self, month: int) -> dict[int, list[Row]]:
        """The entries this month bills, by the month worked in: its own first, then late ones, oldest first."""
        billed = {uid for taken in self.history.values() for uid in taken.uids}
        found: dict[int, list[Row]] = defaultdict(list)
        for row in self.of("time_entries"):
            worked = month_of(self.day(row["worked_on"]).isoformat())
            if row["uid"] not in billed and (worked == month or self.is_late_for(month, worked)):
                found[worked].append(row)
        return {worked: found[worked] for worked in sorted(found, key=lambda worked: (worked != month, worked))}

    def is_late_for(self, month: int, worked: int) -> bool:
        if worked not in self.history or worked > month:
            return False
        between = [other for other in range(worked + 1, month) if other not in self.history]
        return not any(self.gets_bill(other) for other in between)

    def pool_year_start(self, month: int) -> int:
        starts = 0
        if self.prepaid.get("pool_year") == "contract":
            starts = self.day(self.company["contract_start"]).month - 1
        return month - (month - starts) % 12

    def hours(self, month: int) -> tuple[Taken, dict[str, Fraction]]:
        """What this month takes and charges, after the months before it were replayed; and what is left then."""
        start = self.pool_year_start(month)
        others = {other: taken for other, taken in self.history.items() if other != month}
        pool = number(self.prepaid.get("yearly"))
        pool -= sum(taken.pool for other, taken in others.items() if start <= other < start + 12)
        monthly: dict[int, Fraction] = defaultdict(lambda: number(self.prepaid.get("monthly")))
        for taken in others.values():
            for granted, hours in taken.monthly.items():
                monthly[granted] -= hours
        result = Taken(frozenset(), {}, Fraction(0), {})
        for replayed in range(min(start, month - 11), month + 1):
            if replayed == month or (replayed not in self.history and self.gets_bill(replayed)):
                result = self.take(replayed, monthly, pool if replayed >= start else Fraction(0))
                pool -= result.pool
        left = sum((monthly[granted] for granted in self.living(month)), Fraction(0))
        return result, {"pool": pool, "monthly": left}

    def living(self, month: int) -> range:
        """The months whose allowance lives in `month`, oldest first."""
        return range(month - int(self.prepaid.get("rollover_months") or 0), month + 1)

    def take(self, month: int, monthly: dict[int, Fraction], pool: Fraction) -> Taken:
        """Takes from `monthly` in place; the pool's share is in the answer."""
        due = self.due(month)
        used: dict[int, Fraction] = defaultdict(Fraction)
        charged: dict[int, Fraction] = {}
        from_pool = Fraction(0)
        for worked, entries in due.items():
            rest = sum((number(row["hours"]) for row in entries if row.get("billable") != "false"), Fraction(0))
            for granted in self.living(month):
                hours = min(rest, max(monthly[granted], Fraction(0)))
                monthly[granted] -= hours
                used[granted] += hours
                rest -= hours
            hours = min(rest, max(pool - from_pool, Fraction(0)))
            from_pool += hours
            charged[worked] = rest - hours
        uids = frozenset(row["uid"] for entries in due.values() for row in entries)
        return Taken(uids, dict(used), from_pool, charged)

    def hours_lines(self, month: int, taken: Taken) -> list[Line]:
        rate = self.price(month, "per_hour")
        return [
            self.line("hours", "" if worked == month else f"{LATE}{month_text(worked)}", hours * rate)
            for worked, hours in taken.charged.items()
        ]

    # 5. Backup

    def backup_lines(self, month: int) -> list[Line]:
        counts = {"W": 0, "S": 0}
        stored = Fraction(0)
        for row, kind, _ in self.assets(month):
            overridden = row["uid"] in self.asset_overrides
            decisive = (row.get("billing_type") or "Workstation") if overridden and kind == "Custom" else kind
            size = number(row.get("backup_bytes"))
            if size > 0 and decisive in BACKUP_CLASS:
                counts[BACKUP_CLASS[decisive]] += 1
                stored += size
        machines = counts["W"] + counts["S"]
        overage = stored / 1024**4 - machines * self.price(month, "backup_included_tb")
        quantities = (
            ("base workstation", Fraction(counts["W"]), "backup_base_workstation"),
            ("base server", Fraction(counts["S"]), "backup_base_server"),
            ("overage", half_up(max(overage, Fraction(0)), 4), "backup_per_tb"),
        )
        return [
            self.line("backup", name, size * self.price(month, rate)) for name, size, rate in quantities if size > 0
        ]

    # 6. Line items

    def item_lines(self, month: int) -> list[Line]:
        labels = {"recurring": "Recurring", "one_off": "One-Off", "yearly": "Yearly"}
        items = [row for row in self.of("line_items") if row.get("kind") and self.item_applies(row, month)]
        return [self.line("item", f"{row['name']} ({labels[row['kind']]})", number(row["fee"])) for row in items]

    def item_applies(self, row: Row, month: int) -> bool:
        if row["kind"] == "one_off":
            return month_of(row["period"]) == month
        in_month = row["kind"] == "recurring" or int(row["month"]) == month % 12 + 1
        return in_month and _in_window(row, month)

    # 7. Tax

    def tax_lines(self, lines: Iterable[Line]) -> list[Line]:
        rates = {row["category"]: number(row["percent"]) for row in self.of("tax_rates") if row.get("category")}
        bases: dict[str, Fraction] = defaultdict(Fraction)
        for line in lines:
            category = line.kind if line.kind in rates else "*"
            bases[category] += line.amount
        taxed = [(category, base) for category, base in bases.items() if base and category in rates]
        return [self.line("tax", f"{category} ", base * rates[category] / 100) for category, base in taxed]

    # 8. and 9. The bill and its dates

    def contract_end(self) -> str | None:
        if self.company.get("contract_end"):
            return self.company["contract_end"]
        if not self.company.get("contract_start") or not self.term[0].isdigit():
            return None
        start = self.day(self.company["contract_start"])
        year = start.year + int(self.term[0])
        leap_day = (start.month, start.day) == (2, 29) and monthrange(year, 2)[1] < start.day
        again = date(year, 3, 1) if leap_day else start.replace(year=year)
        return (again - timedelta(days=1)).isoformat()

    def due_date(self, month: int) -> str:
        return (last_day(month) + timedelta(days=int(self.company.get("payment_terms_days") or 30))).isoformat()

    def bill(self, month: int) -> dict[str, Any]:
        self.check(month)
        taken, left = self.hours(month)
        lines = [*self.user_lines(month), *self.asset_lines(month), *self.backup_lines(month)]
        lines += [*self.hours_lines(month, taken), *self.item_lines(month)]
        lines += self.tax_lines(lines)
        totals = {kind: sum((line.amount for line in lines if line.kind == kind), Fraction(0)) for kind in KINDS}
        totals["total"] = sum((line.amount for line in lines), Fraction(0))
        return {
            "status": "bill",
            "totals": {kind: money_text(amount, self.digits) for kind, amount in totals.items()},
            "total": money_text(totals["total"], self.digits),
            "counts": {kind: sum(line.kind == kind for line in lines) for kind in KINDS},
            "rows": [(line.kind, line.name, money_text(line.amount, self.digits)) for line in lines],
            "rates": {name: self.rate(month, name) for name in RATES},
            "support_level": self.support_level(month),
            "currency": self.currency,
            "count_policy": self.plan(month).get("count_policy"),
            "due_date": self.due_date(month),
            "contract_end": self.contract_end(),
            "prepaid": {
                "used_monthly": sum(taken.monthly.values(), Fraction(0)),
                "used_pool": taken.pool,
                "left_pool": left["pool"],
                "left_monthly": left["monthly"],
            },
            "taken": taken,
        }


def normal_term(text: str | None) -> str:
    words = (text or "").lower()
    years = re.search(r"[123]", words)
    return f"{years[0]} Year" if years else "Month to Month"


def _in_window(row: Row, month: int) -> bool:
    first, last = row.get("from_period"), row.get("to_period")
    return (not first or month_of(first) <= month) and (not last or month <= month_of(last))


def calculate(facts: Facts, account: str, period: str, history: History | None = None) -> dict[str, Any]:
    """What the rules say of one company and month: a `bill`, `unbillable` or `skipped`. Without a history nothing is
    accepted yet.
    """
    books = Books(facts, account, history or {})
    try:
        return books.bill(month_of(period))
    except SkippedError:
        return {"status": "skipped", "reason": "Inactive", "words": ("Inactive",)}
    except UnbillableError as error:
        return {"status": "unbillable", "reason": error.reason, "words": error.words}


def calculate_months(facts: Facts, account: str, periods: Iterable[str]) -> dict[str, dict[str, Any]]:
    """The bills of `periods`, each accepted before the next; after each, what its `arrivals` hold turns up."""
    history: History = {}
    results = {}
    for period in periods:
        results[period] = result = calculate(facts, account, period, history)
        if result["status"] == "bill":
            history[month_of(period)] = result["taken"]
        facts = facts.after(period)
    return results
