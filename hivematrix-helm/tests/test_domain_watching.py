"""When a service counts as up, slow or down, and what bars and percentages everybody sees."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hivematrix_helm.domain import status, watching
from hivematrix_helm.domain.status import Minutes, Planned
from hivematrix_helm.domain.watching import Probe, State
from hypothesis import given
from hypothesis import strategies as st

START = datetime(2026, 3, 1, tzinfo=UTC)
STEP = timedelta(seconds=15)
FAULT = "database: gone"


def seen(*what, slow_ms=1000):
    """The states after each probe: a fault's text, or the milliseconds of an answer."""
    found, states = None, []
    for place, one in enumerate(what):
        fault, ms = (one, 1.0) if isinstance(one, str) else ("", float(one))
        found = watching.follow(found, Probe("ledger", START + STEP * place, ms, fault), slow_ms)
        states.append(found.state)
    return found, states


def test_one_good_answer_is_enough_where_nothing_is_known():
    assert seen(20)[1] == [State.UP]
    assert seen(1500)[1] == [State.SLOW]


def test_a_restart_is_no_incident_and_three_faults_in_a_row_are_one_from_the_first():
    assert seen(20, FAULT, FAULT, 20, FAULT, FAULT)[0].state is State.UP
    found, states = seen(20, FAULT, FAULT, FAULT)
    assert states == [State.UP, State.UP, State.UP, State.DOWN]
    assert found.since == START + STEP


def test_it_is_up_again_after_three_good_answers_from_the_first():
    found, states = seen(FAULT, FAULT, FAULT, 20, FAULT, 20, 20, 20)
    assert states[2:] == [State.DOWN] * 5 + [State.UP]
    assert found.since == START + 5 * STEP


def test_faults_at_the_beginning_are_not_known_to_be_down_before_they_agree():
    assert seen(FAULT, FAULT, FAULT)[1] == [State.UNKNOWN, State.UNKNOWN, State.DOWN]


def test_what_was_seen_too_long_ago_is_no_knowledge():
    found, _ = seen(20)
    assert watching.now_state(found, START + 4 * STEP, STEP) is State.UP
    assert watching.now_state(found, START + 5 * STEP, STEP) is State.UNKNOWN
    assert watching.now_state(None, START, STEP) is State.UNKNOWN


@given(st.lists(st.sampled_from(["", FAULT]), max_size=40))
def test_down_begins_and_ends_only_where_three_agree(what):
    found, runs = None, ""
    for place, fault in enumerate(what):
        before = watching.is_down(found)
        found = watching.follow(found, Probe("ledger", START + STEP * place, 1.0, fault), 1000)
        runs += "x" if fault else "."
        if watching.is_down(found) and not before:
            assert runs.endswith("xxx")
        if before and not watching.is_down(found):
            assert runs.endswith("...")


TODAY = date(2026, 3, 1)
WORK = Planned(START + timedelta(hours=5), START + timedelta(hours=6), ("ledger",))


@pytest.mark.parametrize(
    ("minutes", "planned", "kind", "words"),
    [
        (None, False, "unknown", "Not measured"),
        (Minutes(), False, "unknown", "Not measured"),
        (Minutes(up=1440), False, "ok", "Worked"),
        (Minutes(up=10), False, "ok", "Worked"),
        (Minutes(up=1436, slow=4), False, "ok", "Worked"),
        (Minutes(up=1435, slow=5), False, "warn", "Slow for 5 minutes"),
        (Minutes(up=1439, down=1), False, "bad", "Away for 1 minute"),
        (Minutes(up=1400, slow=26, down=14), False, "bad", "Away for 14 minutes; Slow for 26 minutes"),
        (Minutes(up=1440), True, "busy", "Planned work; nothing was away"),
        (Minutes(up=1430, down=10), True, "busy", "Planned work; Away for 10 minutes"),
        (None, True, "busy", "Planned work"),
    ],
)
def test_a_bar_says_what_was_not_as_usual(minutes, planned, kind, words):
    found = status.judge(TODAY, minutes, is_planned=planned)
    assert (found.kind, found.words) == (kind, words)


def test_there_are_ninety_bars_and_a_day_nobody_measured_is_never_healthy():
    bars = status.bars("ledger", {TODAY: Minutes(up=3)}, [WORK], TODAY)
    assert len(bars) == 90
    assert [bar.kind for bar in bars[:-1]] == ["unknown"] * 89
    assert bars[-1].kind == "busy"
    assert status.bars("codex", {TODAY: Minutes(up=3)}, [WORK], TODAY)[-1].kind == "ok"


@pytest.mark.parametrize(
    ("minutes", "words"),
    [
        ([], "not measured"),
        ([Minutes()], "not measured"),
        ([Minutes(up=10), Minutes(slow=10)], "100 %"),  # slow is up, and what was not measured does not count
        ([Minutes(up=129_600 - 14, down=14)], "99.989 %"),
        ([Minutes(up=9_999_999, down=1)], "99.999 %"),  # never rounded up to all
        ([Minutes(down=5)], "0 %"),
    ],
)
def test_uptime_is_of_measured_minutes_alone(minutes, words):
    assert status.percent(status.uptime(minutes)) == words


def test_the_whole_is_as_bad_as_its_worst_part():
    up, slow, down, unknown = State.UP, State.SLOW, State.DOWN, State.UNKNOWN
    assert status.headline([up, up]) == ("ok", "Everything works")
    assert status.headline([up, slow])[0] == "warn"
    assert status.headline([up, unknown, slow])[0] == "unknown"
    assert status.headline([up, unknown, down]) == ("bad", "Something does not answer")
    assert status.headline([down, down]) == ("bad", "Nothing answers")


def test_days_that_were_alike_are_told_once():
    def bars(**known):
        named = {TODAY - timedelta(days=int(ago[1:])): minutes for ago, minutes in known.items()}
        return [status.judge(day, named.get(day, Minutes(up=1)), is_planned=False) for day in sorted(named)]

    away = Minutes(up=1, down=2)
    parts = {"Bills": bars(d3=Minutes(), d2=Minutes(), d1=away), "Proofs": bars(d3=Minutes(), d2=Minutes())}
    assert status.unusual(parts) == [
        (TODAY - timedelta(days=1), TODAY - timedelta(days=1), "Bills", "Away for 2 minutes"),
        (TODAY - timedelta(days=3), TODAY - timedelta(days=2), "All", "Not measured"),
    ]


def test_uptime_of_nothing_is_none():
    assert status.uptime([Minutes(), Minutes()]) is None
    assert status.uptime([Minutes(up=1, down=1)]) == Decimal("50.000")
