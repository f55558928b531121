"""Logs that are put aside: PostgreSQL's by the supervisor, while it is written; and reading on in what was."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime

import pytest
from hivematrix_common.sections import Service
from hivematrix_helm.domain.loglines import Filter
from hivematrix_helm.supervisor import Supervisor
from hivematrix_helm.system import logfiles, meshfile

LIMITS = Service(log_max_mb=1, log_keep=2)
# Several processes append to one log, as PostgreSQL's do, until they are told to end.
WRITE = """
import os, sys
handle, number = os.open(sys.argv[1], os.O_WRONLY | os.O_APPEND), 0
while os.getppid() == int(sys.argv[3]):
    number += 1
    os.write(handle, f"{sys.argv[2]} {number} {'x' * 100} end\\n".encode())
"""


@pytest.fixture
def log(home):
    path = home / "logs" / "postgres.log"
    path.parent.mkdir(exist_ok=True)
    path.touch(mode=0o600)
    return path


def fill(log, letter):
    log.write_text(f"{letter}\n" * 2**19)


def test_a_short_log_stays(log):
    log.write_text("few words\n")
    logfiles.shorten(log, LIMITS)
    assert [path.name for path in log.parent.iterdir()] == ["postgres.log"]


def test_a_long_one_is_put_aside_and_the_oldest_goes(log):
    for letter in "abc":
        fill(log, letter)
        logfiles.shorten(log, LIMITS)
    kept = {path.name: path.read_text()[:1] for path in log.parent.iterdir()}
    assert kept == {"postgres.log": "", "postgres.log.1": "c", "postgres.log.2": "b"}
    assert {path.stat().st_mode & 0o777 for path in log.parent.iterdir()} == {0o600}


def test_what_is_said_while_it_is_copied_is_put_aside_too(log, monkeypatch):
    copy, copied = shutil.copyfileobj, []

    def slowly(source, target):
        copy(source, target)
        if not copied:
            with log.open("a") as writer:
                writer.write("said meanwhile\n")
        copied.append(source)

    monkeypatch.setattr(shutil, "copyfileobj", slowly)
    fill(log, "a")
    logfiles.shorten(log, LIMITS)
    assert log.with_name("postgres.log.1").read_text().endswith("a\nsaid meanwhile\n")
    assert log.read_text() == ""


def test_while_others_write_no_line_is_cut_and_none_is_there_twice(log):
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITE, str(log), str(number), str(os.getpid())]) for number in range(3)
    ]
    lines = []
    try:
        while len(lines) < 30_000:
            logfiles.shorten(log, LIMITS)
            aside = log.with_name("postgres.log.1")
            if aside.exists():
                lines += aside.read_text().splitlines()
                aside.unlink()
    finally:
        for writer in writers:
            writer.kill()
            writer.wait()
    assert all(line.endswith("x end") and len(line.split()) == 4 for line in lines)
    assert len({tuple(line.split()[:2]) for line in lines}) == len(lines)
    for writer in "012":
        numbers = [int(line.split()[1]) for line in lines if line.startswith(f"{writer} ")]
        assert numbers == sorted(numbers)


def test_what_was_put_aside_is_read_where_all_is_asked_for(home, log):
    line = '{{"time": "2025-11-01T12:00:0{}Z", "level": "INFO", "message": "{}"}}\n'
    for suffix, number in ((".2", 1), (".1", 2), ("", 3)):
        (home / "logs" / f"ledger.log{suffix}").write_text(line.format(number, number))
    ends = logfiles.ends(home, logfiles.services(home))
    since = Filter(since=datetime(2025, 11, 1, tzinfo=UTC))
    assert list(ends) == ["ledger", "postgres"]
    assert [entry.message for entry in logfiles.last(home, ends, since, 10, whole=True)] == ["1", "2", "3"]
    assert [entry.message for entry in logfiles.last(home, ends, since, 10)] == ["3"]


def test_a_disk_that_is_full_ends_no_supervisor(home, monkeypatch):
    """What it could not write of its state is written once there is room."""
    (home / "run").mkdir(exist_ok=True)
    supervisor, written = Supervisor(home, {}, LIMITS), []

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(meshfile, "write", full)
        supervisor._write()
        supervisor.step(0)
    monkeypatch.setattr(meshfile, "write", lambda *arguments: written.append(arguments))
    supervisor.step(1)
    supervisor.step(2)
    assert len(written) == 1
