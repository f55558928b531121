"""HOME/run/mesh.json: what the supervisor runs, for commands and for Helm's own service to read."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hivematrix_common.durable import write_file

from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.system.processes import Identity, end, identify

PATIENCE = 25.0  # a service drains for 20


@dataclass(frozen=True, slots=True)
class Mesh:
    """The supervisor and, by name, its units: state, pid, created, since (ISO), restarts, why."""

    supervisor: Identity
    started: str
    units: dict[str, dict[str, Any]] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        return self.supervisor.find() is not None


def run_folder(home: Path) -> Path:
    return home / "run"


def write(home: Path, mesh: Mesh) -> None:
    who = {"pid": mesh.supervisor.pid, "created": mesh.supervisor.created, "started": mesh.started}
    document = {"format": "hivematrix.mesh/1", "supervisor": who, "units": mesh.units}
    write_file(run_folder(home) / "mesh.json", json.dumps(document, indent=1) + "\n")


def read(home: Path) -> Mesh | None:
    """What was written last, whether its processes live or not; None when there is nothing to read."""
    try:
        document = json.loads((run_folder(home) / "mesh.json").read_text())
        who = document["supervisor"]
        return Mesh(Identity(who["pid"], who["created"]), who["started"], document["units"])
    except (FileNotFoundError, ValueError, KeyError):
        return None


def clear_leftovers(home: Path) -> None:
    """End the services that a killed supervisor left: only processes with the pid and start time it wrote down."""
    mesh = read(home)
    if mesh and not mesh.running:
        services = [unit for name, unit in mesh.units.items() if name in SERVICES and unit.get("pid")]
        end([Identity(unit["pid"], unit["created"]) for unit in services], PATIENCE)


def described(pid: int | None) -> dict[str, Any]:
    """A unit's pid and start time, as `clear_leftovers` needs them."""
    found = identify(pid) if pid else None
    return {"pid": found.pid, "created": found.created} if found else {"pid": None, "created": None}
