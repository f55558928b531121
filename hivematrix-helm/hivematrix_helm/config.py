"""Helm's settings."""

from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Literal

from hivematrix_common.config import Settings
from hivematrix_common.sections import Smtp, key, section

from hivematrix_helm.domain.offsite import Template

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
        "who has due months sealed each hour, and backups made and drilled each night: helm, systemd "
        "(archive-snapshot.timer, hivematrix-backup.timer, hivematrix-drill.timer), or auto: of each, systemd where "
        "it has that unit, else helm",
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
class OffSite:
    copy: str = key(
        "", "command that copies a set to another place, such as: rclone copy {set} far:hivematrix/{name}; no shell"
    )
    read_back: str = key(
        "", "command that prints a file of such a copy, such as: rclone cat far:hivematrix/{name}/{file}; both or none"
    )
    minutes: int = key(120, "how long one of these commands may take")

    def __post_init__(self) -> None:
        if bool(self.copy) != bool(self.read_back):
            raise ValueError("a copy that nobody reads back proves nothing: give copy and read_back, or neither")
        if self.copy:
            _ = self.sending, self.reading

    @property
    def sending(self) -> Template:
        return Template.parse("copy", self.copy, ("set", "name"))

    @property
    def reading(self) -> Template:
        return Template.parse("read_back", self.read_back, ("name", "file"))


@dataclass(frozen=True, kw_only=True)
class Health:
    enabled: bool = key(default=True, text="probe the services and keep how they were")
    interval_seconds: int = key(15, "how often each service is probed")
    slow_ms: int = key(1000, "an answer that takes longer is slow")
    public: bool = key(default=True, text="show the status page to everybody; else to who is signed in")
    title: str = key("HiveMatrix", "whose status page it is, as its readers know it")

    def __post_init__(self) -> None:
        if self.interval_seconds < 1:
            raise ValueError("interval_seconds: expected 1 or more")


@dataclass(frozen=True, kw_only=True)
class Scrape:
    enabled: bool = key(default=True, text="read every service's /metrics and keep what it counts")
    seconds: int = key(60, "how often they are read")
    business: bool = key(default=True, text="ask Ledger each hour what the month comes to, for /metrics")

    def __post_init__(self) -> None:
        if not 1 <= self.seconds <= 240:  # noqa: PLR2004 - farther apart no rate is known
            raise ValueError("seconds: expected 1 to 240")


@dataclass(frozen=True, kw_only=True)
class Costs:
    currency: str = key("USD", "what the prices below are in")
    machine: str = key("0", "what the machine costs a month, such as 24.00")
    disk_gb: str = key("0", "what a gigabyte of its disk costs a month, such as 0.10")
    offsite_gb: str = key("0", "what a gigabyte of off-site copies costs a month, such as 0.025")

    def __post_init__(self) -> None:
        for name in ("machine", "disk_gb", "offsite_gb"):
            try:
                sound = Decimal(getattr(self, name)) >= 0
            except InvalidOperation:
                sound = False
            if not sound:
                raise ValueError(f"{name}: expected a price such as 0.10, got {getattr(self, name)!r}")


Severity = Literal["critical", "warning", "info"]


@dataclass(frozen=True, kw_only=True)
class Alerts:
    enabled: bool = key(default=True, text="look at the alert rules, and tell what they find")
    interval_seconds: int = key(30, "how often the rules are looked at")
    mail_to: str = key("", "addresses that alerts are mailed to by [smtp], separated by spaces")
    mail_least: Severity = key("warning", "the least severity that is mailed: critical, warning or info")
    webhook_url: str = key("", "address that alerts are sent to as JSON")
    webhook_secret: str = key("", "signs them: X-HiveMatrix-Signature is sha256=HMAC of the body", secret=True)
    webhook_least: Severity = key("warning", "the least severity that is sent there")
    ntfy_url: str = key("", "address of a topic of ntfy, such as https://ntfy.example.com/hivematrix")
    ntfy_token: str = key("", "what ntfy wants to see of who sends", secret=True)
    ntfy_least: Severity = key("critical", "the least severity that is sent there")

    def __post_init__(self) -> None:
        if self.interval_seconds < 1:
            raise ValueError("interval_seconds: expected 1 or more")


@dataclass(frozen=True, kw_only=True)
class HelmSettings(Settings):
    NAME = "helm"
    postgres: Postgres = section(Postgres)
    audit: Audit = section(Audit)
    witness: Witness = section(Witness)
    timer: Timer = section(Timer)
    backup: Backup = section(Backup)
    offsite: OffSite = section(OffSite)
    health: Health = section(Health)
    scrape: Scrape = section(Scrape)
    costs: Costs = section(Costs)
    alerts: Alerts = section(Alerts)
    smtp: Smtp = section(Smtp)
