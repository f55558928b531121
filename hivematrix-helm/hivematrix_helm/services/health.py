"""Whether all is well, for people on call and for cron: one finding a service, and one for each disk."""

from dataclasses import dataclass
from typing import Any

from hivematrix_common import disk

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.services import mesh


@dataclass(frozen=True, slots=True)
class Finding:
    """`fault` is empty when all is well; `text` says what was seen in any case."""

    name: str
    fault: str
    text: str


def look(settings: HelmSettings) -> list[Finding]:
    found = mesh.statuses(settings)
    server = [_server(found["postgres"])] if found["postgres"] else []
    return [*map(_service, found["services"]), *server, *_disks(settings)]


def _service(row: dict[str, Any]) -> Finding:
    fault = "" if row["health"] == "healthy" else row["health_message"] or row["health"]
    return Finding(
        row["service_name"], "; ".join(filter(None, [fault, row["why"] if fault else ""])), row["configured_url"]
    )


def _server(row: dict[str, Any]) -> Finding:
    return Finding("postgres", "" if row["status"] == "running" else row["why"] or row["status"], f"port {row['port']}")


def _disks(settings: HelmSettings) -> list[Finding]:
    """Of the home; a database server of one's own has a disk of its own to watch."""
    return [Finding("disk", room.fault, room.text) for room in disk.rooms(settings.home, settings.service)]
