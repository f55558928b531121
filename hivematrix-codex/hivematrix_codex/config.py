"""Codex's settings: what every service has, and the PSAs and RMMs it asks."""

from dataclasses import dataclass
from typing import ClassVar, Literal
from urllib.parse import urlsplit

from hivematrix_common.config import Settings
from hivematrix_common.sections import key, section

_SCHEDULE = "when, as five crontab fields in the billing time zone; empty: not by itself"
_FULL = f"a sync of everything: {_SCHEDULE}"
_INCREMENTAL = f"a sync of what changed: {_SCHEDULE}"
_HOOKS = "what webhooks have to know, as X-Webhook-Secret or as the key of X-Webhook-Signature; empty: none are taken"
_HERE = ("127.0.0.1", "::1", "localhost")


@dataclass(frozen=True, kw_only=True)
class Sync:
    enabled: bool = key(default=True, text="run the schedule, and what is asked for over HTTP, in this process")
    retire_percent: int = key(10, "a sync that would retire more than this share of a kind stops and asks")
    retire_free: int = key(5, "so many of a kind may be retired whatever their share")
    assign_numbers: bool = key(default=True, text="give a new company that carries no account number one of ours")
    webhook_window_seconds: int = key(300, "how old a webhook may be, and how far ahead its clock")
    keep_days: int = key(90, "how long runs and webhook deliveries are remembered")


@dataclass(frozen=True, kw_only=True)
class Freshservice:
    url: str = key("", "https://<name>.freshservice.com; empty: Freshservice is not asked")
    api_key: str = key("", "API key of an agent who may see everything", secret=True)
    kinds: str = key("companies contacts tickets", "what it is asked for; `assets` only where no RMM tells them")
    full: str = key("0 2 * * *", _FULL)
    incremental: str = key("*/15 * * * *", _INCREMENTAL)
    webhook_secret: str = key("", _HOOKS, secret=True)
    account_number_field: str = key("account_number", "the departments' field that holds the account number")
    billing_plan_field: str = key("plan_selected", "the departments' field that holds the plan's name")
    contract_term_field: str = key("contract_term", "the departments' field that holds the contract's term")
    contract_start_field: str = key("contract_start_date", "the departments' field that holds the contract's first day")

    def __post_init__(self) -> None:
        _check_address(self.url)
        _check_kinds(self.kinds, ("companies", "contacts", "assets", "tickets"))
        _check_schedules(self.full, self.incremental)


@dataclass(frozen=True, kw_only=True)
class Superops:
    url: str = key("", "https://api.superops.ai/msp, or https://euapi.superops.ai/msp; empty: SuperOps is not asked")
    api_token: str = key("", "API token of a technician who may see everything", secret=True)
    subdomain: str = key("", "the account's subdomain")
    kinds: str = key("companies contacts assets tickets", "what it is asked for")
    hours: Literal["entries", "totals"] = key(
        "entries", "entries: every ticket's worklog, a call each; totals: the ticket's total alone, by difference"
    )
    full: str = key("30 2 * * *", _FULL)
    incremental: str = key("*/15 * * * *", _INCREMENTAL)
    webhook_secret: str = key("", _HOOKS, secret=True)

    def __post_init__(self) -> None:
        _check_address(self.url)
        _check_kinds(self.kinds, ("companies", "contacts", "assets", "tickets"))
        _check_schedules(self.full, self.incremental)


@dataclass(frozen=True, kw_only=True)
class Datto:
    url: str = key("", "https://<platform>-api.centrastage.net; empty: Datto RMM is not asked")
    api_key: str = key("", "API key of a user who may see every site")
    api_secret: str = key("", "the key's secret", secret=True)
    backup_field: str = key("udf6", "the user-defined field that holds the backed-up bytes")
    billing_type_field: str = key("udf7", "the user-defined field that says the billing type, before the category does")
    full: str = key("0 3 * * *", _FULL)

    def __post_init__(self) -> None:
        _check_address(self.url)
        _check_schedules(self.full)


@dataclass(frozen=True, kw_only=True)
class Files:
    folder: str = key("", "folder of import files that another program lays down; empty: none is read")
    full: str = key("", _FULL)

    def __post_init__(self) -> None:
        _check_schedules(self.full)


@dataclass(frozen=True, kw_only=True)
class CodexSettings(Settings):
    NAME: ClassVar[str] = "codex"
    sync: Sync = section(Sync)
    freshservice: Freshservice = section(Freshservice)
    superops: Superops = section(Superops)
    datto: Datto = section(Datto)
    files: Files = section(Files)


def _check_address(url: str) -> None:
    """A secret is sent there: it goes over TLS, or does not leave this host."""
    parts = urlsplit(url)
    if url and not (parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _HERE)):
        raise ValueError(f"url: expected an address that begins with https://, got {url!r}")


def _check_kinds(kinds: str, known: tuple[str, ...]) -> None:
    if unknown := sorted(set(kinds.split()) - set(known)):
        raise ValueError(f"kinds: expected some of {' '.join(known)}, got {unknown[0]!r}")


def _check_schedules(*texts: str) -> None:
    from apscheduler.triggers.cron import CronTrigger  # no other command of Codex needs it

    for text in filter(None, texts):
        try:
            CronTrigger.from_crontab(text, "UTC")
        except ValueError as error:
            raise ValueError(f"expected a schedule such as 0 2 * * *, got {text!r}: {error}") from None
