"""Random facts of an MSP, made so that each sentence of the billing rules decides something in 300 companies. The same
seed gives the same rows.
"""

from collections import defaultdict
from datetime import date, timedelta
from random import Random
from zoneinfo import ZoneInfo

from independent.rows import COLUMNS, RATES, Facts, Row

POLICIES = ("end_of_period", "any_day", "prorate_actual", "prorate_30")
TERMS = {
    "Month to Month": ("", "monthly", "Month to Month", "month-to-month"),
    "1 Year": ("1 Year", "1-Year", "1 year", "1-year"),
    "2 Year": ("2 Year", "2 years", "2-Year", "2 Years"),
    "3 Year": ("3 Year", "3-Year", "3 years", "3-years"),
}
PLANS = {
    "Bronze": (("Month to Month", "1 Year", "3 Year"), "USD", ("2020-01-01", "2025-10-31", "2025-12-01")),
    "Silver": (("Month to Month", "1 Year", "2 Year"), "USD", ("2024-06-01", "2025-10-01", "2025-11-01")),
    "Gold": (("Month to Month", "2 Year", "3 Year"), "USD", ("2023-02-01", "2025-06-15", "2026-01-01")),
    "Platinum": (("1 Year", "2 Year", "3 Year"), "USD", ("2025-01-31", "2025-10-15")),
    "Summer": (("Month to Month", "1 Year"), "USD", ("2025-07-01",)),
    "Future": (("Month to Month", "1 Year"), "USD", ("2025-11-01",)),
    "Yen": (("Month to Month", "1 Year"), "JPY", ("2021-01-01", "2025-11-30")),
    "Dinar": (("Month to Month", "1 Year"), "BHD", ("2021-01-01", "2025-10-20")),
    "Euro": (("1 Year", "2 Year"), "EUR", ("2019-05-05",)),
    "Plain": (("Month to Month", "1 Year", "2 Year", "3 Year"), "", ("2015-01-01",)),
}
USUAL = ("Bronze", "Silver", "Gold", "Platinum", "Plain", "Summer")
ASSET_TYPES = ("Workstation", "Server", "VM", "Switch", "Firewall", "Custom", "No Charge")
USER_TYPES = ("Paid", "Custom", "Free", "No Charge")
KINDS = ("user", "asset", "backup", "hours", "item")
DAYS = (
    *("2023-05-05", "2025-09-30", "2025-10-01", "2025-10-02", "2025-10-15", "2025-10-20", "2025-10-30", "2025-10-31"),
    *("2025-11-01", "2025-11-15", "2025-12-31", "2026-01-10", "2026-02-01", "2026-02-14", "2026-02-28"),
)
MONTHS = ("2025-08", "2025-09", "2025-10", "2025-11", "2025-12", "2026-01", "2026-02")
TB = 1024**4


def random_facts(seed: int, companies: int, zone: str = "UTC", *, busy: bool = False) -> Facts:
    """`busy` companies have much work, of which much turns up late, and all have prepaid hours that run out."""
    maker = _Maker(Random(seed), busy=busy)
    maker.make_plans()
    for number in range(companies):
        maker.make_company(number)
    return Facts(maker.tables, ZoneInfo(zone), dict(maker.arrivals))


class _Maker:
    def __init__(self, random: Random, *, busy: bool) -> None:
        self.random = random
        self.busy = busy
        self.tables: dict[str, list[Row]] = {stem: [] for stem in COLUMNS}
        self.arrivals: dict[str, list[Row]] = defaultdict(list)
        self.count = 0

    def add(self, stem: str, **cells: str) -> Row:
        self.tables[stem].append(cells)
        return cells

    def chance(self, percent: int) -> bool:
        return self.random.randrange(100) < percent

    def uid(self, kind: str) -> str:
        self.count += 1
        return f"{kind}-{self.count}"

    def money(self, highest: int = 200) -> str:
        """Whole, in cents, with four decimals, or half a cent beyond."""
        places = self.random.choice((0, 0, 2, 2, 3, 4))
        if places == 3:
            return f"{self.random.randrange(highest)}.{self.random.randrange(100):02}5"
        return f"{self.random.randrange(highest * 10**places) / 10**places:.{places}f}"

    def name(self, text: str) -> str:
        """Names that a spreadsheet would take for a formula, that CSV must quote, or that are just names."""
        start = self.random.choice(("", "", "", "", "", "=", "+", "-", "@", "Öl, ", '"A" & '))
        return f"{start}{text} {self.random.randrange(1000)}"

    def make_plans(self) -> None:
        numbers = 0
        for name, (terms, currency, versions) in PLANS.items():
            for term in terms:
                for valid_from in versions:
                    numbers += 1
                    self.make_plan_version(numbers, name, term, valid_from, currency)

    def make_plan_version(self, number: int, name: str, term: str, valid_from: str, currency: str) -> None:
        # An empty rate falls to its default; 0 does not.
        rates = {
            rate: ("", "0", *(self.money() for _ in range(6)))[(number + place) % 8] for place, rate in enumerate(RATES)
        }
        rates["backup_included_tb"] = self.random.choice(("", "0", "1", "0.5", "1.2345"))
        self.add(
            "plans",
            plan_name=self.random.choice((name, f" {name} ")),
            term=self.random.choice(TERMS[term]),
            valid_from=valid_from,
            support_level=self.random.choice(("", "All inclusive", "Best effort")),
            currency=currency,
            **rates,
            count_policy=POLICIES[number % 4],
            features=self.random.choice(("", '{"antivirus": "Sentinel", "email": "Proof"}', '{"sat": "Yes"}')),
        )

    def make_company(self, number: int) -> None:
        account = self.random.choice((f"{100000 + 37 * number}", f"AC{number}x"))
        company = self.make_head(account, number)
        self.make_contacts(account)
        self.make_assets(account)
        self.make_hours(account)
        self.make_prepaid(company)
        self.make_overrides(company)
        self.make_manual(account)
        self.make_items(account)
        self.make_taxes(account)

    def make_head(self, account: str, number: int) -> Row:
        plan = self.random.choice((*USUAL * 3, *PLANS, *PLANS))
        terms, currency, _ = PLANS[plan]
        term = self.random.choice(terms)
        odd = number % 25
        if odd in (1, 2):
            plan = ("Unobtainium", "Inactive", "inactive", " INACTIVE ", "gold", "")[number % 6]
        elif odd == 3:
            term = self.random.choice(tuple(TERMS))
        elif odd == 4:
            currency = self.random.choice(("JPY", "EUR", "GBP"))
        elif odd == 5:
            plan, currency = "Plain", "GBP"  # a plan that names no currency is in none but the company's
        return self.add(
            "companies",
            account_number=account,
            name=self.name("Company"),
            billing_plan=plan,
            contract_term=self.random.choice(TERMS[term]),
            contract_start=self.random.choice(
                ("", "2024-02-29", "2024-11-15", "2025-03-01", "2025-10-31", "2022-01-01")
            ),
            contract_end=self.random.choice(("", "", "2025-10-31", "2026-06-30")),
            currency=currency if currency != "USD" or self.chance(30) else "",
            payment_terms_days=self.random.choice(("", "", "0", "14", "45")),
            email="",
            status=self.random.choice(("", "active", "inactive", "prospect")),
        )

    def span(self) -> Row:
        """Active dates in and around the months billed; ends open, on the month's edges, or given as instants."""
        first, last = sorted(self.random.choices(range(len(DAYS)), k=2))
        begin, end = self.random.choice(((0, 0), (0, 0), (1, 0), (0, 1), (1, 1)))
        cells = {"active_from": DAYS[first] if begin else "", "active_to": DAYS[last] if end else ""}
        if begin != end and self.chance(20):
            times = ("T00:00:00Z", "T23:59:59.5Z", "T02:30:00+05:00", "T22:30:00-04:00")
            cells = {name: day and day + self.random.choice(times) for name, day in cells.items()}
        return cells

    def cost(self, billing_type: str) -> str:
        return self.random.choice(("", "-")) + self.money() if billing_type == "Custom" else ""

    def make_contacts(self, account: str) -> None:
        for _ in range(self.random.randrange(9)):
            uid, active = self.uid("C"), self.random.choice(("true", "true", "true", "false"))
            self.add("contacts", uid=uid, account_number=account, name=self.name("Pat"), active=active, **self.span())
            if self.chance(25):
                kind = self.random.choice(USER_TYPES)
                self.add("user_overrides", contact_uid=uid, billing_type=kind, custom_cost=self.cost(kind))

    def make_assets(self, account: str) -> None:
        for _ in range(self.random.randrange(10)):
            own = self.random.choices((*ASSET_TYPES, ""), (10, 7, 5, 2, 2, 2, 2, 6))[0]
            is_overridden = self.chance(80 if own == "Custom" else 25)
            uid, span = self.uid("A"), self.span()
            if own == "Custom" and not is_overridden and self.chance(70):
                span = {"active_from": "", "active_to": "2025-09-30"}
            self.add(
                "assets",
                uid=uid,
                account_number=account,
                hostname=self.name("HOST"),
                billing_type=own,
                backup_bytes=self.backup_bytes(),
                **span,
            )
            if is_overridden:
                kind = self.random.choice((*ASSET_TYPES, "Custom"))
                self.add("asset_overrides", asset_uid=uid, billing_type=kind, custom_cost=self.cost(kind))

    def backup_bytes(self) -> str:
        some = self.random.randrange(4 * TB)
        return str(self.random.choice(("", "", 0, 1, TB, TB // 2 + 1, some, some, some)))

    def hours(self) -> str:
        return self.random.choice(("0.1", "0.25", "3.3333", "0", "8", f"{self.random.randrange(60000) / 10**4:.4f}"))

    def worked_on(self) -> str:
        """Any day of 17 months, half of them in the four that are billed; some as instants on a month's edge."""
        edges = ("2025-10-31T23:59:59.5Z", "2025-11-01T02:30:00Z", "2025-12-01T01:00:00+02:00", "2026-01-01T00:00:00Z")
        if self.chance(10):
            return self.random.choice(edges)
        first, days = (date(2025, 10, 1), 123) if self.chance(50) else (date(2024, 9, 1), 395)
        return (first + timedelta(days=self.random.randrange(days))).isoformat()

    def make_hours(self, account: str) -> None:
        for _ in range(self.random.randrange(4) or self.busy * 2):
            ticket = self.uid("T")
            number = self.name("INC")
            self.add("tickets", uid=ticket, account_number=account, number=number, subject="Help", status="open")
            for _ in range(self.random.randrange(30)):
                self.add("time_entries", **self.entry(ticket, self.worked_on()))
            if self.busy or self.chance(50):
                self.make_arrivals(ticket)

    def entry(self, ticket: str, worked_on: str) -> Row:
        billable = "false" if self.chance(15) else "true"
        return {
            "uid": self.uid("E"),
            "ticket_uid": ticket,
            "worked_on": worked_on,
            "hours": self.hours(),
            "billable": billable,
        }

    def make_arrivals(self, ticket: str) -> None:
        """After a month's acceptance: new entries of any month; some known ones change or move, as they should not."""
        for period in ("2025-10", "2025-11", "2025-12"):
            for _ in range(self.random.randrange(4)):
                worked_on = f"{self.random.choice((period, '2025-10', '2025-10', '2025-08', '2026-01'))}-30"
                self.arrivals[period].append(self.entry(ticket, worked_on))
            known = [row for row in self.tables["time_entries"][-30:] if row["ticket_uid"] == ticket]
            if known and self.chance(20):
                changed = self.random.choice(known) | {"hours": self.hours()}
                moved = {"worked_on": "2026-01-15"} if self.chance(30) else {}
                self.arrivals[period].append(changed | moved)

    def make_prepaid(self, company: Row) -> None:
        account = company["account_number"]
        if not self.busy and self.chance(4):
            self.add("prepaid_hours", account_number=account)  # clears what was never there
        elif self.busy or self.chance(75):
            yearly = self.random.choice(("", "0", "5", "10", "25.5", "40.125"))
            year = "contract" if yearly and self.chance(45) else self.random.choice(("", "calendar"))
            if year == "contract" and self.chance(80 if company["contract_start"] else 60):
                company["contract_start"] = self.random.choice(("2023-08-31", "2024-09-15", "2024-10-01", "2025-10-31"))
            monthly = self.random.choice(("", "0", "1", "2.5", "4.0001", "6", "12"))
            rollover = self.random.choice(("", "0", "1", "2", "3"))
            self.add(
                "prepaid_hours",
                account_number=account,
                monthly=monthly,
                yearly=yearly or ("" if monthly else "12"),
                pool_year=year,
                rollover_months=rollover,
            )

    def make_overrides(self, company: Row) -> None:
        account = company["account_number"]
        for rate in RATES:
            if self.chance(12):
                highest = 3 if rate == "backup_included_tb" else 200
                self.windows(account, rate, ("0", self.money(highest), self.money(highest)))
        if self.chance(12):
            self.windows(account, "billing_plan", (*USUAL, "Inactive", "Unobtainium", "Yen"))
        elif self.chance(25):
            month = self.random.choice(("2025-03", "2025-06", "2025-09", "2025-11", "2025-12"))
            without = {"key": "billing_plan", "value": self.random.choice(("Inactive", "Unobtainium"))}
            self.add("client_overrides", account_number=account, from_period=month, to_period=month, **without)
        if self.chance(20):
            self.windows(account, "support_level", ("Gold care", "None"))
        for name in ("antivirus", "sat", "extra"):
            if self.chance(10):
                self.windows(account, f"feature:{name}", ("Yes", "Other"))

    def windows(self, account: str, key: str, values: tuple[str, ...]) -> None:
        """One override without end, or several that follow each other with gaps, or without."""
        cuts = sorted(self.random.sample(range(len(MONTHS)), self.random.choice((0, 0, 1, 2))))
        starts = ["", *(MONTHS[cut] for cut in cuts)]
        ends = [*(_month_before(MONTHS[cut]) for cut in cuts), ""]
        for start, end in zip(starts, ends, strict=True):
            if not cuts or self.chance(70):
                value = self.random.choice(values)
                self.add(
                    "client_overrides", account_number=account, key=key, value=value, from_period=start, to_period=end
                )

    def make_manual(self, account: str) -> None:
        for _ in range(self.random.choice((0, 0, 0, 1, 2))):
            kind = self.random.choice(ASSET_TYPES)
            host = self.name("MANUAL")
            self.add(
                "manual_assets", account_number=account, hostname=host, billing_type=kind, custom_cost=self.cost(kind)
            )
        for _ in range(self.random.choice((0, 0, 0, 1, 2))):
            kind = self.random.choice(USER_TYPES)
            name = self.name("Manual")
            self.add("manual_users", account_number=account, name=name, billing_type=kind, custom_cost=self.cost(kind))

    def make_items(self, account: str) -> None:
        if self.chance(5):
            self.add("line_items", account_number=account)
            return
        for number in range(self.random.choice((0, 0, 1, 2, 4))):
            kind = self.random.choice(("recurring", "one_off", "yearly"))
            window = dict.fromkeys(("from_period", "to_period"), "")
            if kind != "one_off" and self.chance(50):
                first, last = sorted(self.random.choices(MONTHS, k=2))
                window = {"from_period": self.random.choice(("", first)), "to_period": self.random.choice(("", last))}
            self.add(
                "line_items",
                account_number=account,
                name=self.name(f"Item {number}"),
                description=self.random.choice(("", "As agreed")),
                kind=kind,
                fee=self.random.choice(("", "-")) + self.money(2000),
                period=self.random.choice(MONTHS[1:6]) if kind == "one_off" else "",
                month=self.random.choice(("1", "9", "10", "10", "11", "12")) if kind == "yearly" else "",
                **window,
            )

    def make_taxes(self, account: str) -> None:
        if self.chance(60):
            return
        named = self.random.sample(KINDS, self.random.randrange(4))
        for category in [*named, *(["*"] if self.chance(70) or not named else [])]:
            percent = self.random.choice(("9.975", "15", "25", "7.125", "0", "5.5555"))
            self.add("tax_rates", account_number=account, category=category, percent=percent)


def _month_before(period: str) -> str:
    return (date.fromisoformat(f"{period}-01") - timedelta(days=1)).isoformat()[:7]
