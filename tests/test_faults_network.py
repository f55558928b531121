"""What a network may do between the services of a month close, by a real proxy in each of its links."""

import os
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from typing import Any

import pytest
import requests
from faulty import cuts, hung_up, passed_on, refused, slow, swallowed, unanswered
from hivematrix_archive.domain.jobs import DONE, FAILED
from hivematrix_archive.services import jobs
from hivematrix_archive.services.jobs import Report, Runner
from hivematrix_common.domain.period import Period

pytestmark = pytest.mark.mesh
# The small size of the proof; scripts/prove cuts at some hundred places.
CUTS = int(os.environ.get("PROOF_CUTS", "24"))
SLOW = 20.0
# Those of the sample that have a bill every month.
ACCOUNTS = ("620547", "183729", "159037", "268415", "346879", "402918", "557310", "689153", "731064", "827546")


def bills(first: Period, count: int) -> list[tuple[str, Period]]:
    """So many bills nobody has accepted yet."""
    return [(ACCOUNTS[n % len(ACCOUNTS)], first.plus(n // len(ACCOUNTS))) for n in range(count)]


def accept(mesh: Any, account: str, period: Period, **headers: str) -> Any:
    body = {"account_number": account, "year": period.year, "month": period.month}
    return mesh.ask("POST", "ledger", "/api/bill/accept", json=body, headers=headers)


def seal(runner: Runner, account: str, period: Period) -> Report:
    return jobs.run_asked(runner, period, (account,), "the timer")


def seal_in_the_end(runner: Runner, account: str, period: Period) -> int:
    """How often it was asked for; whatever fails is said to pass."""
    for times in range(1, 5):
        report = seal(runner, account, period)
        if report.code == DONE:
            return times
        assert report.tally.retryable, report.tally.errors
    raise AssertionError(report.tally.errors)


def assert_sound(mesh: Any, done: list[tuple[str, Period]]) -> None:
    mesh.assert_sound(*{(period.year, period.month) for _, period in done})


# The link, which of a bill's replies on it, and the months to try it on.
REPLIES = [("codex", 0, 2006), ("archive", 0, 2009), ("archive", 1, 2014)]


@pytest.mark.parametrize("reply", REPLIES)
def test_a_reply_cut_at_any_byte_is_never_taken_for_an_answer(strained: Any, reply: tuple[str, int, int]) -> None:
    """A clerk is told that it is sealed, or to ask again, and nothing else."""
    link, before, asked = strained.links[reply[0]], [passed_on] * reply[1], bills(Period(reply[2], 1), CUTS)
    for (account, period), fault in zip(asked, cuts(CUTS), strict=True):
        with link.giving(*before, fault):
            answer = accept(strained, account, period)
        if answer.status_code == 503:
            assert answer.json()["code"] == "peer_unavailable"
            answer = accept(strained, account, period)
        assert answer.status_code in {200, 201}, answer.text
    assert_sound(strained, asked)


def test_a_cut_reply_of_ledger_is_asked_for_again(strained: Any) -> None:
    asked = bills(Period(2003, 1), CUTS)
    with strained.timer() as runner:
        for (account, period), fault in zip(asked, cuts(CUTS), strict=True):
            with strained.links["ledger"].giving(fault):
                assert seal_in_the_end(runner, account, period) <= 2
    assert_sound(strained, asked)


def test_every_tenth_request_may_fail_in_every_link(strained: Any) -> None:
    """Each failure is one that passes, so that the next hour's run tries again."""
    asked = bills(Period(2017, 1), 30)
    nine = [passed_on] * 9
    faults = list(chain.from_iterable([*nine, fault] for fault in (refused(503), hung_up, refused(500, "internal"))))
    links = strained.links
    with (
        strained.timer() as runner,
        links["ledger"].giving(*faults, forever=True),
        links["codex"].giving(*faults, forever=True),
        links["archive"].giving(*faults, forever=True),
    ):
        times = [seal_in_the_end(runner, account, period) for account, period in asked]
    assert sum(times) <= len(asked) * 1.1
    assert_sound(strained, asked)


def test_twenty_slow_seconds_are_waited_for_and_keep_nobody_else_waiting(strained: Any) -> None:
    """Ledger is slow for the timer; Codex and Archive are slow for a clerk each; a third has no time to wait."""
    links, period = strained.links, Period(2012, 1)
    with (
        ThreadPoolExecutor(3) as pool,
        links["ledger"].giving(slow(SLOW)),
        links["archive"].giving(slow(SLOW)),
        links["codex"].giving(slow(SLOW), swallowed),
    ):
        close = strained.start_close(2012, 2)
        patient = []
        for peer, account in (("archive", "620547"), ("codex", "183729")):
            called = len(links[peer].calls)
            patient.append(pool.submit(accept, strained, account, period))
            links[peer].wait_for_call(called)
        hasty = accept(strained, "159037", period, **{"X-Request-Deadline": "3000"})
        slowest = max(health_seconds(strained) for _ in range(20))
        assert strained.ask("GET", "ledger", "/api/bill/check-archived/620547?year=2012&month=1").ok
        answers = [one.result() for one in patient]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert hasty.status_code in {503, 504}
    assert hasty.elapsed.total_seconds() < SLOW
    assert slowest < 5  # a hang takes longer; how quick it is stands in the figures
    out, err = close.communicate(timeout=120)
    assert close.returncode == 0, out + err
    strained.assert_sound((2012, 1), (2012, 2))


def health_seconds(mesh: Any) -> float:
    began = time.monotonic()
    assert all(requests.get(f"{mesh.url(service)}/health", timeout=5).ok for service in ("ledger", "archive"))
    return time.monotonic() - began


def test_a_black_hole_is_given_up_and_what_was_done_behind_it_counts_once(strained: Any) -> None:
    """Requests vanish before Ledger, and answers behind it."""
    began = time.monotonic()
    with strained.timer(HIVEMATRIX_ARCHIVE_SERVICES_ANSWER_SECONDS="1") as runner:
        with strained.links["ledger"].giving(swallowed, unanswered, forever=True):
            report = seal(runner, "620547", Period(2012, 3))
        assert (report.code, report.tally.errors) == (FAILED, ["620547: ledger: no answer in time"])
        assert time.monotonic() - began < 60
        assert seal(runner, "620547", Period(2012, 3)).code == DONE
    strained.assert_sound((2012, 3))


# A peer that is down is left alone after five calls; one that only asks for patience is held to the budget.
@pytest.mark.parametrize("status", [503, 429])
def test_at_full_failure_retries_add_at_most_a_fifth_to_the_calls(strained: Any, status: int) -> None:
    link = strained.links["codex"]

    def ask(times: int) -> int:
        before = len(link.calls)
        with ThreadPoolExecutor(4) as pool:
            codes = list(pool.map(lambda _: strained.ask("GET", "ledger", "/api/plans").status_code, range(times)))
        assert set(codes) == {503}
        return len(link.calls) - before

    with link.giving(refused(status), forever=True):
        ask(12)  # a quiet client may retry a few times
        assert ask(50) <= 60
    deadline = time.monotonic() + 15
    while not strained.ask("GET", "ledger", "/api/plans").ok:
        assert time.monotonic() < deadline
        time.sleep(0.2)
