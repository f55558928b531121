"""Helm's request and answer shapes."""

from datetime import datetime
from typing import Any, Literal

from hivematrix_common.audit_feed import AuditEntry
from hivematrix_common.schemas import NO_NUL, Account, Instant, Model, PageQuery
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
    started_by: str = Field(description="helm (its supervisor), systemd, or nobody")
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


class UserPath(Model):
    name: str = Field(pattern=NO_NUL, max_length=100)


class User(Model):
    name: str
    display_name: str
    role: str
    account_number: str | None
    second_factor: bool
    must_change: bool
    disabled_at: str | None
    created_at: str
    seen_at: str | None


class UserList(Model):
    users: list[User]


class NewUser(Model):
    """Without `password` one is generated; either is replaced at the first sign-in."""

    name: str = Field(max_length=100, pattern=NO_NUL)
    display_name: str = Field("", max_length=200, pattern=NO_NUL)
    role: str = Field(max_length=20, pattern=NO_NUL)
    account_number: Account | None = None
    password: str | None = Field(None, max_length=1000)


class NewPassword(Model):
    password: str | None = Field(None, max_length=1000, description="generated when left out")


class NewRole(Model):
    role: str = Field(max_length=20, pattern=NO_NUL)
    account_number: Account | None = Field(None, description="a client's company")


class UserChanged(Model):
    user: User


class PasswordSet(Model):
    """`password` is the generated one, shown only now."""

    user: User
    password: str | None


class SessionToken(Model):
    token: str = Field(max_length=8000)


class HandOverCode(Model):
    code: str = Field(max_length=200)


class RevokedSessions(Model):
    revoked: list[str]


class TokenPath(Model):
    token_id: str = Field(pattern="^[0-9A-Za-z_]{1,64}$")


class Token(Model):
    id: str
    caller: str
    scopes: list[str]
    services: list[str]
    created: str | None
    expires: str | None
    replaced_by: str | None
    ends_soon: bool
    of_service: bool
    used_at: str | None
    used_from: str | None


class TokenList(Model):
    """`silent` are the services that did not say when their callers' tokens were used last."""

    tokens: list[Token]
    silent: list[str]


class NewToken(Model):
    name: str = Field(max_length=50, pattern=NO_NUL)
    scopes: list[str] = Field(min_length=1, max_length=50)
    expires: str | None = Field(None, max_length=40, description="90d from now, or an ISO 8601 instant; none: no end")


class Rotation(Model):
    overlap: str = Field("1h", max_length=40, description="how long the old one goes on, at most 24h")


class TokenGiven(Model):
    """`token` is shown only now; null where it went into a service's conf by itself."""

    caller: str
    scopes: list[str]
    expires: str | None
    old_ends: str | None
    token: str | None


class TokenRevoked(Model):
    revoked: str


class AuditQuery(PageQuery):
    service: str | None = Field(None, pattern=r"^[a-z]{1,20}$")
    actor: str | None = Field(None, max_length=300, pattern=NO_NUL, description="a caller's or a person's name")
    action: str | None = Field(None, max_length=300, pattern=NO_NUL, description="a part, such as /api/bill/accept")
    target: str | None = Field(None, max_length=300, pattern=NO_NUL, description="a part, such as an account number")
    outcome: Literal["allowed", "refused", "failed"] | None = None
    trace_id: str | None = Field(None, pattern="^[0-9a-f]{32}$", description="what one request caused everywhere")
    since: Instant | None = Field(None, alias="from", description="an instant, such as 2025-11-01T00:00:00Z")
    before: Instant | None = Field(None, alias="to", description="the instant behind the last one that is meant")


class AuditPage(Model):
    """Newest first. A row's `status` is missing where the act was written before its answer was made."""

    total: int
    total_exact: bool = Field(description="false when there are more than the 10,000 that were counted")
    next: str | None = Field(description="cursor of the following page, null on the last")
    collected_until: dict[str, str | None] = Field(description="when each service's rows were taken over last")
    entries: list[AuditEntry]


class Finding(Model):
    at: datetime
    state: str
    detail: str


class Witness(Model):
    """How the archive's log stands, as Helm saw it from outside."""

    state: str = Field(description="waiting, good, shorter, different or stale")
    alert: bool = Field(description="whether the log is not as it was seen, or was not seen for 26 hours")
    detail: str
    since: datetime | None = Field(description="when it was found to be so")
    seen_at: datetime | None = Field(description="when the archive showed the log last")
    looked_at: datetime | None
    origin: str | None
    size: int | None = Field(description="entries under the newest checkpoint that is held")
    checkpoints: int = Field(description="how many are held")
    keys: list[str] = Field(description="the verifier keys it is watched under")
    directory: str | None = Field(description="where each checkpoint is copied to")
    directory_fault: str | None
    findings: list[Finding] = Field(description="the last changes, newest first")


class BackupSet(Model):
    """A set, what is known of it, whether it is off-site, and what pruning would do with it."""

    name: str
    made_at: datetime | None
    bytes: int | None
    encrypted: bool | None
    state: str = Field(description="unverified, verified, proved, bad or gone")
    told: str = Field(description="what is wrong with it")
    verified_at: datetime | None
    proved_at: datetime | None
    seconds: float | None = Field(description="how long its drill took")
    off_site_at: datetime | None = Field(description="when its copy was read back and found the same")
    off_site_fault: str
    stays: bool
    reasons: list[str] = Field(description="why it stays, or why it goes")


class Drill(Model):
    set: str
    at: datetime
    seconds: float | None


class Backups(Model):
    """How the backup stands. `proof_age_seconds` is null while no set was proved."""

    state: str = Field(description="waiting, good, late, damaged or not_away")
    alert: bool = Field(description="whether somebody has to look: the last three states")
    detail: str
    since: datetime | None = Field(description="when it was found to be so")
    looked_at: datetime | None
    proof: Drill | None = Field(description="the last drill that went well, of a set that was then fresh")
    proof_age_seconds: int | None
    restore_seconds: float | None = Field(description="what the newest good set would take, by the last drill")
    verified: int
    floor: int = Field(description="so many verified sets always stay")
    directory: str
    off_site: bool = Field(description="whether sets are copied to another place")
    sets: list[BackupSet] = Field(description="newest first")
    drills: list[Drill] = Field(description="the last one of each set, oldest first")
