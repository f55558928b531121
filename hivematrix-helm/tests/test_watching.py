"""The scheduled probes, their history, and the status page that everybody sees."""

import time
from datetime import UTC, date, datetime, timedelta

import pytest
from hivematrix_common import metrics
from hivematrix_common.errors import Problem
from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.domain.watching import Probe
from hivematrix_helm.models import days as day_table
from hivematrix_helm.services import history, planned, probing, rounds, status
from hivematrix_helm.store import health as store
from hivematrix_helm.store import session
from sqlalchemy import func, insert, select
from sqlalchemy.exc import OperationalError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
SECOND, MINUTE, DAY = timedelta(seconds=1), timedelta(minutes=1), timedelta(days=1)
SECRET = "database: no connection to 10.9.8.7 as helm_user"


@pytest.fixture
def at(monkeypatch):
    """at(instant): what the clock says from now on."""
    return lambda instant: monkeypatch.setenv("HIVEMATRIX_NOW", instant.isoformat())


@pytest.fixture
def probed(helm, at):
    """probed(instant, ledger="fault", codex=1500): a round; who is not named answers in 20 ms."""

    def once(instant, **told):
        at(instant)
        looks = []
        for name in SERVICES:
            what = told.get(name, 20.0)
            fault, ms = (what, 5.0) if isinstance(what, str) else ("", float(what))
            looks.append((Probe(name, instant, ms, fault), {"version": "1.0.0", "uptime_s": 7}))
        probing.record(looks, helm.settings.health.slow_ms)

    return once


@pytest.fixture
def board(helm):
    """board(): the status document, made now."""
    return lambda: status.document(helm.settings, status.clock.now())


def part(document, name):
    return next(one for one in document["parts"] if one["name"] == name)


class TestHistory:
    def test_a_minute_counts_its_probes_and_the_day_its_minutes(self, probed):
        for place in range(8):
            probed(NOON + 15 * SECOND * place, ledger=SECRET if place in {1, 2, 3} else 20)
        [row] = [row for row in store.days_since(NOON.date()) if row.service == "ledger"]
        assert (row.up, row.slow, row.down, row.max_ms) == (1, 0, 1, 20)
        [row] = [row for row in store.days_since(NOON.date()) if row.service == "codex"]
        assert (row.up, row.slow, row.down) == (2, 0, 0)

    def test_slow_is_up_and_minutes_nobody_measured_count_for_nobody(self, probed, board):
        probed(NOON, ledger=3000)
        probed(NOON + 30 * MINUTE, ledger=3000)
        bills = part(board(), "Bills and invoices")
        assert (bills["words"], bills["uptime_words"]) == ("Slow", "100 %")

    def test_the_bars_are_the_same_however_often_they_are_made(self, probed):
        probed(NOON)
        before = [tuple(row) for row in store.days_since(date(2020, 1, 1))]
        for _ in range(3):
            store.roll(NOON.date())
        assert [tuple(row) for row in store.days_since(date(2020, 1, 1))] == before

    def test_minutes_end_after_a_fortnight_and_bars_after_a_year(self, probed):
        probed(NOON)
        probed(NOON + probing.MINUTES_KEPT + MINUTE)
        assert store.count_minutes(SERVICES) == len(SERVICES)
        assert len(store.days_since(date(2020, 1, 1))) == 2 * len(SERVICES)
        probed(NOON + probing.DAYS_KEPT + DAY)
        assert len(store.days_since(date(2020, 1, 1))) == 2 * len(SERVICES)

    def test_a_clock_that_was_set_back_takes_nothing_from_a_bar(self, probed):
        for place in range(3):
            probed(NOON + place * MINUTE)
        probed(NOON + 40 * DAY)  # the minutes of the first day end
        probed(NOON + 5 * MINUTE)
        [row] = [row for row in store.days_since(NOON.date()) if row.service == "ledger" and row.day == NOON.date()]
        assert row.up == 3

    def test_what_the_database_could_not_take_is_written_down_when_it_is_back(self, helm, at, monkeypatch):
        at(NOON)
        gauges = probing.Gauges(metrics.of(helm.app).registry)
        watch, real = probing.Watch(helm.settings, gauges), store.add_probe

        def away(*_):
            raise OperationalError("insert", {}, Exception("gone"))

        monkeypatch.setattr(store, "add_probe", away)
        for place in range(3):
            at(NOON + place * MINUTE)
            with pytest.raises(OperationalError):
                watch.look()
        monkeypatch.setattr(store, "add_probe", real)
        at(NOON + 3 * MINUTE)
        watch.look()
        assert store.count_minutes(["ledger"]) == 4
        [open_one] = [one for one in planned.incidents() if one["service"] == "ledger"]
        assert open_one["began_at"] == "2026-03-01T12:00:00Z"  # nobody listens at these ports
        watch.look()
        assert store.count_minutes(["ledger"]) == 4

    def test_a_day_of_quarter_hours_shows_gaps_as_gaps(self, probed, at):
        probed(NOON - 20 * MINUTE, ledger=40)
        probed(NOON - 19 * MINUTE, ledger=60)
        at(NOON)
        pace = [ms for _, ms in history.pace("ledger")]
        assert (len(pace), [ms for ms in pace if ms is not None]) == (96, [50])


class TestIncidents:
    def test_an_incident_has_a_beginning_a_reason_and_an_end(self, probed):
        probed(NOON)
        for place in range(1, 4):
            probed(NOON + 15 * SECOND * place, archive=SECRET)
        [found] = planned.incidents()
        assert (found["service"], found["reason"], found["ended_at"]) == ("archive", SECRET, None)
        for place in range(4, 7):
            probed(NOON + 15 * SECOND * place)
        [found] = planned.incidents()
        assert (found["began_at"], found["ended_at"], found["seconds"]) == (
            "2026-03-01T12:00:15Z", "2026-03-01T12:01:00Z", 45,
        )  # fmt: skip

    def test_its_reason_is_ours_and_its_words_are_everybodys(self, probed, board, helm):
        for place in range(3):
            probed(NOON + 15 * SECOND * place, archive=SECRET)
        [event] = board()["events"]
        assert (event["title"], event["words"]) == ("Archive and proofs: no answer", "Going on")
        number = planned.incidents()[0]["id"]
        answer = helm.post(f"/api/incidents/{number}", json={"title": "A cable", "told": "It was cut."})
        assert answer.status_code == 200, answer.text
        [event] = board()["events"]
        assert (event["title"], event["text"]) == ("A cable", "It was cut.")
        assert helm.post("/api/incidents/999", json={"title": "A cable", "told": ""}).status_code == 404


class TestPlannedWork:
    def test_it_is_told_begins_and_ends(self, at, board, probed):
        probed(NOON)
        planned.plan("A larger disk", "Nothing is lost.", begins="1h", ends="2h", services=["ledger"], by="maya")
        words = []
        for hours in (0, 1, 3):
            at(NOON + timedelta(hours=hours))
            words.append(board()["events"][0]["words"])
        assert words == ["Planned", "Under way", "Done"]
        assert part(board(), "Bills and invoices")["days"][-1]["state"] == "busy"
        assert part(board(), "Signing in")["days"][-1]["state"] == "ok"

    def test_it_can_be_taken_back_until_it_is_over(self, at, board, helm):
        at(NOON)
        first = planned.plan("One", "", begins="", ends="1h", services=[], by="maya")
        assert helm.post(f"/api/planned/{first}/withdraw").status_code == 200
        assert board()["events"] == []
        assert helm.post(f"/api/planned/{first}/withdraw").status_code == 404

    @pytest.mark.parametrize(
        ("told", "field"),
        [
            ({"ends": "yesterday"}, "ends"),
            ({"begins": "2h"}, "ends"),
            ({"ends": "2020-01-01T00:00Z"}, "ends"),
            ({"services": ["mainframe"]}, "services"),
            ({"title": "  "}, "title"),
        ],
    )
    def test_what_makes_no_sense_is_refused_at_its_field(self, helm, at, told, field):
        at(NOON)
        good = {"begins": "", "ends": "1h", "services": [], "title": "Work", "told": ""}
        with pytest.raises(Problem) as refused:
            planned.plan(**good | told, by="maya")
        assert [fault.field for fault in refused.value.fields] == [field]

    def test_from_the_command_line(self, helm, run_helm):
        number = run_helm("work", "plan", "A larger disk", "--ends", "30m", "--service", "ledger")
        [work] = run_helm("work", "list", "--json")
        assert (str(work["id"]), work["state"], work["services"]) == (str(number).strip(), "under way", ["ledger"])
        run_helm("work", "end", str(work["id"]))
        run_helm("work", "plan", "A larger disk", "--ends", "never", code=2)


class TestStatusPage:
    def test_nobody_needs_to_sign_in_and_nothing_internal_is_told(self, helm, probed):
        for place in range(3):
            probed(NOON + 15 * SECOND * place, archive=SECRET)
        page, document = helm.get("/status", None), helm.get("/status.json", None)
        assert (page.status_code, document.status_code) == (200, 200)
        assert "Something does not answer" in page.text
        for text in (page.text, document.text):
            for word in (SECRET, "10.9.8.7", "helm_user", "codex", "ledger", "5010", "1.0.0", "PostgreSQL", "uptime_s"):
                assert word not in text.replace("/static/", ""), word
        assert len(document.json["parts"]) == 4
        assert {len(one["days"]) for one in document.json["parts"]} == {90}

    def test_before_the_first_probe_nothing_is_said_to_work(self, helm):
        page = helm.get("/status", None)
        assert "Not everything is measured" in page.text
        assert "Everything works" not in page.text
        document = helm.get("/status.json", None).json
        assert {(one["state"], one["uptime"]) for one in document["parts"]} == {("unknown", None)}

    def test_silence_of_the_prober_is_no_data_and_never_healthy(self, probed, at, board):
        probed(NOON)
        assert board()["words"] == "Everything works"
        at(NOON + 5 * MINUTE)
        assert {one["words"] for one in board()["parts"]} == {"Not measured"}

    def test_it_stands_while_the_database_is_away(self, helm, probed, at, monkeypatch):
        probed(NOON)
        assert helm.get("/status", None).status_code == 200

        def away(*_):
            raise OperationalError("select", {}, Exception("gone"))

        monkeypatch.setattr(store, "standing", away)
        at(NOON + 5 * MINUTE)
        assert "Checked" in helm.get("/status", None).text
        helm.app.extensions["helm_board"] = status.Board(helm.settings)
        assert helm.get("/status.json", None).status_code == 503

    def test_where_it_is_not_public_it_is_for_who_is_signed_in(self, helm, at_home, monkeypatch):
        from hivematrix_common.conffile import set_section

        set_section(helm.settings.conf, "health", {"public": "no", "title": "Lakeshore"})
        assert at_home.another().get("/status").status_code == 404
        assert at_home.get("/status").status_code == 200

    def test_after_a_year_it_is_made_in_a_few_readings_of_few_rows(self, helm, at, board):
        """The full size is timed by scripts/prove; here it is counted what is read."""
        at(NOON)
        rows = [
            {
                "service": name,
                "day": NOON.date() - DAY * ago,
                "up": 1440,
                "slow": 0,
                "down": 0,
                "mean_ms": 9,
                "max_ms": 9,
            }
            for name in SERVICES
            for ago in range(365)
        ]
        session().execute(insert(day_table), rows)
        assert session().execute(select(func.count()).select_from(day_table)).scalar_one() == 1460
        statements = []
        from sqlalchemy import event

        def count(*arguments):
            statements.append(arguments[2])

        event.listen(helm.db.engine, "before_cursor_execute", count)
        began = time.perf_counter()
        document = board()
        assert time.perf_counter() - began < 5  # a hang, no measure
        event.remove(helm.db.engine, "before_cursor_execute", count)
        assert len(statements) <= 5
        assert {one["uptime_words"] for one in document["parts"]} == {"100 %"}


class TestPages:
    def test_a_service_has_a_page_of_its_own(self, at_home, probed):
        probed(datetime.now(UTC), ledger=37)
        text = at_home.get("/services/ledger").text
        assert "Answers in" in text
        assert "37.0 ms" in text
        assert at_home.get("/services/mainframe").status_code == 404

    def test_who_may_operate_plans_work_on_the_page(self, helm, add_user, browser, password, at):
        add_user("tom", "technician")
        browser.sign_in("tom", password)
        browser.get("/events")
        answer = browser.submit("/events/planned", title="A larger disk", told="", begins="", ends="1h")
        assert answer.status_code == 303, answer.text
        assert "A larger disk" in browser.get("/events").text
        assert "A larger disk" in browser.get("/status").text
        number = planned.works()[0]["id"]
        browser.get("/events")
        assert browser.submit(f"/events/planned/{number}/withdraw").status_code == 303
        assert browser.submit("/events/planned", title="", ends="1h").status_code == 422

    def test_others_read_and_cannot_write(self, at_home):
        assert "Plan work" not in at_home.get("/events").text
        assert at_home.submit("/events/planned", title="A disk", ends="1h").status_code == 403

    def test_incidents_sort_filter_and_export(self, at_home, probed):
        for later in (0, 15, 30):
            probed(datetime.now(UTC) + SECOND * later, archive=SECRET, codex=SECRET)
        assert at_home.get("/events?service=codex&sort=began_at").text.count("hm-why-body") == 0
        assert "1 incident" in at_home.get("/events?service=codex").text
        table = at_home.get("/events?format=csv")
        assert table.mimetype == "text/csv"
        assert len(table.text.splitlines()) == 3


def test_a_round_that_meets_no_database_says_so_once_and_goes_on(helm, caplog, monkeypatch):
    done = []

    def work():
        done.append(1)
        raise OperationalError("select", {}, Exception("gone"))

    once = rounds.steady(helm.app, "nothing written down", work)
    for _ in range(3):
        once()
    assert len(done) == 3
    assert [record.message for record in caplog.records].count("nothing written down") == 1
