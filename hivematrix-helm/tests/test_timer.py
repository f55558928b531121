"""Without systemd Helm does the timer's work; with it, never."""

import logging
import os
import signal
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hivematrix_helm.config import HelmSettings, Timer
from hivematrix_helm.services import background, timer


@pytest.fixture(autouse=True)
def no_rounds(monkeypatch):
    """Helm's rounds have tests of their own."""
    monkeypatch.setattr(background.rounds, "add_jobs", lambda *_: None)


@pytest.fixture
def machine(tmp_path, monkeypatch):
    """machine(systemd=..., unit=...): what the machine has."""

    def has(*, systemd, unit):
        booted, units = tmp_path / "run", tmp_path / "units"
        units.mkdir()
        if systemd:
            booted.mkdir()
        if unit:
            (units / "archive-snapshot.timer").touch()
        monkeypatch.setattr("hivematrix_helm.system.systemd.BOOTED", booted)
        monkeypatch.setattr("hivematrix_helm.system.systemd.FOLDERS", (tmp_path / "none", units))

    return has


@pytest.mark.parametrize(
    ("by", "systemd", "unit", "ours"),
    [
        ("auto", False, False, True),  # a container, a laptop
        ("auto", True, False, True),  # systemd runs, the units are not installed
        ("auto", False, True, True),  # the units lie there, no systemd reads them
        ("auto", True, True, False),
        ("helm", True, True, True),
        ("systemd", False, False, False),
    ],
)
def test_one_of_both_does_it(machine, by, systemd, unit, ours):
    machine(systemd=systemd, unit=unit)
    assert timer.is_ours(replace(HelmSettings(), timer=Timer(by=by))) is ours


def test_of_each_timer_it_is_asked_by_itself(machine, tmp_path):
    """Sealing may be systemd's while nobody backs up yet."""
    machine(systemd=True, unit=True)
    settings = HelmSettings()
    ours = {unit: timer.is_ours(settings, unit) for unit in (timer.UNIT, timer.BACKUP_UNIT, timer.DRILL_UNIT)}
    assert ours == {timer.UNIT: False, timer.BACKUP_UNIT: True, timer.DRILL_UNIT: True}
    (tmp_path / "units" / timer.BACKUP_UNIT).touch()
    assert timer.is_ours(settings, timer.BACKUP_UNIT) is False


def test_another_word_is_no_configuration(helm):
    from hivematrix_common.conffile import set_section
    from hivematrix_common.config import ConfigError

    set_section(helm.settings.conf, "timer", {"by": "cron"})
    with pytest.raises(ConfigError, match=r"\[timer\] by: expected one of auto, helm, systemd, got 'cron'"):
        HelmSettings.load(helm.settings.home, environ={}, folder=helm.settings.home)


@pytest.fixture
def command(monkeypatch):
    """command(shell): what runs in place of the archive's command."""

    def runs(shell):
        monkeypatch.setattr(
            timer.processes, "command", lambda *asked: ["sh", "-c", shell.format(asked=" ".join(asked))]
        )

    return runs


def told(caplog):
    return [(record.levelname, record.exit_code, record.said) for record in caplog.records if hasattr(record, "said")]


def test_the_run_is_the_timers_own_command_for_this_home(command, home, caplog):
    caplog.set_level(logging.INFO)
    command("echo {asked} $HIVEMATRIX_HOME; exit 3")
    assert timer.run(home, threading.Event()) == 3
    assert told(caplog) == [("ERROR", 3, f"archive snapshot {home}")]
    assert caplog.records[-1].alert == "schedule_failed"


def test_an_hour_in_which_nothing_is_due_is_no_news(command, home, caplog):
    caplog.set_level(logging.INFO)
    command("echo nothing due >&2")
    assert timer.run(home, threading.Event()) == 0
    assert told(caplog) == []


@pytest.mark.parametrize(("work", "asked"), [("back_up", "helm backup run"), ("drill", "helm backup drill")])
def test_the_night_is_the_timers_own_commands_for_this_home(command, home, caplog, work, asked):
    command("echo {asked} $HIVEMATRIX_HOME; exit 1")
    assert getattr(timer, work)(home, threading.Event()) == 1
    assert told(caplog) == [("ERROR", 1, f"{asked} {home}")]
    assert caplog.records[-1].alert == "schedule_failed"


def test_a_run_that_meets_another_is_no_alert(command, home, caplog):
    caplog.set_level(logging.INFO)
    command("echo another run holds the lock; exit 75")
    assert timer.run(home, threading.Event()) == 75
    assert told(caplog) == [("INFO", 75, "another run holds the lock")]


def test_a_run_ends_with_the_service(command, home, tmp_path):
    command(f"echo $$ > {tmp_path}/pid; exec sleep 60")
    draining = threading.Event()
    draining.set()
    assert timer.run(home, draining) == -signal.SIGTERM
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_it_is_asked_before_every_run_whose_work_it_is(helm, monkeypatch):
    runs = []
    monkeypatch.setattr(background.timer, "run", lambda home, _draining: runs.append(home))
    seal = background._sealing(helm.app, helm.settings)
    monkeypatch.setattr("hivematrix_helm.system.systemd.has", lambda _unit: True)
    seal()
    monkeypatch.setattr("hivematrix_helm.system.systemd.has", lambda _unit: False)
    seal()
    assert runs == [helm.settings.home]


def test_the_backup_is_made_at_three_and_drilled_at_four_by_the_clock_on_the_wall(helm, monkeypatch):
    for module, name in ((background.timer, "run"), (background.witness, "look"), (background.proofs, "look")):
        monkeypatch.setattr(module, name, lambda *_: 0)
    done = []
    monkeypatch.setattr(background, "get_localzone", lambda: ZoneInfo("Asia/Kolkata"))
    monkeypatch.setattr(background.timer, "back_up", lambda home, _draining: done.append(("backup", home)))
    monkeypatch.setattr(background.timer, "drill", lambda home, _draining: done.append(("drill", home)))
    monkeypatch.setattr("hivematrix_helm.system.systemd.has", lambda unit: unit == timer.DRILL_UNIT)
    scheduler = background.start(helm.app, helm.settings)
    try:
        nights = [job for job in scheduler.get_jobs() if "hour='" in str(job.trigger)]
        assert [(f"{job.next_run_time:%H:%M}", str(job.trigger.timezone)) for job in nights] == [
            ("03:00", "Asia/Kolkata"),
            ("04:00", "Asia/Kolkata"),
        ]
        for job in nights:
            job.func()
        assert done == [("backup", helm.settings.home)]  # the drill is systemd's here
    finally:
        scheduler.shutdown()


def test_a_night_that_passed_while_nothing_ran_is_made_up_for(helm, monkeypatch, make_set):
    done = []
    monkeypatch.setattr(background.timer, "back_up", lambda *_: done.append("backup"))
    monkeypatch.setattr(background.timer, "drill", lambda *_: done.append("drill"))
    make_up = background._making_up(helm.app, helm.settings)
    make_up()
    assert done == []  # nobody makes sets here yet
    make_set(helm.settings, datetime.now(UTC) - timedelta(days=2))
    make_up()
    assert done == ["backup", "drill"]


def test_it_fires_each_hour_and_once_when_the_services_have_come_up(helm, monkeypatch):
    monkeypatch.setattr(background.timer, "run", lambda *_: 0)
    monkeypatch.setattr(background.witness, "look", lambda *_: None)
    scheduler = background.start(helm.app, helm.settings)
    try:
        triggers = [str(job.trigger).partition("[")[0] for job in scheduler.get_jobs() if job.executor == "timer"]
        assert sorted(triggers) == ["cron", "date"]
        assert "cron[minute='0']" in {str(job.trigger) for job in scheduler.get_jobs()}
    finally:
        scheduler.shutdown()


@pytest.mark.parametrize("days", [365, -365])
def test_a_clock_that_is_set_right_neither_stops_its_work_nor_has_a_year_made_up_for(helm, monkeypatch, days):
    """What was to be done next is as far away as the clock was wrong."""
    for module, name in (
        (background.timer, "run"),
        (background.witness, "look"),
        (background.audit, "collect_all"),
        (background.proofs, "look"),
        (background.timer, "back_up"),
        (background.timer, "drill"),
    ):
        monkeypatch.setattr(module, name, lambda *_: 0)
    scheduler = background.start(helm.app, helm.settings)
    try:
        again = [job for job in scheduler.get_jobs() if "date" not in str(job.trigger)]
        for job in again:
            job.modify(next_run_time=datetime.now(UTC) + timedelta(days=days))
        deadline = time.monotonic() + 5
        while any(abs(job.next_run_time - datetime.now(UTC)) > timedelta(hours=25) for job in again):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    finally:
        scheduler.shutdown()
