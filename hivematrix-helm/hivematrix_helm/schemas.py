"""Helm's request and answer shapes."""

from typing import Any

from hivematrix_common.schemas import Model
from pydantic import Field


class ServicePath(Model):
    service: str = Field(pattern=r"^[a-z]{1,20}$")


class ServiceEntry(Model):
    name: str
    url: str
    port: int
    description: str


class ServiceList(Model):
    services: list[ServiceEntry]


class ServiceStatus(Model):
    """`status` is what its process is, `health` what it answers: healthy, unready or unreachable."""

    service_name: str
    configured_port: int
    configured_url: str
    status: str
    pid: int | None
    started_at: str | None
    memory_mb: float | None
    restarts: int
    health: str
    health_message: str | None
    why: str | None


class PostgresStatus(Model):
    status: str
    pid: int | None
    port: int
    restarts: int
    why: str | None


class StatusList(Model):
    supervised: bool
    postgres: PostgresStatus | None
    services: list[ServiceStatus]


class Operated(Model):
    success: bool
    message: str
    pid: int | None


class LogQuery(Model):
    service: str | None = Field(None, pattern=r"^[a-z]{1,20}$")
    level: str = Field("DEBUG", pattern="^(DEBUG|INFO|WARNING|ERROR|CRITICAL)$", description="this level and above")
    trace_id: str | None = Field(None, pattern="^[0-9a-f]{32}$")
    since: str | None = Field(None, max_length=40, description="an ISO 8601 instant, or 10m, 2h, 3d ago")
    limit: int = Field(100, ge=1, le=1000)


class LogEntry(Model):
    time: str | None
    level: str
    service: str
    message: str
    trace_id: str | None
    context: dict[str, Any]


class LogPage(Model):
    limit: int
    logs: list[LogEntry]
