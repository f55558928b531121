"""Shapes of alerts, silences, messages and timers."""

from datetime import datetime
from typing import Literal

from hivematrix_common.schemas import NO_NUL, Model
from pydantic import Field


class Alert(Model):
    """`why` says with numbers what was seen last while it was bad."""

    id: int
    rule: str
    labels: dict[str, str]
    severity: str
    state: str = Field(description="pending, firing, acknowledged or resolved")
    kind: str = Field(description="value, no data or error")
    title: str
    why: str
    active_at: datetime
    fired_at: datetime | None
    resolved_at: datetime | None
    acknowledged_at: datetime | None
    acknowledged_by: str | None
    note: str
    is_told: bool
    quiet: str = Field(description="why it is not told: silenced, planned work, or what it follows from")


class AlertList(Model):
    alerts: list[Alert]


class Note(Model):
    note: str = Field("", max_length=500, pattern=NO_NUL)


class Silence(Model):
    id: int
    rule: str
    service: str
    begins_at: datetime
    ends_at: datetime
    reason: str
    made_by: str


class SilenceList(Model):
    silences: list[Silence]


class NewSilence(Model):
    """Alerts of the rule and the service; an empty one fits all."""

    rule: str = Field("", max_length=60, pattern=NO_NUL)
    service: str = Field("", max_length=20, pattern=NO_NUL)
    ends: str = Field(max_length=40, pattern=NO_NUL, description="2h from now, or an instant; at most 30 days away")
    reason: str = Field(min_length=1, max_length=500, pattern=NO_NUL)


class Sent(Model):
    id: int
    channel: str
    subject: str
    made_at: datetime
    sent_at: datetime | None
    tries: int
    fault: str


class SentList(Model):
    messages: list[Sent]


class Tried(Model):
    channels: list[str]


class Timer(Model):
    timer: str
    title: str
    by: str = Field(description="helm or systemd: who starts it")
    period_seconds: int
    grace_seconds: int
    outcome: str = Field(description="waiting, running, done or failed")
    started_at: datetime | None
    ended_at: datetime | None
    succeeded_at: datetime | None
    seconds: float | None
    said: str
    is_overdue: bool


class TimerList(Model):
    timers: list[Timer]


class SignalPath(Model):
    timer: str = Field(pattern=r"^[a-z]{1,20}$")
    signal: Literal["start", "success", "fail"]


class Said(Model):
    said: str = Field("", max_length=2000, pattern=NO_NUL)


class Signalled(Model):
    timer: str
