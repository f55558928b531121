from dataclasses import dataclass
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

import orjson
import pytest
from hivematrix_common.domain.canonical import canonical, digest
from hivematrix_common.domain.period import Period
from hivematrix_ledger.app import create_app
from hivematrix_ledger.config import LedgerSettings
from hivematrix_ledger.domain.acceptance import entry_uids, settled_month
from hivematrix_ledger.domain.engines import Bill, NoBill, compute_bill
from hivematrix_ledger.domain.inputs import Defaults, Page, PlanBook, Rows, build_inputs, candidates
from hypothesis import strategies as st
from sqlalchemy import text
from werkzeug.wrappers import Response

names = st.text(max_size=12).map(lambda text: text.replace("\x00", "")).filter(lambda text: text.isprintable())
odd_names = names | st.sampled_from(["=A1", "+1", "-x", "@me", 'a "b", c', "line\r\nbreak", "Öl"])
money = st.decimals(0, 500, places=4).map(lambda value: format(value, "f"))
signed = st.decimals(-500, 500, places=4).map(lambda value: format(value, "f"))
days = st.integers(1, 31).map(lambda day: f"2025-10-{day:02}") | st.just("2025-07-01") | st.just("2026-02-01")
worked = st.dates(min_value=date(2024, 11, 1), max_value=date(2025, 10, 31))
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


class FakeCodex:
    """Codex as Ledger asks it, holding Cases."""

    def __init__(self, peer) -> None:
        self.peer, self.cases, self.changes = peer, {}, []
        peer.answers("GET", "/api/billing-inputs", self.billing_inputs)
        peer.answers("GET", "/api/companies", self.companies)
        peer.answers("GET", "/api/companies/bulk", self.bulk)
        peer.answers("GET", "/billing-plans/api/plans", lambda _request: answer({"plans": [Case().plan()]}))

    def hold(self, *cases) -> None:
        self.cases |= {case.facts["account_number"]: case for case in cases}
        for case in cases:
            self.hold_parts(case.facts)

    def hold_parts(self, facts) -> None:
        """One company, its assets and its contacts, each at an address of its own."""
        path = f"/api/companies/{facts['account_number']}"
        head = {name: facts[name] for name in ("account_number", "name")}
        self.peer.answers("GET", path, lambda _request: answer(head))
        self.peer.answers("GET", f"{path}/history", self.history)
        for kind in ("assets", "contacts"):
            self.peer.answers("GET", f"{path}/{kind}", lambda _r, kind=kind: answer({kind: facts[kind], "next": None}))

    def history(self, request):
        """What was changed since the moment that is asked for."""
        since = request.args["since"]
        return answer({"changes": [change for change in self.changes if change["at"] >= since]})

    def lack(self, account) -> None:
        """Say as the real one does that there is no such company."""
        for part in ("", "/assets", "/contacts"):
            path = f"/api/companies/{account}{part}"
            self.peer.answers("GET", path, {"code": "not_found", "detail": f"There is no company {account}."}, 404)

    def billing_inputs(self, request):
        wanted = request.args.get("accounts", "")
        cursor, limit = request.args.get("cursor", ""), int(request.args["limit"])
        if not cursor.isalnum() and cursor:
            return answer({"code": "invalid", "errors": [{"field": "cursor", "message": "expected another"}]}, 422)
        found = [account for account in sorted(self.cases) if account > cursor]
        found = [account for account in found if not wanted or account in wanted.split(",")]
        lines = [dict(self.cases[account].facts) for account in found[:limit]]
        if lines:
            lines[0]["plans"] = self.cases[found[0]].plans
        headers = {"X-Next-Cursor": found[limit - 1]} if len(found) > limit else {}
        return Response(b"".join(orjson.dumps(line) + b"\n" for line in lines), headers=headers)

    def companies(self, _request):
        return answer(
            {
                "companies": [{"account_number": a, "name": self.cases[a].facts["name"]} for a in sorted(self.cases)],
                "next": None,
                "total": len(self.cases),
            }
        )

    def bulk(self, _request):
        rows = [
            {"company": {"account_number": account}, "assets": case.facts["assets"], "contacts": case.facts["contacts"]}
            for account, case in sorted(self.cases.items())
        ]
        return answer({"companies": rows, "next": None})


class FakeArchive:
    """Archive as Ledger asks it: keeps what it is sent, by invoice number, and answers as the real one does."""

    def __init__(self, peer) -> None:
        self.peer, self.sealed, self.batches = peer, {}, 0
        self.before_answer = lambda: None
        self.erased = set()
        peer.answers("POST", "/api/snapshots/batch", self.batch)
        peer.answers("GET", "/api/snapshots/sealed", self.list_sealed)

    def batch(self, request):
        self.batches += 1
        lines = [orjson.loads(line) for line in request.get_data().splitlines()]
        before = dict(self.sealed)
        answers = [self.seal(line) for line in lines]
        if request.args.get("together") and any(line["status"] == "refused" for line in answers):
            self.sealed = before
        self.before_answer()
        return Response(b"".join(orjson.dumps(line) + b"\n" for line in answers))

    def seal(self, line):
        data = canonical(line["body"])
        assert digest(data) == line["digest"]
        assert set(line["meta"]) <= {"created_by", "notes", "job"}
        number = line["body"]["invoice_number"]
        if line["body"]["company_name"] == "Refused":
            problem = {"code": "invalid", "status": 422, "detail": "no"}
            return {"invoice_number": number, "status": "refused", "problem": problem}
        status = "already" if number in self.sealed else "sealed"
        kept = self.sealed.setdefault(number, line | {"data": data, "index": len(self.sealed)})
        self.peer.answers("GET", f"/api/snapshot/{number}/body", lambda _request: Response(kept["data"]))
        self.peer.answers("GET", f"/api/snapshot/{number}/csv", lambda _request: Response(kept["csv"]))
        if kept["digest"] != line["digest"]:
            problem = {"code": "already_accepted", "status": 409, "detail": "sealed with other content"}
            return {"invoice_number": number, "status": "refused", "problem": problem}
        return {"status": status, **self.receipt(kept)}

    def receipt(self, kept):
        body = kept["body"]
        return {
            "invoice_number": body["invoice_number"],
            "body": kept["digest"],
            "log_index": kept["index"],
            "sealed_at": "2025-11-02T10:00:00Z",
            "checkpoint": "hivematrix.invalid/x\n1\n",
        }

    def list_sealed(self, request):
        wanted = request.args["accounts"].split(",")
        lines = []
        for kept in self.sealed.values():
            body = kept["body"]
            if body["period"] == request.args["period"] and body["account_number"] in wanted:
                revision = int(body["invoice_number"].partition("-C")[2] or 0)
                head = {"account_number": body["account_number"], "kind": body["kind"], "revision": revision}
                document = None if body["invoice_number"] in self.erased else body
                lines.append(orjson.dumps(head | self.receipt(kept) | {"document": document}) + b"\n")
        return Response(b"".join(lines))


def answer(value, status=200):
    return Response(orjson.dumps(value), status, content_type="application/json")


@dataclass
class World:
    """Ledger between its fake peers; it is 2 November 2025."""

    ledger: Any
    codex: FakeCodex
    archive: FakeArchive

    def get(self, path, **arguments):
        return self.ledger.get(path, **arguments)

    def accept(self, *accounts, period="2025-10", **more):
        body = {"period": period, "accounts": list(accounts)} | more
        lines = self.ledger.post("/api/bills/accept", json=body).data.splitlines()
        return {line["account_number"]: line for line in map(orjson.loads, lines)}

    def correct(self, mode="credit", reason="billed in error", account="620547", period="2025-10", **more):
        headers = more.pop("headers", {})
        body = {"mode": mode, "reason": reason} | more
        return self.ledger.post(f"/api/bills/{account}/{period}/correct", json=body, headers=headers)

    def rows(self, statement):
        session = self.ledger.db.session
        try:
            return [tuple(row) for row in session.execute(text(statement))]
        finally:
            session.rollback()

    def put(self, table, *values):
        """A row as an import would leave it."""
        self.ledger.db.session.execute(text(f"INSERT INTO {table} VALUES {values}".replace("None", "NULL")))
        self.ledger.db.session.commit()


@pytest.fixture
def make_world(service, fake_peer, set_clock, case):
    """`make_world(isolation=...)`: Ledger between fake peers, with the company of the worked vectors in Codex."""

    def make(isolation="savepoint", **more):
        set_clock("2025-11-02T10:00:00Z")
        codex, archive = FakeCodex(fake_peer("codex")), FakeArchive(fake_peer("archive"))
        sections = more | {"services": {"codex_url": codex.peer.url, "archive_url": archive.peer.url}}
        codex.hold(case)
        return World(service(LedgerSettings, create_app, sections=sections, isolation=isolation), codex, archive)

    return make


@pytest.fixture
def world(make_world):
    return make_world()


@pytest.fixture
def own_world(make_world):
    """One with a database of its own, where several connections are needed."""
    return make_world("copy")


@pytest.fixture
def company(new_case):
    """`company("183729")`: another company with one person and one hour in October."""

    def make(account, name="Other"):
        made = new_case()
        made.facts |= {"account_number": account, "name": name}
        made.contact(f"Person of {account}", uid=f"c-{account}")
        made.entry("1", uid=f"e-{account}")
        return made

    return make


@st.composite
def companies(draw, new_case):
    case = new_case()
    currency = draw(st.sampled_from(["USD", "USD", "JPY", "BHD"]))
    policy = draw(st.sampled_from(["end_of_period", "any_day", "prorate_actual", "prorate_30"]))
    rates = {name: draw(st.none() | money) for name in ("per_user", "per_server", "per_hour", "backup_per_tb")}
    case.plans = [case.plan(currency=currency, count_policy=policy, rates=rates)]
    case.facts |= {"currency": currency, "name": draw(odd_names) or "X", "contract_start": "2024-02-29"}
    for n, name in enumerate(draw(st.lists(odd_names, max_size=4))):
        case.contact(name, uid=f"c-{n}", active_from=draw(st.none() | days), active_to=draw(st.none() | days))
    kinds = st.sampled_from(["Workstation", "Server", "VM", "Switch", "No Charge"])
    for n, kind in enumerate(draw(st.lists(kinds, max_size=4))):
        size = draw(st.integers(0, 2**43))
        case.asset(f"h{n}", kind, backup_bytes=size, active_from=draw(st.none() | days))
    for n, fee in enumerate(draw(st.lists(signed, max_size=3))):
        case.line_item(draw(odd_names), "recurring", fee, uid=f"i{n}")
        case.manual_user(f"m{n}", "Custom", fee)
    for day, hours in draw(st.lists(st.tuples(worked, money), max_size=6)):
        case.entry(hours, worked_on=day.isoformat(), billable=draw(st.booleans()))
    if draw(st.booleans()):
        year = draw(st.sampled_from(["calendar", "contract"]))
        case.prepaid(draw(st.none() | money), draw(st.none() | money), year, draw(st.integers(0, 11)))
    for category in draw(st.sets(st.sampled_from(["user", "item", "*"]))):
        case.tax(category, draw(money))
    return case


@pytest.fixture(scope="session")
def any_company(new_case):
    return companies(new_case)
