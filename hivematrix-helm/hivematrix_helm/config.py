"""Helm's settings."""

from dataclasses import dataclass

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
class HelmSettings(Settings):
    NAME = "helm"
    postgres: Postgres = section(Postgres)
    audit: Audit = section(Audit)
