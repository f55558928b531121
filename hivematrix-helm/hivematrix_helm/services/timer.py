"""What systemd's timers do, where there are none: the same commands, so the same work."""

import logging
import subprocess
import threading
from pathlib import Path

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.system import processes, systemd

UNIT = "archive-snapshot.timer"
BACKUP_UNIT, DRILL_UNIT = "hivematrix-backup.timer", "hivematrix-drill.timer"
LOOK_SECONDS = 0.5
NOTHING, LOCKED = "nothing due", 75
_log = logging.getLogger("hivematrix.timer")


def is_ours(settings: HelmSettings, unit: str = UNIT) -> bool:
    """Whether Helm does the work of a timer now. Asked before every run: the units may be installed at any time."""
    by = settings.timer.by
    return by == "helm" or (by == "auto" and not systemd.has(unit))


def run(home: Path, draining: threading.Event) -> int:
    """Seal what is due, as `scheduled_snapshots.py` without arguments does; its exit code."""
    return _run(home, draining, "sealed by the schedule", "archive", "snapshot")


def back_up(home: Path, draining: threading.Event) -> int:
    """Make tonight's backup set; the exit code."""
    return _run(home, draining, "backed up by the schedule", "helm", "backup", "run")


def drill(home: Path, draining: threading.Event) -> int:
    """Prove the newest set by restoring it; the exit code."""
    return _run(home, draining, "drilled by the schedule", "helm", "backup", "drill")


def _run(home: Path, draining: threading.Event, what: str, service: str, *arguments: str) -> int:
    """A service's command to its end. It is ended when this service ends: what matters goes on the next time."""
    with subprocess.Popen(
        processes.command(service, *arguments),
        env=processes.environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        said = _follow(process, draining)
    _tell(what, process.returncode, said.strip().splitlines())
    return process.returncode


def _follow(process: "subprocess.Popen[str]", draining: threading.Event) -> str:
    while True:
        try:
            return process.communicate(timeout=LOOK_SECONDS)[0]
        except subprocess.TimeoutExpired:
            if draining.is_set():
                process.terminate()


def _tell(what: str, code: int, said: list[str]) -> None:
    """What a run said, in the log: an hour in which nothing was due is no news."""
    if code == 0 and said == [NOTHING]:
        _log.debug("nothing due")
        return
    quiet = code in (0, LOCKED)
    extra = {"exit_code": code, "said": "\n".join(said[-20:])} | ({} if quiet else {"alert": "schedule_failed"})
    _log.log(logging.INFO if quiet else logging.ERROR, what, extra=extra)
