"""Shapes of how the services were, what happened and what is planned."""

from datetime import datetime
from typing import Any

from hivematrix_common.schemas import NO_NUL, Model
from pydantic import Field

_TITLE = Field(min_length=1, max_length=120, pattern=NO_NUL)
_TOLD = Field("", max_length=2000, pattern=NO_NUL)


class ServiceHealth(Model):
    """How a service stands and stood. `unknown`: nobody looked, or not lately; that is no kind of health."""

    service: str
    state: str = Field(description="up, slow, down or unknown")
    since: datetime | None
    looked_at: datetime | None
    ms: float | None = Field(description="how long the last answer took")
    fault: str = Field(description="why it is not ready, as the last probe saw it")
    version: str | None
    uptime_s: int | None
    uptime_90_days: str | None = Field(description="percent of the measured minutes; null when none was measured")
    uptime_words: str
    measured_minutes: int = Field(description="of the last 90 days")
    details: dict[str, Any] = Field(description="the service's own account of itself")


class HealthList(Model):
    services: list[ServiceHealth]


class Number(Model):
    number: int = Field(ge=1, le=2**62)


class Incident(Model):
    """`reason` is for us; `title` and `told` are for everybody."""

    id: int
    service: str
    began_at: datetime
    ended_at: datetime | None
    seconds: int
    reason: str
    title: str
    told: str


class IncidentList(Model):
    incidents: list[Incident]


class IncidentWords(Model):
    title: str = _TITLE
    told: str = _TOLD


class Told(Model):
    told: int


class PlannedWork(Model):
    """Times are instants, or spans from now such as 2h; no `begins` means now, no service means all."""

    begins: str = Field("", max_length=40, pattern=NO_NUL)
    ends: str = Field(max_length=40, pattern=NO_NUL)
    services: list[str] = Field(default_factory=list, max_length=20)
    title: str = _TITLE
    told: str = _TOLD


class PlannedGiven(Model):
    id: int


class Planned(Model):
    id: int
    begins_at: datetime
    ends_at: datetime
    services: list[str]
    title: str
    told: str
    made_by: str
    state: str = Field(description="planned, under way or over")


class PlannedList(Model):
    planned: list[Planned]


class ServiceName(Model):
    service: str = Field(pattern=r"^[a-z]{1,20}$")


class MetricQuery(Model):
    metric_name: str = Field("", max_length=200, pattern=NO_NUL, description="one of `names`")
    since: str = Field("", alias="from", max_length=40, pattern=NO_NUL, description="an instant, or 2h, 3d ago")
    until: str = Field("", alias="to", max_length=40, pattern=NO_NUL, description="the same; now when it is missing")


class MetricPoint(Model):
    at: datetime
    mean: float
    min: float
    max: float
    count: int


class MetricSeries(Model):
    """A rate is per second."""

    id: int
    service: str
    name: str
    labels: str
    kind: str = Field(description="gauge or rate")
    points: list[MetricPoint]


class MetricList(Model):
    service: str
    names: list[str]
    metric_name: str | None = None
    step_seconds: int | None = Field(None, description="how long each point's stretch is; 0: single samples")
    series: list[MetricSeries]
