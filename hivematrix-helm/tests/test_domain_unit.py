from hivematrix_helm.domain.unit import HEALTHY_SECONDS, LONGEST_DELAY, State, Unit, delay
from hypothesis import given, settings
from hypothesis import strategies as st


def crash(unit, now, lived=0.0, code=-9):
    return unit.started(now).exited(now + lived, code, "")


def test_a_dead_service_is_started_again_after_1_2_4_up_to_30_seconds():
    unit, delays = Unit(), []
    for _ in range(7):
        unit = crash(unit, now=unit.due, code=1)
        delays.append(unit.due - unit.since)
    assert delays == [1, 2, 4, 8, 16, 30, 30]
    assert unit.restarts == 7


def test_one_that_is_killed_again_and_again_is_back_soon_each_time():
    unit = Unit()
    for _ in range(9):
        unit = crash(unit, now=unit.due, code=-9)
    assert unit.due - unit.since == 2


def test_a_healthy_minute_clears_the_record():
    unit = crash(crash(crash(Unit(), 0, code=1), 10, code=1), 20, lived=HEALTHY_SECONDS, code=1)
    assert (unit.failures, unit.due - unit.since) == (1, 1)


def test_a_configuration_fault_is_not_tried_again():
    unit = Unit().started(0).exited(1, 78, "ledger.conf: [service] prot: unknown key")
    assert unit.state is State.REFUSED
    assert unit.why == "ledger.conf: [service] prot: unknown key"
    assert not unit.is_due(1e9)


def test_a_refused_service_starts_when_a_person_asks():
    unit = Unit().started(0).exited(1, 78, "no").start(5)
    assert (unit.state, unit.is_due(5), unit.why) == (State.WAITING, True, "")


def test_how_it_ended_is_told():
    assert crash(Unit(), 0, code=-9).why == "killed by signal 9"
    assert (
        Unit().started(0).exited(0, 1, "ModuleNotFoundError: x").why == "ended with exit code 1: ModuleNotFoundError: x"
    )


def test_a_stopped_service_stays_stopped():
    unit = Unit().started(0).stop(5, grace=25)
    assert (unit.state, unit.is_due(29), unit.is_due(30)) == (State.STOPPING, False, True)
    unit = unit.exited(6, 0, "")
    assert unit.state is State.STOPPED
    assert not unit.is_due(1e9)


def test_a_restart_ends_the_process_and_starts_at_once_without_a_failure():
    unit = Unit().started(0).restart(5, grace=25)
    assert unit.state is State.STOPPING
    unit = unit.exited(7, 0, "")
    assert (unit.state, unit.is_due(7), unit.failures, unit.restarts) == (State.WAITING, True, 0, 0)


def test_a_start_during_a_stop_lets_it_come_back():
    unit = Unit().started(0).stop(5, grace=25).start(6).exited(7, 0, "")
    assert (unit.state, unit.is_due(7)) == (State.WAITING, True)


def test_a_stop_while_waiting_for_the_next_start_cancels_it():
    assert crash(Unit(), 0).stop(0.5, grace=25).state is State.STOPPED


EVENTS = st.sampled_from(["start", "stop", "restart", "end", "refuse", "tick"])


@settings(max_examples=60)
@given(st.lists(EVENTS, max_size=30))
def test_whatever_happens_the_last_order_is_obeyed(events):
    unit, now, wanted = Unit(), 0.0, True
    for event in events:
        now += 1
        if event in {"start", "stop", "restart"}:
            wanted = event != "stop"
            unit = unit.start(now) if event == "start" else getattr(unit, event)(now, 25)
        elif event in {"end", "refuse"} and unit.state in {State.RUNNING, State.STOPPING}:
            unit = unit.exited(now, 78 if event == "refuse" else 1, "")
        elif unit.state is State.WAITING and unit.is_due(now):
            unit = unit.started(now)
        assert unit.wanted is wanted
        assert (unit.state is State.STOPPED) <= (not wanted)
        assert wanted or unit.state in {State.STOPPED, State.STOPPING}


@given(st.integers(1, 2000))
def test_the_delay_never_exceeds_half_a_minute(failures):
    assert 1 <= delay(failures) <= LONGEST_DELAY


def test_it_is_waited_for_only_when_it_is_back_soon():
    failing = crash(crash(crash(Unit(), 0, code=1), 10, code=1), 20, code=1)
    assert crash(Unit(), 0).is_back_soon(0)
    assert Unit().started(0).restart(5, 25).exited(6, 0, "").is_back_soon(6)
    assert not failing.is_back_soon(failing.since)
    assert not Unit().started(0).stop(5, 25).exited(6, 0, "").is_back_soon(6)
    assert not Unit().started(0).exited(1, 78, "no").is_back_soon(1)
