"""Archive's settings: what every service has, and how the log is read."""

from dataclasses import dataclass
from typing import ClassVar

from hivematrix_common.config import Settings
from hivematrix_common.sections import key, section


@dataclass(frozen=True, kw_only=True)
class Log:
    public_log: bool = key(default=False, text="serve /log/... to everyone and let caches keep it")
    sealer_url: str = key("", "where the process that seals is reached; named to callers when this one has no key")


@dataclass(frozen=True, kw_only=True)
class Scheduler:
    enabled: bool = key(default=True, text="run the sealing jobs that are asked for over HTTP in this process")


@dataclass(frozen=True, kw_only=True)
class ArchiveSettings(Settings):
    NAME: ClassVar[str] = "archive"
    log: Log = section(Log)
    scheduler: Scheduler = section(Scheduler)
