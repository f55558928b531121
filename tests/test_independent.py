"""Bills checked against a calculation that was written from the rules alone (see independent/README.md)."""

import csv
import io
import json
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from hivematrix_archive import cli as archive_cli
from hivematrix_archive.app import create_app as create_archive
from hivematrix_archive.config import ArchiveSettings
from hivematrix_codex import cli as codex_cli
from hivematrix_codex.app import create_app as create_codex
from hivematrix_codex.config import CodexSettings
from hivematrix_ledger import cli as ledger_cli
from hivematrix_ledger.app import create_app as create_ledger
from hivematrix_ledger.config import LedgerSettings
from werkzeug.serving import make_server

sys.path.insert(0, str(Path(__file__).resolve().parent))

from independent.calculate import LATE, Books, calculate, calculate_months, half_up, money_text, month_of, month_text
from independent.facts import POLICIES, TB, random_facts
from independent.rows import COLUMNS, RATES, Facts, Row, write

SEED = int(os.environ.get("PROOF_SEED", "20251"))
COMPANIES = int(os.environ.get("PROOF_COMPANIES", "300"))
ACCEPTED = COMPANIES // 4
ZONE = "America/Halifax"
PERIODS = ("2025-10", "2025-11", "2025-12", "2026-01")
OUT_OF_ORDER = ("2025-12", "2025-10", "2026-01", "2025-11")
CSV_HEADER = "InvoiceNo,Customer,InvoiceDate,DueDate,Item(Product/Service),Description,Qty,Rate,Amount"
ITEMS = {
    "user": "Managed Services",
    "asset": "Managed Services",
    "backup": "Backup Services",
    "hours": "Hourly Labor",
    "item": "Custom Charge",
    "tax": "Tax",
}
OUTCOMES = {"bill": "sealed", "skipped": "skipped", "unbillable": "failed"}
PLAN = {"plan_name": "Gold", "term": "1 Year", "valid_from": "2020-01-01"} | dict(
    zip(RATES, ("100", "15", "125", "50", "25", "30", "150", "25", "50", "1", "15"), strict=True)
)


def entry(uid: str, worked_on: str, hours: str) -> Row:
    return {"uid": uid, "ticket_uid": "T1", "worked_on": worked_on, "hours": hours, "billable": "true"}


def vector(policy: str = "end_of_period", **tables: list[Row]) -> Facts:
    """The company of the worked vectors; a table given replaces the vectors' own."""
    mine = {"account_number": "1"}
    own: dict[str, list[Row]] = {stem: [] for stem in COLUMNS} | {
        "plans": [PLAN | {"count_policy": policy}],
        "companies": [mine | {"name": "Acme", "billing_plan": "Gold", "contract_term": "1-Year"}],
        "contacts": [mine | {"uid": f"C{n}", "name": f"Pat {n}", "active": "true"} for n in (1, 2)],
        "assets": [
            mine | {"uid": "WS1", "hostname": "WS1", "billing_type": "Workstation"},
            mine | {"uid": "SRV1", "hostname": "SRV1", "billing_type": "Server", "backup_bytes": str(TB * 5 // 2)},
        ],
        "tickets": [mine | {"uid": "T1"}],
        "time_entries": [entry("E1", "2025-10-05", "3.3333")],
    }
    return Facts(own | tables)


def october(**tables: list[Row]) -> dict[str, Any]:
    return calculate(vector(**tables), "1", "2025-10")


def of_account(**cells: str) -> list[Row]:
    return [{"account_number": "1", **cells}]


def test_v1_the_plain_month() -> None:
    bill = october()
    amounts = {"user": "200.00", "asset": "140.00", "backup": "72.50", "hours": "500.00"}
    assert bill["totals"] == amounts | {"item": "0.00", "tax": "0.00", "total": "912.50"}
    assert bill["counts"] == {"user": 2, "asset": 2, "backup": 2, "hours": 1, "item": 0, "tax": 0}


def test_v2_a_machine_that_is_not_charged_is_not_backed_up_either() -> None:
    bill = october(asset_overrides=[{"asset_uid": "SRV1", "billing_type": "No Charge"}])
    assert (bill["totals"]["asset"], bill["totals"]["backup"], bill["total"]) == ("15.00", "0.00", "715.00")


def test_v3_hours_of_2023_take_nothing_from_this_year() -> None:
    hours = [entry("E0", "2023-05-05", "40"), entry("E1", "2025-10-05", "3.3333")]
    bill = october(prepaid_hours=of_account(yearly="40"), time_entries=hours)
    assert (bill["totals"]["hours"], bill["prepaid"]["left_pool"]) == ("0.00", Fraction("36.6667"))


def test_v4_nothing_included_is_a_value() -> None:
    bill = october(client_overrides=of_account(key="backup_included_tb", value="0"))
    assert [row[2] for row in bill["rows"] if row[0] == "backup"] == ["50.00", "37.50"]


def test_v5_three_tenths() -> None:
    bill = october(time_entries=[entry(f"E{n}", "2025-10-05", "0.1") for n in range(3)])
    assert bill["totals"]["hours"] == "45.00"


def test_v6_half_a_second_before_midnight() -> None:
    bill = october(time_entries=[entry("E1", "2025-10-31T23:59:59.5Z", "1")])
    assert bill["totals"]["hours"] == "150.00"


def test_v7_a_laptop() -> None:
    answer = october(assets=of_account(uid="A1", hostname="WS9", billing_type="Laptop"))
    assert (answer["status"], "WS9" in answer["words"]) == ("unbillable", True)


def test_v8_line_items() -> None:
    items = [
        *of_account(name="Phone", kind="recurring", fee="10.00"),
        *of_account(name="Credit", kind="one_off", fee="-5.00", period="2025-10"),
        *of_account(name="Domain", kind="yearly", fee="120.00", month="10"),
    ]
    assert october(line_items=items)["totals"]["item"] == "125.00"


@pytest.mark.parametrize(
    ("policy", "amount"), [("end_of_period", "0.00"), ("any_day", "100.00"), ("prorate_actual", "48.39")]
)
def test_v9_a_leaver(policy: str, amount: str) -> None:
    people = [
        *of_account(uid="C1", name="Never", active="false"),
        *of_account(uid="C2", name="Left", active="true", active_to="2025-10-15"),
    ]
    assert calculate(vector(policy, contacts=people), "1", "2025-10")["totals"]["user"] == amount


@pytest.mark.parametrize(
    ("fees", "percent", "tax"),
    [
        (["8180.00"], "9.975", "815.96"),
        (["1091.50"], "15", "163.73"),
        (["348.11", "348.11"], "25", "174.06"),
        (["-2.50"], "7", "-0.18"),
    ],
)
def test_v10_tax(fees: list[str], percent: str, tax: str) -> None:
    items = [of_account(name=f"I{n}", kind="recurring", fee=fee)[0] for n, fee in enumerate(fees)]
    bill = october(line_items=items, tax_rates=of_account(category="item", percent=percent))
    assert bill["totals"]["tax"] == tax


def test_v11_currencies_without_and_with_three_decimals() -> None:
    assert money_text(half_up(Fraction("400") * Fraction("7.125") / 100, 0), 0) == "29"
    company = of_account(name="Acme", billing_plan="Gold", contract_term="1 Year", currency="BHD")
    bill = october(
        companies=company,
        plans=[PLAN | {"currency": "BHD", "per_hour": "10.000"}],
        time_entries=[entry("E1", "2025-10-05", "0.0333")],
    )
    assert bill["totals"]["hours"] == "0.333"


def test_v12_an_entry_that_turns_up_late() -> None:
    facts = vector()
    facts.arrivals["2025-10"] = [entry("E2", "2025-10-30", "1.5")]
    bills = calculate_months(facts, "1", ("2025-10", "2025-11"))
    assert bills["2025-10"]["total"] == "912.50"
    assert [row for row in bills["2025-11"]["rows"] if row[0] == "hours"] == [("hours", "late 2025-10", "225.00")]


def test_v13_a_late_entry_takes_from_the_new_years_pool() -> None:
    facts = vector(prepaid_hours=of_account(yearly="3.3333"))
    facts.arrivals["2025-12"] = [entry("E2", "2025-12-30", "2")]
    bills = calculate_months(facts, "1", PERIODS)
    assert bills["2025-12"]["prepaid"]["left_pool"] == 0
    assert (bills["2026-01"]["totals"]["hours"], bills["2026-01"]["counts"]["hours"]) == ("0.00", 1)
    assert bills["2026-01"]["prepaid"]["left_pool"] == Fraction("1.3333")


def test_v14_a_month_left_open_gets_what_the_next_one_left() -> None:
    facts = vector(prepaid_hours=of_account(yearly="10"), time_entries=[entry("E1", "2025-11-05", "5")])
    facts.arrivals["2025-11"] = [entry("E2", "2025-10-05", "10")]
    bills = calculate_months(facts, "1", ("2025-11", "2025-10"))
    assert (bills["2025-11"]["prepaid"]["used_pool"], bills["2025-10"]["prepaid"]["used_pool"]) == (5, 5)
    assert bills["2025-10"]["totals"]["hours"] == "750.00"


@cache
def companies() -> Facts:
    return random_facts(SEED, COMPANIES, ZONE)


@cache
def busy_companies() -> Facts:
    return random_facts(SEED, ACCEPTED, ZONE, busy=True)


@cache
def expected(period: str) -> dict[str, dict[str, Any]]:
    """Every company's answer when nothing was accepted before."""
    return {account: calculate(companies(), account, period) for account in companies().accounts}


@cache
def expected_months(order: tuple[str, ...]) -> dict[str, dict[str, dict[str, Any]]]:
    return {account: calculate_months(busy_companies(), account, order) for account in busy_companies().accounts}


def answers() -> list[dict[str, Any]]:
    """All that is compared, so that each rule can be looked for in it."""
    months = [answer for each in expected_months(PERIODS).values() for answer in each.values()]
    return [*expected("2025-10").values(), *expected("2026-02").values(), *months]


def rows_of(kind: str) -> list[tuple[str, Fraction]]:
    """Name and amount of every line of a kind that is billed in any of the months."""
    rows = [row for answer in answers() for row in answer.get("rows", ())]
    return [(name, Fraction(amount)) for line_kind, name, amount in rows if line_kind == kind]


def types_of(kind: str) -> set[str]:
    return {name.rsplit("(", 1)[-1].rstrip(")") for name, _ in rows_of(kind)}


def test_every_outcome_is_among_the_companies() -> None:
    assert {(answer["status"], answer.get("reason")) for answer in answers()} == {
        ("bill", None),
        ("skipped", "Inactive"),
        *(("unbillable", why) for why in ("no plan", "currency", "custom without cost", "no contract start")),
    }
    assert {answer.get("currency") for answer in answers()} >= {None, "USD", "JPY", "BHD", "EUR"}


def test_every_rate_comes_from_each_of_its_three_sources_and_is_overridden_by_nought() -> None:
    found = {(name, *rate) for answer in answers() for name, rate in answer.get("rates", {}).items()}
    sources = ("client_override", "plan", "default")
    assert {(name, source) for name, _, source in found} == {(name, source) for name in RATES for source in sources}
    assert {name for name, value, source in found if source == "client_override" and value == 0} == set(RATES)
    assert {answer.get("count_policy") for answer in answers()} == {None, *POLICIES}


def test_every_kind_of_charge_is_among_the_companies() -> None:
    assert types_of("asset") == {"Workstation", "Server", "VM", "Switch", "Firewall", "Custom", "No Charge"}
    assert types_of("user") == {"Paid", "Custom", "Free"}
    assert types_of("item") == {"Recurring", "One-Off", "Yearly"}
    assert {name for name, _ in rows_of("backup")} == {"base workstation", "base server", "overage"}
    assert {name for name, _ in rows_of("tax")} == {"user ", "asset ", "backup ", "hours ", "item ", "* "}
    assert all(any(amount < 0 for _, amount in rows_of(kind)) for kind in ("user", "asset", "item", "tax"))
    assert {name[:1] for name, _ in rows_of("item")} > set("=+-@")


@pytest.mark.parametrize("policy", ["prorate_actual", "prorate_30"])
@pytest.mark.parametrize("period", ["2025-10", "2026-02"])
def test_items_count_in_part(policy: str, period: str) -> None:
    shares = set()
    for account, answer in expected(period).items():
        if answer.get("count_policy") == policy:
            books = Books(companies(), account)
            shares |= {books.share(month_of(period), row) for row in books.of("assets") + books.of("contacts")}
    assert {0, 1} < shares
    assert len(shares) > 3


def test_hours_come_from_every_month_allowance_pool_and_rate() -> None:
    taken = [
        (month_of(period), answer["taken"])
        for months in expected_months(PERIODS).values()
        for period, answer in months.items()
        if answer["status"] == "bill"
    ]
    assert any(granted < month and hours for month, each in taken for granted, hours in each.monthly.items())
    assert any(each.pool and len(each.charged) > 1 for _, each in taken)
    late = {worked for month, each in taken for worked, hours in each.charged.items() if hours and worked < month}
    assert late == {month_of(period) for period in PERIODS[:3]}
    assert any(name.startswith(LATE) for name, _ in rows_of("hours"))


def cells_of(text: str) -> list[dict[str, str]]:
    """The rows of an invoice, after a look at its form."""
    assert text.split("\r\n", maxsplit=1)[0] == CSV_HEADER
    assert text.count("\n") == text.count("\r\n")
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    numbers = ("Qty", "Rate", "Amount")
    assert [
        cell for row in rows for name, cell in row.items() if name not in numbers and cell[:1] in tuple("=+-@")
    ] == []
    return rows


def differences(expected: dict[str, Any], got: dict[str, Any], invoice: str | None) -> list[str]:
    """What Ledger says otherwise than the rules, as (what, expected, got) in text."""
    if expected["status"] != "bill":
        named = any(word in got.get("reason", "") for word in expected["words"])
        wrong = got.get("status") != expected["status"] or not named
        return [f"{expected['status']} {expected['words']}: {got}"] if wrong else []
    if "lines" not in got:
        return [f"a bill of {expected['total']}: {got}"]
    wanted, found = seen_by_rules(expected), seen_by_ledger(expected, got)
    if invoice is not None:
        wanted["csv"] = sorted((ITEMS[kind], amount) for kind, _, amount in expected["rows"] if Fraction(amount))
        rows = cells_of(invoice)
        found["csv"] = sorted((row["Item(Product/Service)"], row["Amount"]) for row in rows)
        digits = len(expected["total"].partition(".")[2])
        assert [row for row in rows if half_up(product(row), digits) != Fraction(row["Amount"])] == []
    return [f"{name}: {wanted[name]} got {found[name]}" for name in wanted if wanted[name] != found[name]]


def product(row: dict[str, str]) -> Fraction:
    return Fraction(row["Qty"]) * Fraction(row["Rate"])


def seen_by_rules(bill: dict[str, Any]) -> dict[str, Any]:
    seen = {name: bill[name] for name in ("totals", "counts", "support_level", "currency", "due_date")}
    return seen | {
        "rates": {name: (value, source) for name, (value, source) in bill["rates"].items()},
        "lines": sorted((kind, Fraction(amount)) for kind, _, amount in bill["rows"]),
    }


def seen_by_ledger(expected: dict[str, Any], bill: dict[str, Any]) -> dict[str, Any]:
    lines = bill["lines"]
    seen = {name: bill[name] for name in ("totals", "support_level", "currency", "due_date")}
    return seen | {
        "counts": {kind: sum(line["kind"] == kind for line in lines) for kind in expected["counts"]},
        "rates": {rate["name"]: (Fraction(rate["value"]), rate["source"]) for rate in bill["rates"]},
        "lines": sorted((line["kind"], Fraction(line["amount"])) for line in lines),
    }


@dataclass
class Chain:
    """Codex, Archive and Ledger in this process, which speak to each other over HTTP."""

    ledger: Any
    folder: Path

    def load(self, tables: dict[str, list[Row]]) -> None:
        folder = self.folder / f"{len(list(self.folder.iterdir()))}"
        write(tables, folder, SEED)
        for cli in (codex_cli, ledger_cli):
            assert cli.group.main(["import", str(folder)], standalone_mode=False) == 0

    def bills(self, period: str) -> dict[str, dict[str, Any]]:
        found, cursor = {}, ""
        while True:
            answer = self.ledger.get(f"/api/bills?period={period}&limit=120&cursor={cursor}")
            assert answer.status_code == 200, answer.text
            found |= {row["account_number"]: row for row in map(json.loads, answer.text.splitlines())}
            cursor = answer.headers.get("X-Next-Cursor", "")
            if not cursor:
                return found

    def invoice(self, account: str, period: str) -> str:
        year, month = period.split("-")
        answer = self.ledger.get(f"/api/invoice/{account}/csv?year={year}&month={int(month)}")
        assert answer.status_code == 200, answer.text
        return str(answer.data.decode())

    def accept(self, period: str, accounts: list[str]) -> dict[str, str]:
        found = {}
        for start in range(0, len(accounts), 250):
            page = accounts[start : start + 250]
            answer = self.ledger.post("/api/bills/accept", json={"period": period, "accounts": page})
            assert answer.status_code == 200, answer.text
            found |= {row["account_number"]: row["status"] for row in map(json.loads, answer.text.splitlines())}
        return found


@contextmanager
def bridged(app: Any) -> Iterator[str]:
    """The address at which an app of this process answers real HTTP."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


@pytest.fixture
def chain(service: Any, people: dict[str, str], tmp_path: Path) -> Iterator[Chain]:
    billing = {"billing": {"timezone": ZONE}}
    folder = tmp_path / "imports"
    folder.mkdir()
    with ExitStack() as stack:
        peers = {}
        for kind, create_app in ((CodexSettings, create_codex), (ArchiveSettings, create_archive)):
            app = service(kind, create_app, billing, isolation="copy").app
            peers |= {f"{kind.NAME}_url": stack.enter_context(bridged(app)), f"{kind.NAME}_token": people["admin"]}
        archive_cli.group.main(["init"], standalone_mode=False)
        ledger = service(LedgerSettings, create_ledger, billing | {"services": peers}, isolation="copy")
        yield Chain(ledger, folder)


def compared(chain: Chain, wanted: dict[str, dict[str, Any]], period: str, invoices: int = 1) -> dict[str, list[str]]:
    """What differs, by account; of the invoices every n-th is read."""
    got = chain.bills(period)
    assert set(got) == set(wanted)
    found = {}
    for number, (account, answer) in enumerate(wanted.items()):
        is_read = number % invoices == 0 and answer["status"] == "bill" and "lines" in got[account]
        invoice = chain.invoice(account, period) if is_read else None
        found[account] = differences(answer, got[account], invoice)
    return {account: wrong for account, wrong in found.items() if wrong}


def test_random_companies_bill_as_the_rules_say_kind_by_kind(chain: Chain, set_clock: Any) -> None:
    set_clock("2026-03-01T12:00:00Z")
    chain.load(companies().tables)
    assert compared(chain, expected("2025-10"), "2025-10") == {}
    assert compared(chain, expected("2026-02"), "2026-02", invoices=20) == {}


@pytest.mark.parametrize("order", [PERIODS, OUT_OF_ORDER], ids=["in order", "out of order"])
def test_accepted_months_late_hours_and_pools_bill_as_the_rules_say(
    chain: Chain, set_clock: Any, order: tuple[str, ...]
) -> None:
    facts, sealed = busy_companies(), {}
    for number, period in enumerate(order):
        latest = max(order[: number + 1])
        set_clock(f"{month_text(month_of(latest) + 1)}-01T12:00:00Z")
        chain.load({"time_entries": facts.arrivals.get(order[number - 1], [])} if number else facts.tables)
        wanted = {account: months[period] for account, months in expected_months(order).items()}
        assert compared(chain, wanted, period, invoices=10) == {}
        assert chain.accept(period, facts.accounts) == {
            account: OUTCOMES[each["status"]] for account, each in wanted.items()
        }
        sealed[period] = chain.bills(period)
    assert {period: chain.bills(period) for period in order} == sealed


def test_a_cent_or_a_line_more_is_a_difference() -> None:
    bill = next(answer for answer in answers() if answer["status"] == "bill" and answer["currency"] == "USD")
    got = seen_by_rules(bill) | {
        "rates": [
            {"name": name, "value": str(value), "source": source} for name, (value, source) in bill["rates"].items()
        ],
        "lines": [{"kind": kind, "amount": amount} for kind, _, amount in bill["rows"]],
    }
    assert differences(bill, got, None) == []
    cent = got | {
        "totals": got["totals"] | {"item": money_text(Fraction(bill["totals"]["item"]) + Fraction("0.01"), 2)}
    }
    line = got | {"lines": [*got["lines"], {"kind": "asset", "amount": "0.00"}]}
    assert [len(differences(bill, each, None)) for each in (cent, line)] == [1, 2]
    assert differences(bill, {"status": "unbillable", "reason": "no plan"}, None) != []
