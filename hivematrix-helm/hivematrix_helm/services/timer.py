"""The hourly run that seals what is due, where no systemd timer does it: the same command, so the same work."""

import logging
import subprocess
import threading
from pathlib import Path

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.system import processes

# Where systemd looks for units that people and packages install.
UNIT_FOLDERS = tuple(
    Path(folder)
    for folder in ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/lib/systemd/system")
)
BOOTED = Path("/run/systemd/system")  # systemd's own way to be asked whether it runs
UNIT = "archive-snapshot.timer"
LOOK_SECONDS = 0.5
NOTHING, LOCKED = "nothing due", 75
_log = logging.getLogger("hivematrix.timer")


def is_ours(settings: HelmSettings) -> bool:
    """Whether Helm does the timer's work now. Asked before every run: the units may be installed at any time."""
    by = settings.timer.by
    return by == "helm" or (by == "auto" and not systemd_does_it())


def systemd_does_it() -> bool:
    """Whether this machine runs systemd and has the timer. Where it is disabled, somebody wants it so."""
    return BOOTED.is_dir() and any((folder / UNIT).exists() for folder in UNIT_FOLDERS)


def run(home: Path, draining: threading.Event) -> int:
    """Seal what is due, as `scheduled_snapshots.py` without arguments does; its exit code.

    It is ended when the service ends: the job goes on where it stopped.
    """
    with subprocess.Popen(
        processes.command("archive", "snapshot"),
        env=processes.environment(home),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        said = _follow(process, draining)
    _tell(process.returncode, said.strip().splitlines())
    return process.returncode


def _follow(process: "subprocess.Popen[str]", draining: threading.Event) -> str:
    while True:
        try:
            return process.communicate(timeout=LOOK_SECONDS)[0]
        except subprocess.TimeoutExpired:
            if draining.is_set():
                process.terminate()


def _tell(code: int, said: list[str]) -> None:
    """What a run said, in the log: an hour in which nothing was due is no news."""
    if code == 0 and said == [NOTHING]:
        _log.debug("nothing due")
        return
    quiet = code in (0, LOCKED)
    extra = {"exit_code": code, "said": "\n".join(said[-20:])} | ({} if quiet else {"alert": "schedule_failed"})
    _log.log(logging.INFO if quiet else logging.ERROR, "sealed by the schedule", extra=extra)
