"""A supervisor in the background: started, waited for until its mesh is ready, ended."""

import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.domain.unit import REFUSED_EXIT, State
from hivematrix_helm.system import meshfile, probes, processes

READY_SECONDS = 90.0
DOWN_SECONDS = 90.0
HOPELESS = 3  # starts that failed in a row


def detach(settings: HelmSettings) -> tuple[int, str]:
    """Start the mesh in a session of its own: (0, "") once all are ready, else (exit code, why) and it is down."""
    log = settings.home / "logs" / "mesh.log"
    log.touch(mode=0o600)
    told = log.stat().st_size
    with _sigterm_as_interrupt():
        process = _launch(settings.home, log)
        try:
            why = wait_ready(settings, process)
        except BaseException:
            process.terminate()
            process.wait(DOWN_SECONDS)
            raise
    if not why:
        return 0, ""
    code = REFUSED_EXIT if _refused(settings.home) else 1
    process.terminate()
    ended = process.wait(DOWN_SECONDS)
    return ended or code, why if ended == 0 else _words(log, told) or why


def _launch(home: Path, log: Path) -> "subprocess.Popen[bytes]":
    with log.open("ab") as file:
        return subprocess.Popen(
            processes.command("helm", "up", "--quiet", "--home", str(home)),
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            env=processes.environment(home),
            cwd="/",
            start_new_session=True,
        )


def wait_ready(settings: HelmSettings, process: "subprocess.Popen[bytes] | None" = None) -> str:
    """Empty once every service is ready; else why that will not come, or has not come in time."""
    deadline = time.monotonic() + READY_SECONDS
    while True:
        if process and process.poll() is not None:
            return "the supervisor ended"
        faults = _faults(settings, process)
        if not faults:
            return ""
        if hopeless := _hopeless(settings.home):
            return hopeless
        if time.monotonic() > deadline:
            shown = "; ".join(f"{name} {fault}" for name, fault in faults.items())
            return f"not ready after {READY_SECONDS:.0f} seconds: {shown}"
        time.sleep(0.1)


def down(home: Path) -> bool:
    """End the mesh; False when none ran, TimeoutError when it does not end."""
    mesh = meshfile.read(home)
    process = mesh.supervisor.find() if mesh else None
    if mesh is None or process is None:
        meshfile.clear_leftovers(home)
        return False
    process.terminate()
    deadline = time.monotonic() + DOWN_SECONDS
    while mesh.running:
        if time.monotonic() > deadline:
            raise TimeoutError(f"process {process.pid} does not end; see {home / 'logs' / 'mesh.log'}")
        time.sleep(0.05)
    return True


def _faults(settings: HelmSettings, process: "subprocess.Popen[bytes] | None") -> dict[str, str]:
    mesh = meshfile.read(settings.home)
    if mesh is None or (process and mesh.supervisor.pid != process.pid):
        return {"the supervisor": "has not started yet"}
    found = {name: probes.fault(settings.peer_url(name)) for name in SERVICES}
    return {name: fault for name, fault in found.items() if fault}


def _hopeless(home: Path) -> str:
    mesh = meshfile.read(home)
    for name, unit in mesh.units.items() if mesh and mesh.running else ():
        if unit["state"] == State.REFUSED:
            return f"{name} will not start: {unit['why']}"
        if unit["failures"] >= HOPELESS:
            return f"{name} does not stay up: {unit['why']}"
    return ""


def _refused(home: Path) -> bool:
    mesh = meshfile.read(home)
    return mesh is not None and any(unit["state"] == State.REFUSED for unit in mesh.units.values())


@contextmanager
def _sigterm_as_interrupt() -> Iterator[None]:
    """So that who is told to end takes along the supervisor it started."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _words(log: Path, told: int) -> str:
    with log.open("rb") as file:
        file.seek(told)
        lines = file.read().decode(errors="replace").splitlines()
    return "\n".join(line for line in lines if line and not line.startswith("{"))
