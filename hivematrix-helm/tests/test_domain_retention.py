"""Which backup sets stay: a plan made of values, whatever clocks, disks and the off-site store did before."""

import os
from collections import Counter
from datetime import UTC, datetime, timedelta

from hivematrix_helm.domain import retention
from hivematrix_helm.domain.backup import Record, set_name
from hivematrix_helm.domain.retention import FLOOR, FUTURE, LAST, NOT_AWAY, RECENT, is_verified, plan
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

NIGHT = datetime(2026, 1, 1, 3, tzinfo=UTC)
DAY = timedelta(days=1)


def made(at, *, verified=True):
    return Record(set_name(at), at, "0" * 64, verified_at=at if verified else None)


def nights(count):
    return [made(NIGHT + at * DAY) for at in range(count)]


def kept(sets, now=None, awaited=()):
    """By name: the reasons of those that stay."""
    found = plan(sets, now or max(one.made_at for one in sets), awaited)
    return {verdict.name: verdict.reasons for verdict in found.verdicts if verdict.stays}


def test_after_two_years_of_nights_thirty_days_twelve_weeks_and_twelve_months_stay():
    sets = nights(730)
    stay = kept(sets)
    assert Counter(reason for reasons in stay.values() for reason in reasons) == {
        "daily": 30,
        "weekly": 12,
        "monthly": 12,
    }
    assert all(one.name in stay for one in sets[-30:])
    ends = {one.name for one in sets if (one.made_at + DAY).day == 1}
    assert {name for name, reasons in stay.items() if "monthly" in reasons} <= ends | {sets[-1].name}
    assert len(stay) == 30 + 7 + 11 - 1  # 31 October was the end of a week too


def test_nothing_ever_goes_by_age_alone():
    assert len(kept(nights(5), NIGHT + 3650 * DAY)) == 5


def test_of_one_day_the_newest_verified_set_stays_and_never_fewer_than_three():
    hours = [made(NIGHT + timedelta(hours=at)) for at in range(6)]
    stay = kept(hours)
    assert list(stay.values()) == [("daily", "weekly", "monthly"), (LAST,), (LAST,)]
    assert list(stay) == [one.name for one in reversed(hours[-3:])]


def test_a_set_that_is_not_verified_takes_nobodys_place():
    good, bad = nights(30), [made(NIGHT + (40 + at) * DAY, verified=False) for at in range(50)]
    stay = kept(good + bad)
    assert all(one.name in stay for one in good)
    assert all(stay[one.name] == (RECENT,) for one in bad)


def test_a_set_that_is_not_verified_goes_when_thirty_later_days_have_a_verified_one():
    rotten = made(NIGHT - DAY).found_bad("ledger.dump.zst: missing")
    assert rotten.name in kept([rotten, *nights(29)])
    assert rotten.name not in kept([rotten, *nights(30)])


def test_a_set_from_the_future_stays_and_takes_nobodys_place():
    """The clock was a year ahead for some nights, and was set right."""
    wrong = [made(one.made_at + 365 * DAY) for one in nights(40)]
    stay = kept(wrong + nights(31), NIGHT + 30 * DAY)
    assert all(stay[one.name] == (FUTURE,) for one in wrong)
    assert all(one.name in stay for one in nights(31)[1:])


def test_what_was_made_after_the_clock_was_set_back_stays():
    back = made(NIGHT - 365 * DAY)
    assert back.name in kept([*nights(100), back], back.made_at)


def test_a_set_that_is_not_off_site_yet_stays_until_it_is():
    sets = nights(60)
    assert kept(sets, awaited={sets[0].name})[sets[0].name] == (NOT_AWAY,)
    assert sets[0].name not in kept(sets)


def test_the_oldest_go_first():
    gone = plan(nights(60), NIGHT + 60 * DAY).remove
    assert len(gone) > 10
    assert list(gone) == sorted(gone)


def test_no_sets_no_plan():
    assert plan([], NIGHT).verdicts == ()


class Years(RuleBasedStateMachine):
    """Nights good and bad, rot, a clock that leaps, an off-site store that goes away; and pruning in between."""

    @initialize()
    def begin(self):
        self.now, self.sets, self.away, self.awaited = NIGHT, {}, False, set()

    def _make(self, *, verified):
        one = made(self.now, verified=verified)
        self.sets[one.name] = one
        if self.away:
            self.awaited.add(one.name)

    @rule(count=st.integers(1, 40), good=st.sampled_from((True, True, True, False)))
    def nights_pass(self, count, good):
        for _ in range(count):
            self.now += DAY
            self._make(verified=good)

    @rule(good=st.booleans(), minutes=st.integers(1, 600))
    def one_more_on_the_same_day(self, good, minutes):
        self.now += timedelta(minutes=minutes)
        self._make(verified=good)

    @rule(days=st.sampled_from((-366, -31, -1, 1, 29, 366)))
    def the_clock_leaps(self, days):
        self.now += days * DAY

    @rule(data=st.data())
    def a_set_turns_out_good_or_rotten(self, data):
        if self.sets:
            one = self.sets[sorted(self.sets)[data.draw(st.integers(0, len(self.sets) - 1))]]
            turned = one.found_bad("archive.dump.zst: missing") if is_verified(one) else one.found_good(self.now)
            self.sets[one.name] = turned

    @rule()
    def off_site_goes_away(self):
        self.away = True

    @rule()
    def off_site_is_back_and_takes_what_waited(self):
        self.away, self.awaited = False, set()

    @rule()
    def prune(self):
        before = dict(self.sets)
        for name in plan(before.values(), self.now, self.awaited).remove:
            del self.sets[name]
        again = plan(self.sets.values(), self.now, self.awaited)
        assert again.remove == ()  # what stays was not held by what went
        backwards = [self.sets[name] for name in sorted(self.sets, reverse=True)]
        assert plan(backwards, self.now, self.awaited) == again  # the order in which sets are found changes nothing
        self._nothing_dear_went(before)

    def _nothing_dear_went(self, before):
        verified = [one for one in before.values() if is_verified(one)]
        assert sum(one.name in self.sets for one in verified) >= min(FLOOR, len(verified))
        for gone in (one for name, one in before.items() if name not in self.sets):
            assert gone.name not in self.awaited
            assert gone.made_at <= self.now
            days = {one.made_at.date() for one in verified if gone.made_at < one.made_at <= self.now}
            replaced_the_same_day = is_verified(gone) and gone.made_at.date() in days
            assert replaced_the_same_day or len(days) >= retention.DAILY


Years.TestCase.settings = settings(
    max_examples=int(os.environ.get("PROOF_SEQUENCES", "40")), stateful_step_count=20, deadline=None, database=None
)
TestYears = Years.TestCase
