"""Helm's settings."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from hivematrix_common.config import Settings
from hivematrix_common.sections import key, section

POSTGRES_PORT = 5009


@dataclass(frozen=True, kw_only=True)
class Postgres:
    embedded: bool = key(default=True, text="run a PostgreSQL of our own in HIVEMATRIX_HOME")
    port: int = key(POSTGRES_PORT, "TCP port of the embedded PostgreSQL")


@dataclass(frozen=True, kw_only=True)
class Audit:
    collect: bool = key(default=True, text="take over what every service wrote down of who did what")


@dataclass(frozen=True, kw_only=True)
class Witness:
    enabled: bool = key(default=True, text="keep every checkpoint of the archive's log, and compare it with the log")
    directory: str = key("", "a folder that gets a copy of every checkpoint, best on another machine's disk")

    @property
    def path(self) -> Path | None:
        return Path(self.directory) if self.directory else None


@dataclass(frozen=True, kw_only=True)
class Timer:
    by: Literal["auto", "helm", "systemd"] = key(
        "auto",
        "who has due months sealed each hour: helm, systemd (archive-snapshot.timer), or auto: systemd where it has "
        "that unit, else helm",
    )


@dataclass(frozen=True, kw_only=True)
class Backup:
    directory: str = key(
        "", "folder of the backup sets, of which nobody else may read; HIVEMATRIX_HOME/backups if empty"
    )
    recipients: str = key("", "age public keys (age1...), separated by spaces, that everything in a set is sealed for")
    identity: str = key("", "age secret key that opens sets for drills and restores; best `identity_file`", secret=True)

    @property
    def keys(self) -> tuple[str, ...]:
        return tuple(self.recipients.replace(",", " ").split())


@dataclass(frozen=True, kw_only=True)
class HelmSettings(Settings):
    NAME = "helm"
    postgres: Postgres = section(Postgres)
    audit: Audit = section(Audit)
    witness: Witness = section(Witness)
    timer: Timer = section(Timer)
    backup: Backup = section(Backup)
