"""Sets are copied to another place by a command of the operator's, read back and compared; nothing is lost here."""

import logging
import shlex
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hivematrix_common.conffile import set_section
from hivematrix_common.config import ConfigError
from hivematrix_common.domain.errors import DomainError
from hivematrix_helm.config import HelmSettings, OffSite
from hivematrix_helm.domain.offsite import Copy, Template
from hivematrix_helm.services import nightly, offsite, retention
from hivematrix_helm.system import offsite as commands
from hivematrix_helm.system.offsite import CommandError
from hivematrix_helm.system.sets import Sets

NIGHT = datetime(2026, 1, 1, 3, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
def far(tmp_path):
    """The other place."""
    made = tmp_path / "far away"
    made.mkdir()
    return made


@pytest.fixture
def settings(home, far):
    place = shlex.quote(str(far))
    way = OffSite(copy=f"cp -r {{set}} {place}/{{name}}", read_back=f"cat {place}/{{name}}/{{file}}")
    return HelmSettings(home=home, offsite=way)


@pytest.fixture
def with_way(settings):
    """with_way(copy=...): the same home with other commands."""
    return lambda **way: HelmSettings(home=settings.home, offsite=OffSite(**{**vars(settings.offsite), **way}))


@pytest.fixture
def nights(settings, make_set, monkeypatch):
    def made(count):
        monkeypatch.setenv("HIVEMATRIX_NOW", (NIGHT + count * DAY).isoformat())
        return [make_set(settings, NIGHT + at * DAY).name for at in range(count)]

    return made


def copied(settings):
    """Of each set: whether it is known to be off-site, and what went wrong else."""
    return {record.name: Copy.of(record).fault or bool(Copy.of(record).at) for record in Sets.of(settings).records()}


def content(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_every_verified_set_is_copied_once_and_is_the_same_there(settings, nights, far, make_set):
    names = nights(3)
    bad = make_set(settings, NIGHT + 5 * DAY, fault="ledger.dump: missing")
    new = make_set(settings, NIGHT + 6 * DAY, verified=False)
    assert list(offsite.send(settings)) == names[::-1]  # the newest first
    assert copied(settings) == dict.fromkeys(names, True) | {bad.name: False, new.name: False}
    assert all(content(far / name) == content(Sets.of(settings).path(name)) for name in names)
    assert offsite.send(settings) == {}


@pytest.mark.parametrize(
    "damage",
    [
        ("tr a-z A-Z < $0/archive.dump > archive.dump", "archive.dump: its content is not what was written"),
        ("printf short > codex.dump", "codex.dump: 5 bytes, 40 were written"),
        ("printf xx > manifest.json", "manifest.json: 2 bytes"),
        ("rm helm.dump", "No such file"),
    ],
)
def test_what_arrives_otherwise_is_told_and_the_set_stays(nights, far, caplog, with_way, damage):
    [name], (on_the_way, said) = nights(1), damage
    spoiling = with_way(copy=f'sh -c \'cp -r $0 "{far}/$1"; cd "{far}/$1"; {on_the_way}\' {{set}} {{name}}')
    before = content(Sets.of(spoiling).path(name))
    assert said in offsite.send(spoiling)[name].fault
    assert content(Sets.of(spoiling).path(name)) == before
    [told] = [record for record in caplog.records if getattr(record, "alert", "") == "backup_not_off_site"]
    assert (told.set, told.levelno, said in told.reason) == (name, logging.ERROR, True)


def test_a_place_that_is_away_is_asked_once_a_run_and_again_the_next_time(settings, nights, far, with_way):
    names = nights(3)
    away = with_way(copy="sh -c 'echo no route to host >&2; exit 7' {set} {name}")
    assert offsite.send(away) == {names[2]: Copy(fault="sh ended with 7: no route to host")}
    assert list(offsite.send(away)) == [names[1]]  # one that fails again and again is not in the way of the others
    assert all(Copy.of(record).at is None for record in Sets.of(settings).records())
    assert sorted(offsite.send(settings)) == names
    assert copied(settings) == dict.fromkeys(names, True)


def test_while_the_place_is_away_no_set_that_is_not_there_goes(settings, nights, with_way):
    names = nights(60)
    away = with_way(copy="false {set} {name}")
    assert nightly.finish(away) == [f"{names[-1]}: not off-site: false ended with 1: it said nothing"]
    assert Sets.of(settings).names() == names
    assert nightly.finish(settings) == []
    assert len(Sets.of(settings).names()) < 40


def test_without_an_other_place_nothing_waits_for_it(home, make_set):
    settings = HelmSettings(home=home)
    for at in range(40):
        make_set(settings, NIGHT + at * DAY)
    assert offsite.send(settings) == {}
    assert len(retention.planned(settings).remove) > 0


def test_what_a_template_is_given_stays_one_word_and_meets_no_shell(tmp_path):
    template = Template.parse("copy", "cp -r {set} '/far away/{name};$(id)'", ("set", "name"))
    assert template.filled(set="/a b", name="x; y {set}") == ["cp", "-r", "/a b", "/far away/x; y {set};$(id)"]
    made = tmp_path / "one; touch two"
    commands.run(["touch", str(made)], 5)
    assert list(tmp_path.iterdir()) == [made]


@pytest.mark.parametrize("text", ["rclone copy {set} far:", "cp {set} {name} {home}", "cp '{set} {name}", "cp a b"])
def test_a_template_without_its_places_is_refused(text):
    with pytest.raises(DomainError, match="copy: "):
        Template.parse("copy", text, ("set", "name"))


@pytest.mark.parametrize(
    ("way", "said"),
    [
        ({"copy": "cp -r {set} /far/{name}"}, "a copy that nobody reads back proves nothing"),
        (
            {"copy": "cp -r {set} /far", "read_back": "cat /far/{name}/{file}"},
            r"\[offsite\] copy: expected a command with",
        ),
        ({"copy": "cp {set} {name}", "read_back": "cat {name}"}, r"\[offsite\] read_back: expected a command with"),
    ],
)
def test_a_wrong_way_is_a_configuration_fault(helm, way, said):
    set_section(helm.settings.conf, "offsite", way)
    with pytest.raises(ConfigError, match=said):
        HelmSettings.load(helm.settings.home, environ={}, folder=helm.settings.home)


class TestCommands:
    def test_one_that_hangs_is_ended_with_all_it_started(self, tmp_path):
        shell = f"sleep 60 & echo $! > {tmp_path}/pid; wait"
        with pytest.raises(CommandError, match="sh took longer than 1 s"):
            commands.read(["sh", "-c", shell], 1)
        pid = int((tmp_path / "pid").read_text())
        deadline = time.monotonic() + 30
        while Path(f"/proc/{pid}").exists() and "zombie" not in Path(f"/proc/{pid}/status").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.02)

    def test_one_that_is_not_there_is_told(self):
        with pytest.raises(CommandError, match="no-such-program"):
            commands.run(["no-such-program", "x"], 5)

    def test_what_it_prints_is_hashed_and_not_kept(self):
        assert commands.read(["printf", "abc"], 5).bytes == 3
