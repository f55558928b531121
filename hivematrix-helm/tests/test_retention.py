"""Sets that are removed from a real folder: what was planned, by the manifests, and nothing else."""

import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hivematrix_helm.config import HelmSettings, OffSite
from hivematrix_helm.domain.backup import MANIFEST, MANIFEST_SUM
from hivematrix_helm.domain.offsite import MEMBER, Copy
from hivematrix_helm.domain.retention import FLOOR
from hivematrix_helm.services import retention
from hivematrix_helm.system import sets as set_files
from hivematrix_helm.system.sets import Sets
from hypothesis import settings as searched
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, rule
from hypothesis.stateful import run_state_machine_as_test as assert_holds

HISTORIES = int(os.environ.get("PROOF_FOLDERS", "10"))
NIGHT = datetime(2026, 1, 1, 3, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def settings(home):
    return HelmSettings(home=home)


@pytest.fixture
def nights(settings, make_set, monkeypatch):
    """nights(40): one set a night, verified, the clock on the last; their names."""

    def made(count):
        names = [make_set(settings, NIGHT + at * DAY).name for at in range(count)]
        monkeypatch.setenv("HIVEMATRIX_NOW", (NIGHT + count * DAY).isoformat())
        return names

    return made


def left(settings):
    """The sets that are there, and those that are known of."""
    place = Sets.of(settings)
    return place.names(), [record.name for record in place.records()]


def test_what_is_removed_is_what_was_planned(settings, nights):
    names = nights(50)
    planned = retention.planned(settings)
    assert left(settings) == (names, names)
    assert retention.prune(settings) == planned
    stay = [name for name in names if name not in planned.remove]
    assert left(settings) == (stay, stay)
    assert 30 <= len(stay) < 50
    assert retention.prune(settings).remove == ()


def test_a_files_time_says_nothing(settings, nights):
    names = nights(40)
    planned = retention.planned(settings)
    for at, name in enumerate(names):
        for path in Sets.of(settings).path(name).iterdir():
            os.utime(path, (at * 1e6, at * 1e6 % 7))
    assert retention.planned(settings) == planned


def test_a_record_that_was_changed_does_not_make_a_set_older(settings, nights, tmp_path):
    """The time is the manifest's."""
    names = nights(40)
    planned = retention.planned(settings)
    path = Sets.of(settings).records_folder / f"{names[-1]}.json"
    path.write_text(path.read_text().replace('"2026-', '"1999-'))
    assert retention.planned(settings) == planned


def swap_manifest(path):
    """Another manifest, and its own sum: in itself all is well."""
    data = (path / MANIFEST).read_bytes().replace(b"pg_dump 18", b"pg_dump 19")
    (path / MANIFEST).write_bytes(data)
    (path / MANIFEST_SUM).write_text(f"{sha256(data).hexdigest()}  {MANIFEST}\n")


@pytest.mark.parametrize("what", ["folder", "broken manifest", "another manifest"])
def test_sets_that_are_gone_or_others_hold_nothing_up(settings, nights, what):
    """Forty were verified; of the newest thirty nothing is left. The ten older ones are all there is."""
    names, place = nights(40), Sets.of(settings)
    for name in names[10:]:
        if what == "folder":
            (place.folder / name).rename(place.folder.parent / name)
        elif what == "broken manifest":
            (place.folder / name / MANIFEST).write_text("{}")
        else:
            swap_manifest(place.folder / name)
    retention.prune(settings)
    assert set(names[:10]) <= set(place.names())


def test_a_set_that_was_made_elsewhere_is_left_alone(settings, nights, make_set):
    nights(40)
    stranger = make_set(settings, NIGHT - 400 * DAY)
    Sets.of(settings).forget(stranger.name)
    retention.prune(settings)
    assert stranger.name in Sets.of(settings).names()


def test_a_removal_that_was_killed_leaves_no_part_under_the_sets_name(settings, nights, monkeypatch):
    names, place = nights(40), Sets.of(settings)
    monkeypatch.setattr(retention.shutil, "rmtree", lambda *_arguments, **_more: os._exit)
    gone = retention.prune(settings).remove
    assert gone
    assert not set(gone) & set(place.names())
    assert set(names) - set(gone) == set(place.names())
    monkeypatch.undo()
    place.clear_partials()
    assert sorted(path.name for path in place.folder.iterdir()) == place.names()


class Folders(RuleBasedStateMachine):
    """Sets made, harmed, lost and sent in a real folder, and pruned in between."""

    def __init__(self, make_set, set_clock):
        super().__init__()
        self.make_set, self.set_clock = make_set, set_clock
        self.folder, self.now, self.good = TemporaryDirectory(), NIGHT, set()
        way = OffSite(copy="cp {set} {name}", read_back="cat {name} {file}")
        self.settings = HelmSettings(home=Path(self.folder.name), offsite=way)
        self.place = Sets.of(self.settings)

    def teardown(self):
        self.folder.cleanup()

    @rule(
        count=st.integers(1, 20),
        apart=st.sampled_from((DAY, DAY, timedelta(hours=1))),
        verified=st.sampled_from((True, True, True, False)),
    )
    def sets_are_made(self, count, apart, verified):
        for _ in range(count):
            self.now += apart
            name, at = self.place.free_name(self.now)
            self.make_set(self.settings, at, verified=verified)
            self.good |= {name} if verified else set()

    @rule(days=st.sampled_from((-366, -31, -1, 1, 29, 366)))
    def the_clock_leaps(self, days):
        self.now += days * DAY

    @rule(which=st.integers(0, 10**6), how=st.sampled_from(("gone", "broken", "found bad")))
    def a_set_is_harmed(self, which, how):
        names = self.place.names()
        if not names:
            return
        name = names[which % len(names)]
        self.good.discard(name)
        if how == "gone":
            shutil.rmtree(self.place.path(name))
        elif how == "broken":
            (self.place.path(name) / MANIFEST).write_text("{}")
        elif record := self.place.record(name):
            self.place.keep(record.found_bad("archive.dump: missing"))

    @rule()
    def all_that_waits_is_sent(self):
        for record in self.place.records():
            self.place.keep(replace(record, more={MEMBER: Copy(self.now).as_json()}))

    @rule()
    def prune(self):
        self.set_clock(self.now.isoformat())
        names, records = left(self.settings)
        planned = retention.planned(self.settings)
        assert left(self.settings) == (names, records)  # to plan does nothing
        assert retention.prune(self.settings) == planned
        gone = set(planned.remove)
        assert left(self.settings) == ([one for one in names if one not in gone], [r for r in records if r not in gone])
        assert list(self.place.folder.glob(f"{set_files.PARTIAL}*")) == []
        assert len(self.good - gone) >= min(FLOOR, len(self.good))
        self.good -= gone


@pytest.mark.slow
def test_whatever_happened_to_sets_what_is_removed_is_what_was_planned_and_three_good_ones_stay(
    make_set, set_clock, monkeypatch
):
    monkeypatch.setattr(os, "fsync", lambda _handle: None)  # no power cut here
    often = searched(max_examples=HISTORIES, stateful_step_count=10, deadline=None, database=None)
    assert_holds(partial(Folders, make_set, set_clock), settings=often)


class TestCommand:
    @pytest.fixture
    def helm_conf(self, helm, make_set, monkeypatch):
        for at in range(40):
            make_set(helm.settings, NIGHT + at * DAY)
        monkeypatch.setenv("HIVEMATRIX_NOW", (NIGHT + 40 * DAY).isoformat())
        return helm.settings

    def test_a_dry_run_says_what_the_act_does(self, helm_conf, run_helm):
        planned = run_helm("backup", "prune", "--dry-run", "--json")
        assert (planned["done"], len(Sets.of(helm_conf).names())) == (False, 40)
        acted = run_helm("backup", "prune", "--json")
        assert acted == planned | {"done": True}
        assert [row["name"] for row in reversed(acted["sets"]) if row["stays"]] == Sets.of(helm_conf).names()

    def test_while_another_works_on_the_sets_nothing_is_removed(self, helm_conf, run_helm):
        with set_files.locked(helm_conf.home):
            assert run_helm("backup", "prune", code=75) is None
        assert len(Sets.of(helm_conf).names()) == 40
