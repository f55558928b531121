"""Configuration: typed sections, four sources, every fault named at once.

Order: environment (`HIVEMATRIX_<SERVICE>_<SECTION>_<KEY>`), systemd's credentials, the service folder's `.flaskenv`,
`instance/<service>.conf` in HIVEMATRIX_HOME. A service declares a Settings class whose fields are sections, and its
whose fields are keys: that declaration is the parser, the check and the reference (docs/reference/configuration.md) in
one.
"""

import configparser
import dataclasses
import importlib.util
import ipaddress
import logging
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar, Self, cast, get_args, get_type_hints
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from hivematrix_common import clock, conffile, starter, tokens
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.money import parse_currency
from hivematrix_common.domain.roles import SCOPES
from hivematrix_common.domain.session import parse_keys
from hivematrix_common.dotenv import read_dotenv
from hivematrix_common.sections import (
    Billing,
    Database,
    Metrics,
    Pages,
    Service,
    Services,
    Sessions,
    normal_url,
    section,
)
from hivematrix_common.tokens import Registration

SERVICES = ("codex", "ledger", "archive", "helm")
PORTS = {"codex": 5010, "ledger": 5011, "archive": 5012, "helm": 5004}
SHORTEST_TOKEN = 32
PLACEHOLDERS = ("your-service-secret-token", "your-admin-secret-token", "your-secure-password")
# What a token that a service's own .flaskenv names may do there.
DOTENV_SCOPES = {
    "SERVICE_TOKEN": {
        "codex": ("codex:read",),
        "ledger": ("ledger:read", "ledger:accept"),
        "archive": ("archive:read", "archive:seal"),
        "helm": ("helm:read",),
    },
    "ADMIN_TOKEN": {
        "codex": ("codex:read", "codex:write"),
        "ledger": ("ledger:read", "ledger:write", "ledger:accept"),
        "archive": ("archive:read", "archive:seal", "archive:admin"),
        "helm": ("helm:read", "helm:operate", "helm:admin"),
    },
}
_DOTENV_KEYS = {
    "SERVICE_PORT": ("service", "port"),
    "CODEX_URL": ("services", "codex_url"),
    "LEDGER_URL": ("services", "ledger_url"),
    "ARCHIVE_URL": ("services", "archive_url"),
    "HELM_URL": ("services", "helm_url"),
}
_DOTENV_UNUSED = ("FLASK_APP", "FLASK_ENV")
_log = logging.getLogger("hivematrix.config")
_TRUE, _FALSE = ("yes", "true", "on", "1"), ("no", "false", "off", "0")


class ConfigError(Exception):
    """Everything that is wrong with a configuration, one line a fault. Commands exit 78 on it."""

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


@dataclass(frozen=True, kw_only=True)
class Settings:
    """What every service has. Subclasses set NAME and add their sections."""

    NAME: ClassVar[str] = ""
    home: Path = Path()
    dotenv: Mapping[str, str] = field(default_factory=dict, repr=False)
    service: Service = section(Service)
    database: Database = section(Database)
    services: Services = section(Services)
    billing: Billing = section(Billing)
    metrics: Metrics = section(Metrics)
    sessions: Sessions = section(Sessions)
    pages: Pages = section(Pages)
    _watched: conffile.Watched[Any] | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def service_name(self) -> str:
        return self.NAME

    @property
    def port(self) -> int:
        return self.service.port or PORTS[self.NAME]

    @property
    def conf(self) -> Path:
        return conf_path(self.home, self.NAME)

    def peer_url(self, peer: str) -> str:
        return str(getattr(self.services, f"{peer}_url")).rstrip("/")

    def public_url(self, service: str) -> str:
        """Where people's browsers find a service of the mesh."""
        named = getattr(self.pages, f"{service}_url", "") or (self.service.url if service == self.NAME else "")
        own = f"http://127.0.0.1:{self.port}" if service == self.NAME else ""
        return (named or own or self.peer_url(service)).rstrip("/")

    def current(self) -> Self:
        """These settings as their conf says today: tokens and keys change while the service runs."""
        return self._watched.value() if self._watched else self

    def peer_token(self, peer: str) -> str:
        """Today's token for `peer`: the conf's own always wins over SERVICE_TOKEN."""
        return getattr(self.current().services, f"{peer}_token") or self.dotenv.get("SERVICE_TOKEN", "")

    def registrations(self) -> list[Registration]:
        """Who may call now, read afresh; a broken `[caller:...]` section raises ConfigError."""
        faults: list[str] = []
        found = read_callers(self.conf, faults) if self.conf.exists() else []
        if faults:
            raise ConfigError(faults)
        return found + _dotenv_callers(self.NAME, self.dotenv)

    @classmethod
    def load(
        cls, home: Path | None = None, environ: Mapping[str, str] | None = None, folder: Path | None = None
    ) -> Self:
        """Read all sources. ConfigError lists every fault; nothing is guessed and nothing unknown is passed over."""
        environ = os.environ if environ is None else environ
        sources = (cls, home or home_path(environ), environ, folder or service_folder(cls.NAME))
        settings = cast(Self, _Loader(*sources).load())
        watched = conffile.Watched(settings.conf, lambda: _reloaded(settings, sources))
        object.__setattr__(settings, "_watched", watched)
        return settings


def _reloaded(settings: Any, sources: tuple[type[Any], Path, Mapping[str, str], Path]) -> Any:
    """The settings read again; what a person broke in the meantime takes nothing away from a running service."""
    try:
        return _Loader(*sources).load()
    except (ConfigError, OSError) as error:
        _log.error("the configuration is broken, what was read before holds", extra={"reason": str(error)})
        return settings


def checkout() -> Path:
    return Path(__file__).resolve().parents[2]


def home_path(environ: Mapping[str, str] | None = None) -> Path:
    """HIVEMATRIX_HOME; else the checkout when it holds `instance/`, else `.hivematrix` in it."""
    named = (os.environ if environ is None else environ).get("HIVEMATRIX_HOME")
    if named:
        return Path(named).resolve()
    root = checkout()
    return root if (root / "instance").is_dir() else root / ".hivematrix"


def conf_path(home: Path, service: str) -> Path:
    return home / "instance" / f"{service}.conf"


def service_folder(service: str) -> Path:
    """The folder that holds a service's package, and its `.flaskenv`."""
    spec = importlib.util.find_spec(f"hivematrix_{service}")
    origin = spec.origin if spec else None
    return Path(origin).resolve().parents[1] if origin else checkout() / f"hivematrix-{service}"


def private_file_fault(path: Path) -> str | None:
    """What is wrong with a file of secrets, or None."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
    except OSError as error:
        return f"{path}: {error.strerror}"
    if mode & 0o077:
        return f"{path}: mode {mode:04o} lets others read secrets; run: chmod 600 {path}"
    return None


def read_callers(path: Path, faults: list[str]) -> list[Registration]:
    parser = conffile.read(path)
    names = [name for name in parser.sections() if name.startswith("caller:")]
    return [found for name in names if (found := _caller(path, name, dict(parser[name]), faults))]


def _caller(path: Path, name: str, values: dict[str, str], faults: list[str]) -> Registration | None:
    before = len(faults)
    unknown = sorted(set(values) - {"caller", "digest", "scopes", "expires", "created", "replaced_by"})
    faults += [f"{path}: [{name}] {member}: unknown key" for member in unknown]
    scopes = frozenset(values.get("scopes", "").split())
    faults += [f"{path}: [{name}] scopes: unknown scope {scope}" for scope in sorted(scopes - set(SCOPES))]
    if not values.get("digest", "").startswith("sha256:"):
        faults.append(f"{path}: [{name}] digest: expected sha256:<hex>")
    if not values.get("caller"):
        faults.append(f"{path}: [{name}] caller: missing")
    instants: dict[str, datetime | None] = {}
    for member in ("expires", "created"):
        try:
            instants[member] = clock.parse_instant(values[member]) if values.get(member) else None
        except ValueError as error:
            faults.append(f"{path}: [{name}] {member}: {error}")
    if len(faults) > before:
        return None
    identity, replaced_by = name.removeprefix("caller:"), values.get("replaced_by")
    return Registration(identity, values["caller"], values["digest"], scopes, **instants, replaced_by=replaced_by)


def _dotenv_callers(service: str, dotenv: Mapping[str, str]) -> list[Registration]:
    return [
        Registration(
            name.lower(), name.lower().replace("_", "-"), tokens.digest(dotenv[name]), frozenset(scopes[service])
        )
        for name, scopes in DOTENV_SCOPES.items()
        if name in dotenv
    ]


class _Loader:
    """One reading of one service's sources, collecting faults as it goes."""

    def __init__(self, kind: type[Any], home: Path, environ: Mapping[str, str], folder: Path) -> None:
        self.kind, self.home, self.environ, self.folder = kind, home, environ, folder
        self.name: str = kind.NAME
        self.conf = conf_path(home, self.name)
        self.prefix = f"HIVEMATRIX_{self.name.upper()}_"
        self.faults: list[str] = []
        self.dotenv: dict[str, str] = {}
        # (section, key) -> (text, where it was written)
        self.found: dict[tuple[str, str], tuple[str, str]] = {}

    def load(self) -> Any:
        sections = section_types(self.kind)
        self._read_conf(sections)
        self._read_dotenv()
        self._read_credentials(sections)
        self._read_environment(sections)
        values = {name: self._section(name, kind) for name, kind in sections.items()}
        self._check_database(values.get("database"))
        self._check_pages(values["pages"], values["sessions"])
        if self.faults:
            raise ConfigError(self.faults)
        return self.kind(home=self.home, dotenv=self.dotenv, **values)

    def _read_conf(self, sections: Mapping[str, type[Any]]) -> None:
        if not self.conf.exists():
            self.faults.append(f"{self.conf}: missing; run: hivematrix-helm init")
            return
        if fault := private_file_fault(self.conf):
            self.faults.append(fault)
        try:
            parser = conffile.read(self.conf)
            read_callers(self.conf, self.faults)
        except (configparser.Error, UnicodeDecodeError, OSError) as error:
            self.faults.append(f"{self.conf}: {' '.join(str(error).split())}")
            return
        for name in parser.sections():
            if name in sections:
                for member, text in parser[name].items():
                    self._take(sections, name, member, text, f"{self.conf}: [{name}] {member}")
            elif not name.startswith("caller:"):
                self.faults.append(f"{self.conf}: [{name}]: unknown section; known are {', '.join(sections)}")

    def _read_dotenv(self) -> None:
        path = self.folder / ".flaskenv"
        if not path.exists():
            return
        if fault := private_file_fault(path):
            self.faults.append(fault)
            return
        self.dotenv = read_dotenv(path, self.faults)
        for name, text in self.dotenv.items():
            self._take_dotenv(name, text, f"{path}: {name}")

    def _take_dotenv(self, name: str, text: str, where: str) -> None:
        if name in DOTENV_SCOPES:
            if text in PLACEHOLDERS:
                self.faults.append(f"{where}: is the guide's example text; run: hivematrix-helm tokens issue")
            elif len(text) < SHORTEST_TOKEN:
                self.faults.append(f"{where}: expected {SHORTEST_TOKEN} characters or more")
        elif name == "SERVICE_NAME":
            if text != self.name:
                self.faults.append(f"{where}: expected {self.name}, got {text}")
        elif name in _DOTENV_KEYS:
            self.found[_DOTENV_KEYS[name]] = (text, where)
        elif name not in _DOTENV_UNUSED:
            self.faults.append(f"{where}: unknown key")

    def _read_credentials(self, sections: Mapping[str, type[Any]]) -> None:
        """Systemd gives them to this process alone; who else may read them is its own matter."""
        for (name, member), path in starter.credentials(self.environ, self.name).items():
            known = (
                {f.name: f.metadata["secret"] for f in dataclasses.fields(sections[name])} if name in sections else {}
            )
            if known.get(member):
                self.found[name, member] = (path.read_text(encoding="utf-8").strip(), f"credential {path.name}")
            else:
                self.faults.append(f"credential {path.name}: there is no secret [{name}] {member}")

    def _read_environment(self, sections: Mapping[str, type[Any]]) -> None:
        if self.environ.get("FLASK_DEBUG", "").lower() in _TRUE:
            self.faults.append("environment: FLASK_DEBUG: a debugger is never run; unset it")
        for variable in sorted(self.environ):
            if variable.startswith(self.prefix):
                name, _, member = variable.removeprefix(self.prefix).lower().partition("_")
                if name in sections:
                    self._take(sections, name, member, self.environ[variable], f"environment: {variable}")
                else:
                    self.faults.append(f"environment: {variable}: unknown section {name}")

    def _take(self, sections: Mapping[str, type[Any]], name: str, member: str, text: str, where: str) -> None:
        known = {f.name: f for f in dataclasses.fields(sections[name])}
        plain = member.removesuffix("_file")
        if member in known:
            self.found[name, member] = (text, where)
        elif plain in known and known[plain].metadata["secret"]:
            self._take_file(name, plain, Path(text), where)
        else:
            self.faults.append(f"{where}: unknown key; known are {', '.join(known)}")

    def _take_file(self, name: str, member: str, path: Path, where: str) -> None:
        fault = private_file_fault(path)
        if fault:
            self.faults.append(f"{where}: {fault}")
        else:
            self.found[name, member] = (path.read_text(encoding="utf-8").strip(), where)

    def _section(self, name: str, kind: type[Any]) -> Any:
        hints, values = get_type_hints(kind), {}
        for member in dataclasses.fields(kind):
            if (name, member.name) in self.found:
                text, where = self.found[name, member.name]
                try:
                    values[member.name] = convert(hints[member.name], text, member.name)
                except ValueError as error:
                    self.faults.append(f"{where}: {error}")
            elif member.default is dataclasses.MISSING:
                self.faults.append(f"{self.conf}: [{name}] {member.name}: missing ({member.metadata['text']})")
                values[member.name] = None
        try:
            return kind(**values)
        except ValueError as error:  # keys that do not go together
            self.faults.append(f"{self.conf}: [{name}] {error}")
            return None

    def _check_database(self, database: Database | None) -> None:
        where = f"{self.conf}: [database]"
        named = ("database", "url") not in self.found and database is not None and database.host and database.name
        if database is None or named or not self.conf.exists():
            return
        try:
            normal_url(database.url)
        except ValueError as error:
            self.faults.append(f"{where} url: {error}")

    def _check_pages(self, pages: Pages, sessions: Sessions) -> None:
        """There is no random secret: forms and sessions need what `init` writes."""
        needed = {"[pages] secret_key": pages.secret_key, "[sessions] verify_keys": sessions.verify_keys}
        if pages.enabled and self.conf.exists():
            missing = [name for name, value in needed.items() if not value]
            self.faults += [f"{self.conf}: {name}: missing; run: hivematrix-helm init" for name in missing]


def section_types(kind: type[Any]) -> dict[str, type[Any]]:
    """A Settings class's sections by name."""
    return {name: hint for name, hint in get_type_hints(kind).items() if dataclasses.is_dataclass(hint)}  # type: ignore[misc]


def convert(kind: Any, text: str, name: str) -> Any:
    """A key's text as its declared type; ValueError says what was expected."""
    if kind is bool:
        if text.lower() not in _TRUE + _FALSE:
            raise ValueError(f"expected yes or no, got {text!r}")
        return text.lower() in _TRUE
    if kind is int:
        if not text.lstrip("-").isdigit():
            raise ValueError(f"expected a whole number, got {text!r}")
        return int(text)
    if kind is ZoneInfo:
        return _zone(text)
    if kind is Path:
        return Path(text)
    if (choices := get_args(kind)) and text not in choices:
        raise ValueError(f"expected one of {', '.join(choices)}, got {text!r}")
    return _text(name, text)


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"expected an IANA time zone such as Europe/Berlin, got {text!r}") from None


def _text(name: str, text: str) -> str:
    if name == "currency":
        try:
            return parse_currency(text)
        except DomainError as error:
            raise ValueError(error.message) from None
    if name == "log_level" and text.upper() not in {"DEBUG", "INFO", "WARNING", "ERROR"}:
        raise ValueError(f"expected DEBUG, INFO, WARNING or ERROR, got {text!r}")
    if name == "trusted_proxy" and text:
        return str(ipaddress.ip_address(text))
    if name == "verify_keys":
        parse_keys(text)
    if name.endswith("_url") and not text.startswith(("http://", "https://")):
        raise ValueError(f"expected an address such as http://127.0.0.1:5010, got {text!r}")
    return text
