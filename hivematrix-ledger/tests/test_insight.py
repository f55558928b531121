"""Why a bill is what it is, as the billing clerk asks it over HTTP."""

import dataclasses
from decimal import Decimal

import orjson
import pytest
from hivematrix_common.domain.period import Period
from hivematrix_ledger import clients
from hivematrix_ledger.services import bills, hours


@pytest.fixture
def two_months(world, case):
    """September is accepted; October has one machine more, another price and an hour that was changed since."""
    case.facts["entries"].clear()
    case.entry("1", worked_on="2025-09-10", uid="e-9")
    assert world.accept("620547", period="2025-09")["620547"]["total"] == "562.50"
    case.asset("PC2", "Workstation")
    case.facts["entries"][0]["hours"] = "2"
    world.put("client_overrides", "620547", "per_user", "90", None, None)
    return world


class TestExplanation:
    def test_every_line_shows_its_records_and_comes_out_again(self, world):
        told = world.get("/api/bills/620547/2025-10/explain").json
        assert (told["status"], told["totals"]["total"]) == ("preview", "912.50")
        assert [line["replayed"] for line in told["lines"]] == [line["amount"] for line in told["lines"]]
        hours = next(line for line in told["lines"] if line["kind"] == "hours")
        assert hours["records"] == [
            {
                "table": "entries",
                "uid": "e-1",
                "ticket": "INC-7",
                "worked_on": "2025-10-05",
                "hours": "3.3333",
                "billable": True,
            }
        ]
        assert hours["why"]["exact"] == "499.995"
        assert hours["set_by"] == {
            "table": "plans",
            "plan_name": "Gold",
            "term": "1 Year",
            "valid_from": "2020-01-01",
            "per_hour": "150",
        }

    def test_the_override_that_won_is_named(self, world, case):
        world.put("client_overrides", "620547", "per_user", "90", "2025-10", None)
        world.put("client_overrides", "620547", "per_hour", "1", None, "2025-09")
        case.asset_override("WS1", "Custom", "7")
        world.put("asset_overrides", "a-WS1", "620547", "Custom", "7")
        lines = world.get("/api/bills/620547/2025-10/explain").json["lines"]
        by_name = {line["name"]: line for line in lines}
        assert by_name["Ann"]["set_by"]["value"] == "90"
        assert by_name["Billable hours"]["set_by"]["table"] == "plans"
        assert [record["table"] for record in by_name["WS1"]["records"]] == ["assets", "asset_overrides"]

    def test_who_has_no_bill_is_told_why(self, world, case):
        case.facts["billing_plan"] = "Inactive"
        answer = world.get("/api/bills/620547/2025-10/explain")
        assert (answer.status_code, answer.json["code"]) == (409, "conflict")
        assert "skipped, the plan is Inactive" in answer.json["detail"]


class TestLateChanges:
    """An open past month is billed from what rows say today; its preview lists those that changed after its end."""

    def late(self, world, period="2025-10"):
        return [one["what"] for one in world.get(f"/api/bills/620547/{period}/explain").json["changed_after"]]

    def put(self, world, key, value, **window):
        said = {"key": key, "value": value} | window
        assert world.ledger.call("PUT", "/api/overrides/client/620547", json=said).status_code < 300

    def test_a_row_changed_after_the_month_is_told(self, world, set_clock):
        set_clock("2025-10-31T23:59:59Z")
        self.put(world, "per_user", "95")
        assert self.late(world) == []
        set_clock("2025-11-01T00:00:00Z")
        self.put(world, "per_user", "90")
        set_clock("2025-11-02T10:00:00Z")
        assert self.late(world) == ["per_user: value 95 → 90"]
        [told] = world.get("/api/bills/620547/2025-10/explain").json["changed_after"]
        assert (told["at"], told["actor"], told["rule"]) == ("2025-11-01T00:00:00Z", "admin", "client_overrides")
        assert self.late(world, "2025-11") == []

    def test_a_row_that_names_other_months_is_not(self, world):
        self.put(world, "per_user", "90", from_period="2025-11")
        self.put(world, "per_server", "90", to_period="2025-09")
        assert self.late(world) == []
        self.put(world, "per_vm", "90", from_period="2025-10", to_period="2025-10")
        items = "/api/overrides/line-items/620547"
        once = {"kind": "one_off", "fee": "5"}
        world.ledger.post(items, json=once | {"name": "Move", "period": "2025-11"})
        world.ledger.post(items, json={"name": "Domain", "kind": "yearly", "month": 10, "fee": "20"})
        assert [what.split(":")[0] for what in self.late(world)] == ["Domain added", "per_vm added"]

    def change(self, kind, before, after, at="2025-11-03T08:00:00Z"):
        return {"at": at, "actor": "tess", "kind": kind, "key": "c1", "before": before, "after": after}

    def test_a_fact_changed_after_the_month_is_told_when_a_bill_is_made_of_it(self, world):
        gone = self.change("contacts", {"active_to": None}, {"active_to": "2025-10-31"})
        title = self.change("contacts", {"title": None}, {"title": "Owner"})
        ticket = self.change("tickets", {"subject": "A"}, {"subject": "B"})
        before = self.change("contacts", {"active": True}, {"active": False}, at="2025-10-31T23:59:59Z")
        world.codex.changes = [gone, title, ticket, before]
        assert self.late(world) == ["c1 active_to — → 2025-10-31"]
        [told] = world.get("/api/bills/620547/2025-10/explain").json["changed_after"]
        assert (told["at"], told["actor"], told["rule"]) == ("2025-11-03T08:00:00Z", "tess", "contacts")

    def test_of_a_company_that_came_after_the_month_additions_are_no_changes(self, world):
        added = self.change("contacts", None, {"uid": "c1", "active": True})
        world.codex.changes = [added]
        assert len(self.late(world)) == 1
        world.codex.changes = [added, self.change("companies", None, {"billing_plan": "Gold"})]
        assert self.late(world) == []

    def test_an_accepted_month_has_none(self, world):
        self.put(world, "per_user", "90")
        assert self.late(world) != []
        world.accept("620547")
        assert self.late(world) == []


class TestDifference:
    def test_the_classes_sum_to_the_change(self, two_months):
        told = two_months.get("/api/bills/620547/2025-10/diff").json
        assert (told["period"], told["with"], told["currency"]) == ("2025-10", "2025-09", "USD")
        assert told["before"] == {"status": "sealed", "total": "562.50", "reason": None}
        assert told["after"] == {"status": "preview", "total": "407.50", "reason": None}
        assert told["classes"] == [
            {"class": "item added", "amount": "15.00"},
            {"class": "override changed", "amount": "-20.00"},
            {"class": "hours", "amount": "-150.00"},
        ]
        assert told["change"] == "-155.00"
        assert {change["name"] for change in told["changes"]} == {"PC2", "Ann", "Bob", "Billable hours"}

    def test_of_all_companies_a_line_each(self, two_months, company):
        two_months.codex.hold(company("183729"))
        answer = two_months.get("/api/months/2025-10/diff?limit=1")
        [first] = map(orjson.loads, answer.data.splitlines())
        assert (first["account_number"], first["change"]) == ("183729", "150.00")  # its hour of October
        answer = two_months.get(f"/api/months/2025-10/diff?cursor={answer.headers['X-Next-Cursor']}")
        [second] = map(orjson.loads, answer.data.splitlines())
        assert (second["account_number"], second["change"]) == ("620547", "-155.00")
        assert sum(Decimal(one["amount"]) for one in second["classes"]) == Decimal("-155.00")

    def test_with_a_month_without_a_bill_all_of_it_is_the_change(self, world, case):
        case.facts["billing_plan"] = "Later"
        case.plans = [case.plan(name="Later", valid_from="2025-10-01")]
        told = world.get("/api/bills/620547/2025-10/diff").json
        assert told["before"]["status"] == "unbillable"
        assert (told["before"]["total"], told["change"]) == (None, "912.50")

    def test_a_company_that_codex_does_not_know_is_not_found(self, world):
        assert world.get("/api/bills/1/2025-10/diff").status_code == 404

    def test_months_are_checked(self, world):
        answer = world.get("/api/bills/620547/2025-10/diff?with=2025-13")
        assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "with")


class TestLeakage:
    def test_findings_are_told_and_one_is_let_stand(self, two_months):
        report = two_months.get("/api/bills/620547/2025-10/leakage").json
        assert (report["status"], report["open"]) == ("preview", 3)
        assert [(one["kind"], one["subject"]) for one in report["findings"]] == [
            ("new", "a-PC2"),
            ("altered_hours", "e-9"),
            ("count_moved", "asset"),
        ]
        key = report["findings"][0]["key"]
        address = f"/api/bills/620547/2025-10/leakage/{key}/acknowledge"
        for _ in range(2):  # the same again changes nothing
            told = two_months.ledger.post(address, json={"reason": "bought in October"}).json
            assert told["acknowledged"] == {"by": "admin", "reason": "bought in October"}
        report = two_months.get("/api/bills/620547/2025-10/leakage").json
        assert report["open"] == 2
        assert report["findings"][0]["acknowledged"]["reason"] == "bought in October"

    def test_another_value_asks_again(self, two_months, case):
        report = two_months.get("/api/bills/620547/2025-10/leakage").json
        for finding in report["findings"]:
            address = f"/api/bills/620547/2025-10/leakage/{finding['key']}/acknowledge"
            assert two_months.ledger.post(address, json={"reason": "fine"}).status_code == 200
        case.facts["entries"][0]["hours"] = "5"
        report = two_months.get("/api/bills/620547/2025-10/leakage").json
        assert [one["kind"] for one in report["findings"] if not one["acknowledged"]] == ["altered_hours"]

    def test_hours_changed_months_after_they_were_billed_are_told_until_they_are_put_right(self, two_months, case):
        """In every report from then on; let stand in one of them they stand in all, and a replacement ends it."""

        def altered(period):
            found = two_months.get(f"/api/bills/620547/{period}/leakage").json["findings"]
            return [one for one in found if one["kind"] == "altered_hours"]

        case.facts["entries"][0]["hours"] = "1"
        two_months.accept("620547", period="2025-10")
        assert [altered(period) for period in ("2025-09", "2025-10", "2025-11", "2025-12")] == [[], [], [], []]
        case.facts["entries"][0]["hours"] = "2"
        for period in ("2025-09", "2025-10", "2025-11", "2025-12"):
            [found] = altered(period)
            assert (found["detail"], found["acknowledged"]) == ("1 h on 620547-202509: hours are 2 now", None)
        address = f"/api/bills/620547/2025-11/leakage/{found['key']}/acknowledge"
        assert two_months.ledger.post(address, json={"reason": "agreed"}).status_code == 200
        assert altered("2025-12")[0]["acknowledged"] == {"by": "admin", "reason": "agreed"}
        assert two_months.correct("replace", period="2025-09").status_code == 201
        assert [altered(period) for period in ("2025-09", "2025-10", "2025-11", "2025-12")] == [[], [], [], []]

    def test_what_is_not_in_the_report_cannot_be_let_stand(self, two_months):
        address = "/api/bills/620547/2025-10/leakage/0123456789abcdef/acknowledge"
        answer = two_months.ledger.post(address, json={"reason": "fine"})
        assert (answer.status_code, answer.json["code"]) == (404, "not_found")

    def test_without_a_reason_nothing_stands(self, two_months):
        address = "/api/bills/620547/2025-10/leakage/0123456789abcdef/acknowledge"
        answer = two_months.ledger.post(address, json={"reason": ""})
        assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "reason")

    def test_of_all_companies_a_line_each(self, two_months, company):
        two_months.codex.hold(company("183729"))
        lines = [orjson.loads(line) for line in two_months.get("/api/months/2025-10/leakage").data.splitlines()]
        assert [(line["account_number"], line["open"]) for line in lines] == [("183729", 0), ("620547", 3)]


class TestWhatIf:
    def ask(self, world, **supposed):
        body = {"account_number": "620547", "period": "2025-12"} | supposed
        return world.ledger.post("/api/what-if", json=body)

    def test_a_month_to_come_is_billed_as_things_are_and_as_supposed(self, world):
        told = self.ask(world, counts={"user": 3}, overrides={"per_server": "100"}, hours="2").json
        assert (told["before"]["total"], told["after"]["total"]) == ("412.50", "787.50")
        assert told["classes"] == [
            {"class": "item added", "amount": "100.00"},
            {"class": "override changed", "amount": "-25.00"},
            {"class": "hours", "amount": "300.00"},
        ]
        assert told["bill"]["totals"]["total"] == "787.50"

    def test_nothing_is_written(self, world):
        tables = ("previews", "client_overrides", "sealing", "acceptances")
        self.ask(world, counts={"user": 3})
        assert [world.rows(f"SELECT * FROM {table}") for table in tables] == [[], [], [], []]

    @pytest.mark.parametrize("period", ["2025-10", "2026-12"])
    def test_only_this_month_and_the_next_twelve(self, world, period):
        answer = self.ask(world, period=period)
        assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, "period")

    @pytest.mark.parametrize(
        ("supposed", "field"),
        [
            ({"counts": {"user": -1}}, "counts.user"),
            ({"counts": {"printer": 1}}, "counts.printer.[key]"),
            ({"overrides": {"per_user": "1.23456"}}, "overrides.per_user"),
            ({"hours": "-1"}, "hours"),
            ({"term": "4 Year"}, "term"),
        ],
    )
    def test_what_cannot_be_is_refused_by_name(self, world, supposed, field):
        answer = self.ask(world, **supposed)
        assert (answer.status_code, answer.json["errors"][0]["field"]) == (422, field)


class TestHoursBank:
    def test_the_year_s_statement_is_made_of_sealed_and_open_months(self, world, case):
        world.put("prepaid_hours", "620547", "1", "5", "calendar", 0)
        case.facts["entries"].clear()
        case.entry("2", worked_on="2025-09-10", uid="e-9")
        case.entry("1.5", worked_on="2025-10-10", uid="e-10")
        assert world.accept("620547", period="2025-09")["620547"]["status"] == "sealed"
        told = world.get("/api/hours/620547?to=2025-10").json
        used = [(row["uid"], row["monthly"], row["pool"]) for row in told["rows"] if row["what"] == "used"]
        assert used == [("e-9", "-1", "-1"), ("e-10", "-1", "-0.5")]
        assert told["balance"]["pool"] == {"granted": "5", "used": "1.5", "expired": "0", "left": "3.5"}
        assert told["months"][0]["period"] == "2024-11"

    def test_two_questions_to_codex_give_each_month_the_entries_it_would_give(self, world, case, monkeypatch):
        """Codex gives a month the entries of twelve months up to it, and older ones that came late."""
        asked, feed = [], clients.Codex._feed
        case.facts["entries"].clear()
        case.entry("9", worked_on="2023-11-05", uid="too-old")
        case.entry("1", worked_on="2023-11-06", uid="old-but-late")
        for month in range(24):
            year, of_year = divmod(2023 * 12 + 11 + month, 12)
            case.entry("0.25", worked_on=f"{year}-{of_year + 1:02}-15", uid=f"e-{month:02}")
        late = {"old-but-late", "e-03", "e-14"}

        def windowed(codex, query):
            asked.append(query["period"])
            until = Period.parse(query["period"])
            since, found = str(until.plus(-11).first), feed(codex, query)
            for facts in found.companies:
                facts["entries"] = [
                    entry
                    for entry in facts["entries"]
                    if entry["worked_on"] <= str(until.last) and (entry["worked_on"] >= since or entry["uid"] in late)
                ]
            return found

        monkeypatch.setattr(clients.Codex, "_feed", windowed)
        with world.ledger.app.test_request_context():
            until, ledger = Period(2025, 10), world.ledger.app.extensions["hivematrix_ledger"]
            made = {period: made.companies for period, made in hours._feeds(ledger, "620547", until)}
            assert asked == ["2024-11", "2025-10"]
            assert made == {period: ledger.codex.feed_of(period, ["620547"]).companies for period in made}
        assert len(made) == 12


class TestInsisting:
    """Where the configuration insists, nothing is accepted while a finding is open."""

    @pytest.fixture
    def strict(self, make_world, case):
        case.asset_override("WS1", "Custom", "0")
        world = make_world(leakage={"insist": "yes"})
        world.put("asset_overrides", "a-WS1", "620547", "Custom", "0")
        return world

    def test_an_open_finding_refuses_the_bill_and_is_named(self, strict):
        refused = strict.accept("620547")["620547"]
        assert (refused["status"], refused["code"], refused["retryable"]) == ("failed", "findings_open", False)
        assert refused["reason"] == "1 findings are open, the first: WS1 counts as Custom and costs nothing."
        assert strict.archive.sealed == {}

    def test_one_bill_is_refused_as_a_problem(self, strict):
        body = {"account_number": "620547", "year": 2025, "month": 10}
        answer = strict.ledger.post("/api/bill/accept", json=body)
        assert (answer.status_code, answer.json["code"]) == (409, "findings_open")
        assert answer.json["findings"][0]["kind"] == "uncharged"

    def test_let_stand_it_is_accepted(self, strict):
        [finding] = strict.get("/api/bills/620547/2025-10/leakage").json["findings"]
        address = f"/api/bills/620547/2025-10/leakage/{finding['key']}/acknowledge"
        assert strict.ledger.post(address, json={"reason": "on loan"}).status_code == 200
        assert strict.accept("620547")["620547"]["status"] == "sealed"

    def test_facts_that_change_while_findings_are_looked_for_are_not_accepted(self, strict, monkeypatch):
        whole = bills.compute

        def compute(session, ledger, period, feed, *more):
            for number, outcome in enumerate(whole(session, ledger, period, feed, *more)):
                yield dataclasses.replace(outcome, digest=f"sha256:{number:064}") if feed is fed[-1] else outcome

        fed = []
        feed_of = clients.Codex.feed_of
        monkeypatch.setattr(clients.Codex, "feed_of", lambda *asked: fed.append(feed_of(*asked)) or fed[-1])
        monkeypatch.setattr(bills, "compute", compute)
        refused = strict.accept("620547")["620547"]
        assert (refused["code"], refused["retryable"]) == ("findings_open", True)
