"""Whether all is well, for people on call and for cron: one finding a service, and one for the disk."""

import shutil
from dataclasses import dataclass
from typing import Any

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.services import mesh

LEAST_FREE, LEAST_SHARE = 2**30, 0.05


@dataclass(frozen=True, slots=True)
class Finding:
    """`fault` is empty when all is well; `text` says what was seen in any case."""

    name: str
    fault: str
    text: str


def look(settings: HelmSettings) -> list[Finding]:
    found = mesh.statuses(settings)
    server = [_server(found["postgres"])] if found["postgres"] else []
    return [*map(_service, found["services"]), *server, _disk(settings)]


def _service(row: dict[str, Any]) -> Finding:
    fault = "" if row["health"] == "healthy" else row["health_message"] or row["health"]
    return Finding(
        row["service_name"], "; ".join(filter(None, [fault, row["why"] if fault else ""])), row["configured_url"]
    )


def _server(row: dict[str, Any]) -> Finding:
    return Finding("postgres", "" if row["status"] == "running" else row["why"] or row["status"], f"port {row['port']}")


def _disk(settings: HelmSettings) -> Finding:
    """Of the home; a database server of one's own has a disk of its own to watch."""
    disk = shutil.disk_usage(settings.home)
    text = f"{disk.free / 2**30:.1f} GiB of {disk.total / 2**30:.0f} free at {settings.home}"
    low = disk.free < LEAST_FREE or disk.free < disk.total * LEAST_SHARE
    return Finding("disk", "nearly full" if low else "", text)
