"""systemd, where it runs our units: asked how they are, and ordered to start and stop them.

Anybody may ask. Orders of the user `hivematrix` are allowed by systemd/50-hivematrix.rules, for our units only.
"""

import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from hivematrix_common import clock
from hivematrix_common.errors import first_line

from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.domain.systemd import PROPERTIES, parse

BOOTED = Path("/run/systemd/system")  # systemd's own way to be asked whether it runs
# Where it looks for units that people and packages install.
FOLDERS = tuple(
    Path(folder)
    for folder in ("/etc/systemd/system", "/run/systemd/system", "/usr/local/lib/systemd/system", "/lib/systemd/system")
)
SECONDS = 10.0


class SystemdError(Exception):
    """It does not answer, or refuses; the text is its own."""


def has(unit: str) -> bool:
    """Whether this machine runs systemd and has the unit. Where it is disabled, somebody wants it so."""
    return BOOTED.is_dir() and any((folder / unit).exists() for folder in FOLDERS)


def units(home: Path) -> dict[str, dict[str, Any]]:
    """Our services that it runs for this home; empty where it has none, or does not answer."""
    found = [f"{name}.service" for name in SERVICES if has(f"{name}.service")]
    if not found:
        return {}
    try:
        said = _systemctl("show", "--timestamp=unix", f"--property={','.join(PROPERTIES)}", *found)
    except SystemdError:
        return {}
    rows = parse(said, str(home))
    return {name: row | {"since": _instant(row["since"])} for name, row in rows.items()}


def order(action: str, service: str) -> None:
    """Returns once the order is taken: Helm may be the service in question."""
    _systemctl(action, "--no-block", "--no-ask-password", f"{service}.service")


def _systemctl(*words: str) -> str:
    try:
        done = subprocess.run(
            ["systemctl", *words],
            capture_output=True,
            text=True,
            timeout=SECONDS,
            stdin=subprocess.DEVNULL,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise SystemdError(f"{first_line(error)}.") from None
    if done.returncode:
        raise SystemdError((done.stderr.splitlines() or [f"systemctl ended with exit code {done.returncode}."])[0])
    return done.stdout


def _instant(seconds: float | None) -> str | None:
    return clock.instant_text(datetime.fromtimestamp(seconds, UTC)) if seconds else None
