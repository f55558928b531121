"""The sections and keys that every service's configuration has."""

import dataclasses
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo


def key(default: Any = dataclasses.MISSING, text: str = "", *, secret: bool = False) -> Any:
    """One key of a section. A secret one may also be given as `<key>_file` and is never shown."""
    return field(default=default, metadata={"text": text, "secret": secret})


def section(kind: type[Any]) -> Any:
    return field(default_factory=kind)


@dataclass(frozen=True, kw_only=True)
class Service:
    port: int = key(
        0, "TCP port to listen on; 0 means the service's own (codex 5010, ledger 5011, archive 5012, helm 5004)"
    )
    bind: str = key("127.0.0.1", "address to listen on")
    url: str = key("", "address at which people reach the service, when it is not http://127.0.0.1:<port>")
    trusted_proxy: str = key("", "IP address of the proxy in front; only its X-Forwarded-* headers count")
    threads: int = key(4, "worker threads; one fewer may be in database work at a time")
    one_cpu: bool = key(
        True, "answer on one CPU: threads that take turns anyway are quicker side by side; background work uses all"
    )
    connection_limit: int = key(1000, "open connections at a time")
    channel_timeout: int = key(20, "seconds an idle or dripping connection is kept")
    drain_seconds: int = key(20, "seconds running requests get to finish after SIGTERM")
    log_level: str = key("INFO", "DEBUG, INFO, WARNING or ERROR")
    log_max_mb: int = key(20, "a log in HIVEMATRIX_HOME/logs that is longer is put aside as `<name>.log.1`; 1 or more")
    log_keep: int = key(5, "how many logs put aside are kept; 1 or more. Helm's keys count for PostgreSQL's log too")
    disk_warn_mb: int = key(1024, "less free than this many MB on a disk of HIVEMATRIX_HOME is told by health checks")
    disk_fail_mb: int = key(100, "less free than this fails the check `disk:free`")

    def __post_init__(self) -> None:
        if min(self.log_max_mb, self.log_keep) < 1:
            raise ValueError("log_max_mb, log_keep: expected 1 or more")
        if not 0 <= self.disk_fail_mb <= self.disk_warn_mb:
            raise ValueError("disk_fail_mb: expected 0 or more, and not above disk_warn_mb")


@dataclass(frozen=True, kw_only=True)
class Database:
    url: str = key("", "postgresql://user:password@host:port/name of the service's role", secret=True)
    host: str = key("", "server, when `url` is not given")
    port: int = key(5432, "server's port")
    name: str = key("", "database")
    user: str = key("", "role")
    password: str = key("", "the role's password", secret=True)
    statement_timeout_ms: int = key(15000, "a statement longer than this is cancelled")
    pool_wait_ms: int = key(2000, "how long a request waits for a connection")

    @property
    def sqlalchemy_url(self) -> str:
        """The address with the driver spelled out: a bare postgresql:// means another driver in later releases."""
        if self.url:
            return normal_url(self.url)
        login = quote(self.user, safe="") + (f":{quote(self.password, safe='')}" if self.password else "")
        return f"postgresql+psycopg2://{login}@{self.host}:{self.port}/{self.name}"


@dataclass(frozen=True, kw_only=True)
class Services:
    codex_url: str = key("http://127.0.0.1:5010", "Codex")
    ledger_url: str = key("http://127.0.0.1:5011", "Ledger")
    archive_url: str = key("http://127.0.0.1:5012", "Archive")
    helm_url: str = key("http://127.0.0.1:5004", "Helm")
    codex_token: str = key("", "token presented to Codex", secret=True)
    ledger_token: str = key("", "token presented to Ledger", secret=True)
    archive_token: str = key("", "token presented to Archive", secret=True)
    helm_token: str = key("", "token presented to Helm", secret=True)
    answer_seconds: int = key(300, "how long the answer to a call is waited for at most")


@dataclass(frozen=True, kw_only=True)
class Billing:
    timezone: ZoneInfo = key(ZoneInfo("UTC"), "billing time zone, an IANA name; the same in Codex, Ledger and Archive")
    currency: str = key("USD", "currency of companies that name none (ISO 4217); the same in Codex, Ledger and Archive")


@dataclass(frozen=True, kw_only=True)
class Metrics:
    enabled: bool = key(default=True, text="serve /metrics")


@dataclass(frozen=True, kw_only=True)
class Sessions:
    verify_keys: str = key("", "Helm's public keys for session tokens; `hivematrix-helm init` writes them")


@dataclass(frozen=True, kw_only=True)
class Pages:
    enabled: bool = key(default=True, text="serve web pages and take people's session cookies")
    secret_key: str = key("", "signs forms; `hivematrix-helm init` writes it", secret=True)
    codex_url: str = key("", "where people reach Codex, when it is not the address of [services]")
    ledger_url: str = key("", "the same for Ledger")
    archive_url: str = key("", "the same for Archive")
    helm_url: str = key("", "the same for Helm, where people sign in")


@dataclass(frozen=True, kw_only=True)
class Smtp:
    host: str = key("", "mail server that takes our mail; without one none is sent")
    port: int = key(587, "its port; on 465 the connection is encrypted from its first byte")
    starttls: bool = key(default=True, text="encrypt the connection, and check the server's certificate")
    user: str = key("", "who signs in there; nobody does when empty")
    password: str = key("", "that user's password", secret=True)
    sender: str = key("", "address that our mail comes from")
    timeout_seconds: int = key(30, "how long each answer of the mail server is waited for")


def normal_url(url: str) -> str:
    scheme, mark, rest = url.partition("://")
    if not mark or scheme not in {"postgresql", "postgres", "postgresql+psycopg2"}:
        raise ValueError("expected postgresql://user:password@host:port/name; no other database is supported")
    return f"postgresql+psycopg2://{rest}"
