"""Rules as data, an alert's life, what is told of it; equal to what promtool says of the same series and rules."""

import json
import os
import random
import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hivematrix_helm.domain import alerts, notices, rules, timers
from hivematrix_helm.domain.alerts import Kind, State
from hivematrix_helm.domain.notices import Quiet, Silence, Standing
from hivematrix_helm.domain.rules import Fact, Rule, RulesError
from hivematrix_helm.domain.shipped import RULES
from hivematrix_helm.domain.status import Planned
from hivematrix_helm.domain.timers import TIMERS, Outcome, Run, Signal

START = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
HOT = Rule(name="hot", of="degrees", above=80, for_=2 * MINUTE, keep_firing_for=2 * MINUTE)


def life(rule, *values, step=MINUTE):
    """The rule's one alert after each look at these values; `...` is no fact at all."""
    known, found = {}, []
    for place, value in enumerate(values):
        facts = [] if value is ... else [Fact(rule.of, (), value)]
        known = alerts.advance(rule, known, facts, START + step * place)
        found.append(known.get(()))
    return found


def states(rule, *values):
    return [alert.state.value if alert else "-" for alert in life(rule, *values)]


class TestLife:
    def test_it_waits_fires_is_kept_and_is_over(self):
        assert states(HOT, 81, 82, 83, 10, 84, 10, 10, 10, 10) == [
            "pending", "pending", "firing", "firing", "firing", "firing", "firing", "resolved", "-",
        ]  # fmt: skip

    def test_a_moment_is_no_alert(self):
        assert states(HOT, 81, 82, 10, 81) == ["pending", "pending", "-", "pending"]

    def test_it_says_why_with_the_numbers(self):
        [*_, alert] = life(HOT, 81, 82, 83.5)
        assert alert.why == "degrees is 83.5; the limit is above 80 for 2 min"
        rule = Rule(name="down", of="service_state", is_=("down",), title="{service} is down")
        fact = Fact("service_state", (("service", "ledger"),), "down", "database: gone")
        [alert] = alerts.advance(rule, {}, [fact], START).values()
        assert (alert.title, alert.why) == (
            "ledger is down", "service state of ledger is down; database: gone; told when it is down",
        )  # fmt: skip

    def test_hysteresis_ends_it_only_on_the_good_side(self):
        rule = Rule(name="full", of="disk", above=80, clear=70)
        assert states(rule, 75, 81, 75, 71, 70, 75) == ["-", "firing", "firing", "firing", "resolved", "-"]
        rule = Rule(name="low", of="days", below=14, clear=20)
        assert states(rule, 15, 13, 19, 20, 19) == ["-", "firing", "firing", "resolved", "-"]

    @pytest.mark.parametrize(
        ("no_data", "expected"),
        [
            ("ignore", ["firing", "resolved", "-"]),
            ("keep", ["firing", "firing", "firing"]),
            ("alert", ["firing", "firing", "firing"]),
        ],
    )
    def test_what_nobody_knows_is_a_state_of_its_own(self, no_data, expected):
        assert states(Rule(name="hot", of="degrees", above=80, no_data=no_data), 81, None, None) == expected

    def test_no_data_is_told_after_its_own_time(self):
        rule = Rule(name="hot", of="degrees", above=80, no_data="alert", no_data_for=2 * MINUTE)
        found = life(rule, 10, None, None, None, 10)
        assert [alert.state.value if alert else "-" for alert in found] == [
            "-",
            "pending",
            "pending",
            "firing",
            "resolved",
        ]
        assert (found[3].kind, found[3].why) == (Kind.NO_DATA, "no data of degrees; for 2 min")
        assert life(rule, ..., ..., ...)[-1].kind is Kind.NO_DATA
        assert states(HOT, None, None, None, ...) == ["-"] * 4

    def test_a_rule_that_cannot_be_worked_out_is_told(self):
        [alert] = life(Rule(name="hot", of="degrees", above=80), "warm")
        assert (alert.kind, alert.state) == (Kind.ERROR, State.FIRING)
        assert "degrees is 'warm', no number" in alert.why

    def test_every_set_of_labels_has_a_life_of_its_own(self):
        rule = Rule(name="hot", of="degrees", above=80, where=(("room", "a"),))
        facts = [Fact("degrees", (("rack", rack), ("room", room)), 90) for rack in "12" for room in "ab"]
        assert len(alerts.advance(rule, {}, facts, START)) == 2


class TestRules:
    def test_the_shipped_ones_are_sound(self):
        found = {rule.name: rule for rule in rules.read(RULES)}
        assert found["service_down"].no_data == "alert"
        assert found["disk_filling"].clear == 0.80
        assert {"backup_late", "witness", "timer_silent"} <= found.keys()

    def test_ones_own_change_them_key_by_key_and_add_others(self):
        own = '[rule.disk_full]\nabove = 0.99\n[rule.witness]\nenabled = false\n[rule.hot]\nof = "degrees"\nabove = 3\n'
        found = {rule.name: rule for rule in rules.read(RULES, own)}
        assert (found["disk_full"].above, found["disk_full"].clear) == (0.99, 0.93)
        assert "witness" not in found
        assert found["hot"].severity == "warning"

    def test_every_fault_is_listed_at_once(self):
        own = """
[rule.a]
of = "x"
above = "much"
[rule.b]
below = 3
for = "long"
colour = "red"
[rule.c]
of = "x"
[rule.d]
of = "x"
above = 1
clear = 2
severity = "awful"
[rule.e]
of = "x"
is = ["y"]
inhibited_by = ["nobody"]
"""
        with pytest.raises(RulesError) as refused:
            rules.read("", own)
        assert refused.value.faults == [
            "a: above: expected a number, got 'much'",
            "b: colour: unknown key",
            "b: for: expected a span such as 30s, 10m, 2h, 1d, got 'long'",
            "b: of: missing: what it looks at",
            "c: expected one of above, below, is",
            "d: severity: expected one of critical, warning, info",
            "d: clear: expected a number on the good side of the limit",
            "e: inhibited_by: no rule nobody",
        ]
        with pytest.raises(RulesError, match="no TOML"):
            rules.read("", "[rule")
        with pytest.raises(RulesError, match="expected tables"):
            rules.read("", "rule = 3")


def standing(number, rule="hot", service="", *, state=State.FIRING, told="", severity="warning", **more):
    of = (("service", service),) if service else ()
    over = START if state is State.RESOLVED else None
    alert = alerts.Alert(rule, of, severity, state, Kind.VALUE, f"{rule} {service}", "why", START, START, None, over)
    return Standing(number, alert, told, **more)


def told(*standings, book=(), quiet=None, now=START):
    named = {rule.name: rule for rule in book}
    found = notices.decide(standings, named, quiet or Quiet(), now)
    return [(notice.what, notice.group, [one.number for one in notice.standings]) for notice in found]


class TestNotices:
    def test_each_firing_is_told_once_and_its_end_once(self):
        assert told(standing(1)) == [("firing", "hot", [1])]
        assert told(standing(1, told="firing")) == []
        assert told(standing(1, state=State.RESOLVED, told="firing")) == [("resolved", "hot", [1])]
        assert told(standing(1, state=State.RESOLVED)) == []
        assert told(standing(1, state=State.PENDING)) == []

    def test_one_that_was_taken_on_is_told_no_more_but_its_end_is(self):
        assert told(standing(1, is_acknowledged=True)) == []
        over = standing(1, state=State.RESOLVED, told="firing", is_acknowledged=True)
        assert told(over) == [("resolved", "hot", [1])]

    def test_alerts_of_one_service_are_one_message_the_worst_first(self):
        found = told(
            standing(1, "slow", "ledger"),
            standing(2, "errors", "ledger"),
            standing(3, "down", "codex", severity="critical"),
        )
        assert found == [("firing", "codex", [3]), ("firing", "ledger", [1, 2])]

    def test_what_follows_from_another_waits_for_it(self):
        book = [Rule(name="slow", of="x", above=1, inhibited_by=("down",))]
        down, slow = standing(1, "down", "ledger", told="firing"), standing(2, "slow", "ledger")
        assert told(down, slow, standing(3, "slow", "codex"), book=book) == [("firing", "codex", [3])]
        over = standing(1, "down", "ledger", told="firing", state=State.RESOLVED)
        assert told(over, slow, book=book) == [("resolved", "ledger", [1]), ("firing", "ledger", [2])]

    def test_a_silence_has_an_end_and_what_still_fires_then_is_told(self):
        silence = Silence("hot", "", START, START + HOUR)
        assert told(standing(1), quiet=Quiet([silence])) == []
        assert told(standing(1), quiet=Quiet([silence]), now=START + HOUR) == [("firing", "hot", [1])]
        assert told(standing(1, "cold"), quiet=Quiet([silence])) == [("firing", "cold", [1])]
        of_codex = Quiet([Silence("", "codex", START, START + HOUR)])
        assert told(standing(1, "hot", "ledger"), quiet=of_codex) == [("firing", "ledger", [1])]

    def test_planned_work_keeps_its_services_alerts_quiet(self):
        quiet = Quiet(planned=[Planned(START, START + HOUR, ("ledger",))])
        assert told(standing(1, "down", "ledger"), standing(2, "down", "codex"), quiet=quiet) == [
            ("firing", "codex", [2])
        ]
        assert told(standing(1, "down", "ledger"), quiet=quiet, now=START + HOUR) == [("firing", "ledger", [1])]

    def test_a_message_says_why_and_how_long(self):
        [notice] = notices.decide([standing(1, "hot")], {}, Quiet(), START)
        subject, body = notices.words(notice, "https://helm.example.com")
        assert subject == "[warning] hot "
        assert "Why: why" in body
        assert "https://helm.example.com/alerts" in body


# --- the same series and rules for promtool --------------------------------------------------------------------

COUNT = int(os.environ.get("PROOF_RULES", "30"))
STEPS, LOOKBACK = 40, 5
SPANS = (0, 1, 2, 3, 5)


def wild(dice):
    """Values a minute apart: numbers, nothing for a while, and the mark that a series has ended."""
    values, level = [], dice.uniform(0, 10)
    while len(values) < STEPS:
        what = dice.random()
        if what < 0.06:
            values += ["_"] * dice.randint(1, 8)
        elif what < 0.08:
            values.append("stale")
        else:
            level = dice.uniform(0, 10) if dice.random() < 0.3 else level
            values.append(round(level, 2))
    return values[:STEPS]


def seen_at(values, place):
    """What Prometheus sees at a minute: the newest value of the last five, if the series has not ended since."""
    for back in range(min(place, LOOKBACK) + 1):
        value = values[place - back]
        if value == "stale":
            return None
        if value != "_":
            return value
    return None


def test_verdicts_equal_promtools(tmp_path):
    """Random series and rules; in the ordinary run few, 1,000 by scripts/prove."""
    dice = random.Random(20260301)
    program = shutil.which("promtool")
    assert program, "promtool is missing; run: scripts/system-packages"
    written, inputs, tests, fired = [], [], [], 0
    for number in range(COUNT):
        above, limit = dice.random() < 0.5, round(dice.uniform(2, 8), 1)
        span, keep = dice.choice(SPANS), dice.choice(SPANS)
        rule = Rule(
            name=f"A{number}", of=f"m{number}", for_=span * MINUTE, keep_firing_for=keep * MINUTE,
            **{"above" if above else "below": limit},
        )  # fmt: skip
        expression = f"m{number} {'>' if above else '<'} {limit}"
        written.append({"alert": rule.name, "expr": expression, "for": f"{span}m", "keep_firing_for": f"{keep}m"})
        series = {str(one): wild(dice) for one in range(2)}
        inputs += [
            {"series": f'm{number}{{i="{one}"}}', "values": " ".join(map(str, values))}
            for one, values in series.items()
        ]
        checked, known = set(dice.sample(range(STEPS), 8)), {}
        for place in range(STEPS):
            facts = [
                Fact(rule.of, (("i", one),), value)
                for one, values in series.items()
                if (value := seen_at(values, place)) is not None
            ]
            known = alerts.advance(rule, known, facts, START + place * MINUTE)
            firing = [dict(labels) for labels, alert in known.items() if alert.state is State.FIRING]
            if place in checked:
                fired += len(firing)
                expected = [{"exp_labels": labels} for labels in firing]
                tests.append({"eval_time": f"{place}m", "alertname": rule.name, "exp_alerts": expected})
    assert fired > COUNT  # else nothing was compared
    group = {"name": "all", "rules": written}
    (tmp_path / "rules.yml").write_text(json.dumps({"groups": [group]}))
    case = {"interval": "1m", "input_series": inputs, "alert_rule_test": tests}
    batch = {"rule_files": ["rules.yml"], "evaluation_interval": "1m", "tests": [case]}
    (tmp_path / "test.yml").write_text(json.dumps(batch))
    done = subprocess.run(
        [program, "test", "rules", "test.yml"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout.count("alertname:")) == (0, 0), done.stdout[:3000] + done.stderr[:1000]


# --- timers ----------------------------------------------------------------------------------------------------


class TestTimers:
    def test_a_run_has_a_beginning_an_end_and_a_length(self):
        run = timers.follow(Run(START), Signal.START, START + HOUR)
        assert run.outcome is Outcome.RUNNING
        run = timers.follow(run, Signal.SUCCESS, START + HOUR + MINUTE)
        assert (run.outcome, run.seconds, run.succeeded_at) == (Outcome.DONE, 60, START + HOUR + MINUTE)
        run = timers.follow(run, Signal.FAIL, START + 2 * HOUR, "exit code 1")
        assert (run.outcome, run.seconds, run.said) == (Outcome.FAILED, None, "exit code 1")
        assert run.succeeded_at == START + HOUR + MINUTE

    @pytest.mark.parametrize("name", TIMERS)
    def test_each_timers_missing_signal_is_found_within_period_grace_and_a_minute(self, name):
        """The others go on as they should, and nobody is told of them."""
        book = [rule for rule in rules.read(RULES) if rule.name.startswith("timer")]
        drop_from, look = START + timedelta(days=2), timedelta(seconds=30)
        runs, known = {one: Run(START) for one in TIMERS}, {rule.name: {} for rule in book}
        now = START
        while True:
            for one, timer in TIMERS.items():
                due = (now - START) % timer.period == timedelta(0) and now > START
                if due and not (one == name and now >= drop_from):
                    runs[one] = timers.follow(runs[one], Signal.SUCCESS, now)
            facts = [
                Fact("timer_overdue_seconds", (("timer", one),), timers.overdue(timer, runs[one], now))
                for one, timer in TIMERS.items()
            ] + [Fact("timer_outcome", (("timer", one),), run.outcome.value) for one, run in runs.items()]
            for rule in book:
                known[rule.name] = alerts.advance(rule, known[rule.name], facts, now)
            firing = [labels for of in known.values() for labels, one in of.items() if one.state is State.FIRING]
            if firing:
                break
            now += look
        assert firing == [(("timer", name),)]
        assert now - runs[name].succeeded_at <= TIMERS[name].period + TIMERS[name].grace + MINUTE

    def test_a_clock_that_was_ahead_makes_nothing_late(self):
        run = timers.follow(Run(START), Signal.SUCCESS, START + timedelta(days=365))
        assert timers.overdue(TIMERS["seal"], run, START) < 0


STEP = timedelta(minutes=int(os.environ.get("PROOF_STEP", "30")))


def test_a_quiet_year_has_no_false_alarm():
    """Nights by the clock in Berlin with both its changes, restarts, rotations, a disk that fills and is emptied."""
    dice, zone, book = random.Random(7), ZoneInfo("Europe/Berlin"), rules.read(RULES)
    known = {rule.name: {} for rule in book}
    runs = {name: Run(START) for name in TIMERS}
    now, fired = START, []
    while now < START + timedelta(days=365):
        local = now.astimezone(zone)
        if local.minute < STEP / MINUTE or STEP < HOUR:
            for name, hour in (("backup", 3), ("drill", 4)):
                ended = local.replace(hour=hour, minute=0) + timedelta(minutes=dice.randint(1, 50))
                last = runs[name].succeeded_at
                if local >= ended and (last is None or last.astimezone(zone).date() < local.date()):
                    runs[name] = timers.follow(runs[name], Signal.SUCCESS, now)
            runs["seal"] = timers.follow(runs["seal"], Signal.SUCCESS, now)
        facts = quiet_facts(dice, now, runs)
        for rule in book:
            known[rule.name] = alerts.advance(rule, known[rule.name], facts, now)
            fired += [(now, alert.why) for alert in known[rule.name].values() if alert.state is State.FIRING]
        now += STEP
    assert fired == []


def quiet_facts(dice, now, runs):
    day = (now - START).days
    restarting = dice.choice("abcd") if STEP < 5 * MINUTE and now.hour == 5 and now.minute < 2 else ""
    found = [Fact("service_state", (("service", name),), None if name == restarting else "up") for name in "abcd"]
    found.append(Fact("disk_used_ratio", (), 0.3 + (day % 60) / 120))
    found += [Fact("backup_state", (), "good"), Fact("witness_state", (), "good"), Fact("rules_state", (), "good")]
    found.append(Fact("token_days_left", (("token", "t"),), 90 - day % 70))
    found.append(Fact("hm_requests_total", (("service", "a"), ("status", "500")), dice.random() * 0.04))
    for name, run in runs.items():
        found.append(Fact("timer_overdue_seconds", (("timer", name),), timers.overdue(TIMERS[name], run, now)))
        found.append(Fact("timer_outcome", (("timer", name),), run.outcome.value))
    return found
