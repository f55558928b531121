"""How much room is left on the disks that a home lies on."""

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hivematrix_common.sections import Service

# What a home holds that people give a disk of its own: the embedded server's data, and backup sets.
_OWN_DISKS = ("postgres", "backups")
_MB = 2**20


@dataclass(frozen=True, slots=True)
class Room:
    """`status` is pass, warn or fail, as the limits of [service] say; `fault` is empty when it passes."""

    folder: Path
    free: int
    total: int
    status: str
    fault: str

    @property
    def text(self) -> str:
        return f"{_size(self.free)} of {_size(self.total)} free at {self.folder}"


def rooms(home: Path, limits: Service) -> list[Room]:
    """One for each disk below `home`, beginning with its own."""
    return [_room(folder, limits) for folder in _folders(home)]


def _size(size: int) -> str:
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size // _MB} MB"


def _folders(home: Path) -> Iterator[Path]:
    seen = set()
    for folder in (home, *(home / name for name in _OWN_DISKS)):
        # A unit hides what its service has no business with: no disk of ours is there.
        if os.access(folder, os.X_OK) and (device := folder.stat().st_dev) not in seen:
            seen.add(device)
            yield folder


def _room(folder: Path, limits: Service) -> Room:
    disk = shutil.disk_usage(folder)
    status, fault = "pass", ""
    for name, least in (("warn", limits.disk_warn_mb), ("fail", limits.disk_fail_mb)):
        if disk.free < least * _MB:
            status, fault = name, f"less than {least} MB free"
    return Room(folder, disk.free, disk.total, status, fault)
