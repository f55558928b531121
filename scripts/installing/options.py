"""What an installation was told, kept so that an upgrade or a repeat needs not be told again."""

import argparse
import dataclasses
import json
import re
from dataclasses import dataclass
from typing import Any

from installing.machine import HOME, USER, FailedError, Machine
from installing.steps import Step, file

KEPT = f"{HOME}/instance/install.json"
SERVICES = ("codex", "ledger", "archive", "helm")
_NAME = re.compile(r"[a-z0-9-]+(\.[a-z0-9-]+)+")


@dataclass(frozen=True)
class Options:
    """`host` is one name for all, `domain` the one that each service has a name under; neither: no site."""

    host: str = ""
    domain: str = ""
    admin: str = "admin"
    timezone: str = ""
    currency: str = ""

    @property
    def public_url(self) -> str:
        return f"https://{self.host or self.domain}" if self.hosts else ""

    @property
    def hosts(self) -> tuple[str, ...]:
        """The names people's browsers ask for."""
        return (self.host,) if self.host else tuple(f"{name}.{self.domain}" for name in SERVICES) if self.domain else ()

    def address(self, service: str) -> str:
        return f"https://{self.host}/{service}" if self.host else f"https://{service}.{self.domain}"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--host", metavar="NAME", help="one host name for all services, such as billing.example.com")
    where.add_argument("--domain", metavar="NAME", help="a host name for each: codex.NAME, ledger.NAME ...")
    parser.add_argument("--admin", metavar="NAME", help="the first administrator (default: admin)")
    parser.add_argument("--timezone", metavar="ZONE", help="billing time zone, such as Europe/Berlin (default: UTC)")
    parser.add_argument("--currency", metavar="CODE", help="currency of companies that name none (default: USD)")


def chosen(machine: Machine, said: dict[str, Any]) -> Options:
    """What is said now, else what was said last time."""
    names = {member.name for member in dataclasses.fields(Options)}
    kept = json.loads(machine.read(KEPT) or "{}")
    told = {name: value for name, value in said.items() if name in names and value is not None}
    if {"host", "domain"} & set(told):
        kept |= {"host": "", "domain": ""}
    options = Options(**(kept | told))
    if wrong := [name for name in options.hosts if not _NAME.fullmatch(name)]:
        raise FailedError(f"--host, --domain: expected a host name such as billing.example.com, got {wrong[0]}")
    return options


def keep(machine: Machine, options: Options) -> Step:
    text = json.dumps(dataclasses.asdict(options), indent=1) + "\n"
    return file(machine, KEPT, lambda: text, 0o600, USER)
