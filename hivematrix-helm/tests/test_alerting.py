"""Alerts as they are kept, told and taken on: once, in order, across restarts and channels that are down."""

import json
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from aiosmtpd.controller import Controller
from hivematrix_common.conffile import set_section
from hivematrix_common.errors import Problem
from hivematrix_common.postgres import free_port
from hivematrix_helm.domain import rules
from hivematrix_helm.domain.measures import Reading
from hivematrix_helm.domain.rules import Fact, Rule, labels
from hivematrix_helm.domain.shipped import RULES
from hivematrix_helm.domain.timers import Signal
from hivematrix_helm.domain.watching import Probe
from hivematrix_helm.services import alerting, delivering, facts, measuring, planned, probing, proofs, silencing, timers
from hivematrix_helm.store import alerts as store
from hivematrix_helm.store import session
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
HOT = Rule(name="hot", of="degrees", above=80, severity="critical", title="It is hot in {room}")


class Receiver(BaseHTTPRequestHandler):
    """Takes what is posted, unless its server is `down`."""

    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        status = 503 if self.server.down else 200
        if status == 200:
            self.server.taken.append((dict(self.headers), body))
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *arguments):
        pass


@pytest.fixture
def receiver():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
    server.down, server.taken = False, []
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def channels(helm, receiver):
    """channels(webhook_least="info", ...): a webhook that is told of everything."""

    def configure(**told):
        values = {"webhook_url": f"http://127.0.0.1:{receiver.server_port}/hook", "webhook_least": "info"} | told
        set_section(helm.settings.conf, "alerts", values)

    configure()
    return configure


@pytest.fixture
def at(monkeypatch):
    return lambda instant: monkeypatch.setenv("HIVEMATRIX_NOW", instant.isoformat())


@pytest.fixture
def look(helm, at):
    """look(instant, a=90, b=10): one evaluation with these degrees, and the delivery after it."""

    def once(instant, *, book=(HOT,), deliver=True, **degrees):
        at(instant)
        seen = [Fact("degrees", labels(room=room), value) for room, value in degrees.items()]
        alerting.evaluate(helm.settings.current(), book, seen, instant)
        if deliver:
            delivering.deliver(helm.settings)

    return once


@pytest.fixture
def tom(add_user, browser, password):
    """A technician's browser."""
    add_user("tom", "technician")
    browser.sign_in("tom", password)
    return browser


def subjects(receiver):
    return [json.loads(body)["subject"] for _, body in receiver.taken]


class TestTelling:
    def test_an_alert_is_told_once_when_it_fires_and_once_when_it_is_over(self, channels, look, receiver):
        for place, degrees in enumerate([10, 90, 91, 92, 10, 10]):
            look(NOON + place * MINUTE, attic=degrees)
        assert subjects(receiver) == ["[critical] It is hot in attic", "[over] It is hot in attic"]
        headers, body = receiver.taken[0]
        told = json.loads(body)
        assert told["alerts"][0]["why"] == "degrees of attic is 90; the limit is above 80"
        assert headers["Idempotency-Key"] == told["id"]

    def test_a_channel_that_is_down_for_an_hour_gets_everything_once_and_in_order(self, channels, look, receiver):
        receiver.down = True
        for minute in range(60):
            look(NOON + minute * MINUTE, attic=90 if minute % 20 < 10 else 10)
        assert receiver.taken == []
        [first, *rest] = [row for row in delivering.waiting() if row["sent_at"] is None]
        assert (len(rest), first["fault"]) == (5, "")
        receiver.down = False
        for minute in range(60, 70):
            look(NOON + minute * MINUTE, attic=10)
        expected = ["[critical] It is hot in attic", "[over] It is hot in attic"] * 3
        assert subjects(receiver) == expected
        assert len({json.loads(body)["id"] for _, body in receiver.taken}) == 6
        look(NOON + 80 * MINUTE, attic=10)
        assert len(receiver.taken) == 6

    def test_what_waits_outlives_the_process(self, channels, look, receiver, helm):
        receiver.down = True
        look(NOON, attic=90)
        session().remove()
        receiver.down = False
        delivering.deliver(helm.settings)  # too early: it has just failed
        assert receiver.taken == []
        look(NOON + MINUTE, attic=90)
        assert subjects(receiver) == ["[critical] It is hot in attic"]

    def test_two_that_send_at_once_send_it_once(self, channels, look, receiver):
        look(NOON, attic=90, deliver=False)
        row = store.first_waiting("webhook")
        assert store.claim(row, NOON + MINUTE)
        assert not store.claim(row, NOON + MINUTE)  # the other read it before, too

    def test_who_dies_while_sending_leaves_it_to_be_sent(self, channels, look, receiver, helm, at):
        class Killed:
            def send(self, _message):
                raise KeyboardInterrupt

        look(NOON, attic=90, deliver=False)
        with pytest.raises(KeyboardInterrupt):
            delivering._deliver_one("webhook", delivering.Route(Killed(), "info"))
        session().rollback()
        delivering.deliver(helm.settings)
        assert receiver.taken == []  # it may still be on its way
        at(NOON + 5 * MINUTE)
        delivering.deliver(helm.settings)
        assert subjects(receiver) == ["[critical] It is hot in attic"]

    def test_a_channel_that_is_down_keeps_no_other_waiting(self, channels, look, receiver):
        channels(ntfy_url=f"http://127.0.0.1:{free_port()}/topic")
        look(NOON, attic=90)
        assert subjects(receiver) == ["[critical] It is hot in attic"]
        first = delivering.waiting()[0]
        assert (first["channel"], first["fault"]) == ("ntfy", "it cannot be reached")

    def test_a_channel_gets_what_is_bad_enough_for_it(self, channels, look, receiver):
        channels(webhook_least="critical")
        mild = Rule(name="warm", of="degrees", above=50)
        look(NOON, attic=60, book=(HOT, mild))
        assert receiver.taken == []

    def test_ntfy_gets_text_and_plain_headers_and_a_webhook_a_signature(self, channels, look, receiver, helm):
        url = f"http://127.0.0.1:{receiver.server_port}/topic"
        channels(ntfy_url=url, ntfy_token="tk_secret", webhook_secret="shared")
        look(NOON, küche=90)
        by_path = {"X-Title" in headers: (headers, body) for headers, body in receiver.taken}
        headers, body = by_path[True]
        assert headers["X-Title"] == "[critical] It is hot in k?che"
        assert (headers["Authorization"], headers["X-Priority"]) == ("Bearer tk_secret", "5")
        assert "Why: degrees of küche is 90" in body.decode()
        assert by_path[False][0]["X-HiveMatrix-Signature"].startswith("sha256=")

    def test_mail_goes_to_each_recipient_by_smtp(self, channels, look, helm):
        class Mailbox:
            def __init__(self):
                self.taken = []

            async def handle_DATA(self, server, session, envelope):  # noqa: N802 - aiosmtpd's name
                self.taken.append((envelope.rcpt_tos, envelope.content.decode()))
                return "250 taken"

        mailbox = Mailbox()
        controller = Controller(mailbox, hostname="127.0.0.1", port=free_port())
        controller.start()
        try:
            smtp = {"host": "127.0.0.1", "port": str(controller.port), "starttls": "no", "sender": "helm@example.com"}
            set_section(helm.settings.conf, "smtp", smtp)
            channels(mail_to="ada@example.com tom@example.com")
            look(NOON, attic=90)
        finally:
            controller.stop()
        assert sorted(recipients[0] for recipients, _ in mailbox.taken) == ["ada@example.com", "tom@example.com"]
        assert "Subject: [critical] It is hot in attic" in mailbox.taken[0][1]
        assert "limit is above 80" in mailbox.taken[0][1]

    def test_nothing_is_half_told(self, channels, look, monkeypatch):
        def killed(*_):
            raise KeyboardInterrupt

        monkeypatch.setattr(store, "tell", killed)
        with pytest.raises(KeyboardInterrupt):
            look(NOON, attic=90)
        session().rollback()
        assert (store.untold(), delivering.waiting()) == ([], [])


class TestPeople:
    def test_one_takes_an_alert_on_and_it_still_ends(self, helm, channels, look, receiver):
        look(NOON, attic=90, deliver=False)
        [alert] = helm.get("/api/alerts").json["alerts"]
        number = alert["id"]
        assert helm.post(f"/api/alerts/{number}/acknowledge", "technician", json={"note": "on it"}).status_code == 200
        [alert] = helm.get("/api/alerts").json["alerts"]
        assert (alert["state"], alert["acknowledged_by"], alert["note"]) == ("acknowledged", "technician", "on it")
        look(NOON + MINUTE, attic=10)
        [alert] = helm.get("/api/alerts").json["alerts"]
        assert alert["state"] == "resolved"
        assert subjects(receiver)[-1] == "[over] It is hot in attic"
        assert helm.post(f"/api/alerts/{number}/acknowledge", json={"note": ""}).status_code == 404

    def test_a_silence_is_kept_shown_and_ends(self, helm, channels, look, receiver, at):
        at(NOON)
        silence = {"rule": "hot", "service": "", "ends": "10m", "reason": "the heating is mended"}
        number = helm.post("/api/silences", json=silence).json["id"]
        look(NOON, attic=90)
        assert receiver.taken == []
        assert helm.get("/api/alerts").json["alerts"][0]["quiet"] == "silenced"
        assert [row["id"] for row in helm.get("/api/silences").json["silences"]] == [number]
        look(NOON + 11 * MINUTE, attic=90)
        assert subjects(receiver) == ["[critical] It is hot in attic"]

    @pytest.mark.parametrize(
        ("told", "field"),
        [
            ({"rule": "", "service": ""}, "rule"),
            ({"service": "mainframe"}, "service"),
            ({"ends": "99d"}, "ends"),
            ({"ends": "never"}, "ends"),
            ({"reason": " "}, "reason"),
        ],
    )
    def test_a_silence_that_makes_no_sense_is_refused_at_its_field(self, helm, told, field):
        with pytest.raises(Problem) as refused:
            silencing.silence(**{"rule": "hot", "service": "", "ends": "2h", "reason": "why"} | told, by="ada")
        assert [fault.field for fault in refused.value.fields] == [field]

    def test_the_page_shows_why_and_takes_a_press(self, tom, channels, look):
        look(datetime.now(UTC), attic=90)
        page = tom.get("/alerts")
        assert "degrees of attic is 90; the limit is above 80" in page.text
        assert "1 alert fires" in page.text
        assert "It is hot in attic" in tom.get("/").text
        number = store.untold()[0].id
        tom.get("/alerts")
        assert tom.submit(f"/alerts/{number}/acknowledge").status_code == 303
        assert "Nothing needs you" in tom.get("/alerts").text
        assert tom.submit("/alerts/silences", rule="hot", service="", ends="2h", reason="why").status_code == 303
        assert tom.get("/alerts?format=csv").mimetype == "text/csv"
        assert "1 alert" in tom.get("/alerts?state=acknowledged&sort=title").text
        tom.get("/alerts")
        assert tom.submit("/alerts/silences", rule="hot", service="", ends="2h", reason="").status_code == 422
        assert tom.submit("/alerts/test").status_code == 303

    def test_from_the_command_line(self, helm, run_helm, channels, look):
        look(datetime.now(UTC), attic=90, deliver=False)
        [alert] = run_helm("alerts", "list", "--json", code=1)
        run_helm("alerts", "acknowledge", str(alert["id"]), "--note", "mine")
        assert run_helm("alerts", "list", "--json")[0]["state"] == "acknowledged"
        run_helm("alerts", "silence", "--rule", "hot", "--ends", "2h", "--reason", "why")
        assert {rule["name"] for rule in run_helm("alerts", "check", "--json")} >= {"disk_full"}
        run_helm("alerts", "test")
        run_helm("timer", "run", "seal", "false", code=1)
        assert "exit code 1" in run_helm("timer", "list")
        (helm.settings.home / "instance" / "alerts.toml").write_text("[rule.x]\n")
        run_helm("alerts", "check", code=78)


class TestEngine:
    def test_a_rule_that_is_taken_away_ends_its_alerts(self, channels, look, receiver):
        look(NOON, attic=90)
        look(NOON + MINUTE, attic=90, book=())
        assert subjects(receiver)[-1] == "[over] It is hot in attic"

    def test_of_one_thing_there_is_one_open_alert(self, channels, look):
        for minute in range(3):
            look(NOON + minute * MINUTE, attic=90)
        assert len(store.untold()) == 1

    def test_a_moment_leaves_no_trace(self, channels, look):
        slow = Rule(name="slow", of="degrees", above=80, for_=5 * MINUTE)
        look(NOON, attic=90, book=(slow,))
        look(NOON + MINUTE, attic=10, book=(slow,))
        assert session().execute(text("SELECT count(*) FROM alerts.alerts")).scalar_one() == 0

    def test_a_broken_file_of_rules_is_told_and_what_held_before_holds(self, helm, at, channels, receiver):
        at(NOON)
        book = alerting.RuleBook(helm.settings)
        before = book.today()
        (helm.settings.home / "instance" / "alerts.toml").write_text("[rule.disk_full]\nabove = 'much'\n")
        assert book.today() == before
        assert book.fact().value == "broken"
        alerting.evaluate(helm.settings.current(), book.today(), [book.fact()], NOON)
        [*_, alert] = [row for row in alerting.listed(helm.settings) if row["rule"] == "rules_broken"]
        assert "disk_full: above: expected a number, got 'much'" in alert["why"]

    def test_a_database_that_stays_away_is_told_without_it_once(self, helm, at, channels, receiver, monkeypatch):
        engine = alerting.Engine(helm.settings)

        def away(*_):
            raise OperationalError("select", {}, Exception("connection refused"))

        monkeypatch.setattr(alerting.facts, "gather", away)
        for minute in range(10):
            at(NOON + minute * MINUTE)
            with pytest.raises(OperationalError):
                engine.look()
        assert subjects(receiver) == [f"[critical] {alerting.BLIND_TITLE}"]
        monkeypatch.setattr(alerting.facts, "gather", lambda *_: [])
        at(NOON + 10 * MINUTE)
        engine.look()
        assert subjects(receiver)[-1] == f"[over] {alerting.BLIND_TITLE}"


class TestFacts:
    @pytest.fixture
    def gathered(self, helm, at):
        """gathered(instant): (name, first label) -> what the rules look at then."""

        def now(instant):
            at(instant)
            found = facts.gather(helm.settings.current(), instant)
            return {(fact.name, *(value for _, value in fact.labels)): fact for fact in found}

        return now

    def test_a_service_is_down_after_three_probes_and_unknown_when_nobody_looks(self, helm, gathered, at):
        for place in range(3):
            instant = NOON + timedelta(seconds=15) * place
            at(instant)
            probing.record([(Probe("ledger", instant, 1.0, "database: gone"), {})], 1000)
        found = gathered(instant)
        assert (found["service_state", "ledger"].value, found["service_state", "ledger"].detail) == (
            "down",
            "database: gone",
        )
        assert found["service_state", "codex"].value is None
        assert gathered(NOON + 10 * MINUTE)["service_state", "ledger"].value is None

    def test_a_service_that_was_stopped_by_hand_is_no_alert(self, helm, gathered, monkeypatch):
        monkeypatch.setattr(facts, "_stopped", lambda _: {"codex"})
        fact = gathered(NOON)["service_state", "codex"]
        [rule] = [rule for rule in rules.read(RULES) if rule.name == "service_down"]
        assert not rule.holds(fact.value, is_firing=True)

    def test_the_backup_and_the_log_join_the_rules(self, helm, gathered, at):
        at(NOON - timedelta(hours=27))
        proofs.look(helm.settings)
        at(NOON)
        proofs.look(helm.settings)
        found = gathered(NOON)
        assert found["backup_state",].value == "late"
        assert found["witness_state",].value == "waiting"
        alerting.evaluate(helm.settings, rules.read(RULES), list(found.values()), NOON)
        needing = {row["rule"] for row in alerting.needing(helm.settings)}
        assert "backup_late" in needing

    def test_timers_of_helms_own_are_waited_for_from_the_beginning(self, helm, gathered, at):
        assert gathered(NOON)["timer_overdue_seconds", "The month close"].value < 0
        assert gathered(NOON + 2 * 60 * MINUTE)["timer_overdue_seconds", "The month close"].value > 0
        at(NOON + 2 * 60 * MINUTE)
        timers.signal("seal", Signal.SUCCESS)
        assert gathered(NOON + 2 * 60 * MINUTE)["timer_overdue_seconds", "The month close"].value < 0

    def test_timers_of_others_are_waited_for_once_they_gave_a_signal(self, helm, gathered, monkeypatch, at):
        monkeypatch.setattr(timers.timer, "is_ours", lambda *_: False)
        assert not any(name == "timer_overdue_seconds" for name, *_ in gathered(NOON))
        assert helm.post("/api/timers/seal/success", json={"said": "nothing due"}).status_code == 200
        assert ("timer_overdue_seconds", "The month close") in gathered(NOON)
        assert helm.post("/api/timers/tea/success", json={}).status_code == 404
        assert helm.get("/api/timers").json["timers"][0]["outcome"] == "done"

    def test_a_run_that_met_another_says_nothing_of_itself(self, helm):
        timers.ended("seal", 75)
        assert store.runs() == {}
        timers.ended("seal", 1)
        assert store.runs()["seal"].outcome == "failed"

    def test_a_metric_that_names_a_service_is_about_that_one(self, helm, gathered):
        meter = measuring.Meter(helm.settings)
        meter.take("helm", [Reading("hm_service_up", {"service": "codex"}, 1, is_counter=False)], NOON)
        found = gathered(NOON)
        assert found["hm_service_up", "codex"].value == 1
        assert found["look_state", "metrics"].value == "good"

    def test_a_part_that_cannot_be_looked_at_is_told_and_keeps_no_other_away(self, helm, gathered, monkeypatch):
        def broken(*_):
            raise KeyError("expires")

        monkeypatch.setitem(facts._PARTS, "tokens", broken)
        found = gathered(NOON)
        failed = found["look_state", "tokens"]
        assert (failed.value, failed.detail) == ("failed", "KeyError: 'expires'")
        assert ("disk_used_ratio",) in found

    def test_planned_work_is_quiet(self, helm, at, channels, receiver):
        at(NOON)
        planned.plan("A larger disk", "", begins="", ends="1h", services=["ledger"], by="ada")
        down = [Fact("service_state", labels(service=name), "down") for name in ("ledger", "codex")]
        alerting.evaluate(helm.settings.current(), rules.read(RULES), down, NOON)
        delivering.deliver(helm.settings)
        assert subjects(receiver) == ["[critical] codex is down"]
