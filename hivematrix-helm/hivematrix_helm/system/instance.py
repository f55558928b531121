"""`init`: confs, keys between services, databases, schemas. Each step finds what is there and adds what is missing."""

import secrets
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from zoneinfo import ZoneInfo

from hivematrix_common import tokens
from hivematrix_common.config import PORTS, ConfigError, conf_path, convert
from hivematrix_common.durable import file_lock
from hivematrix_common.provision import administrator, create_service, role_url
from hivematrix_common.sections import normal_url
from sqlalchemy.engine import URL, make_url

from hivematrix_helm.config import POSTGRES_PORT
from hivematrix_helm.domain.mesh import GRANTS, SERVICES, log_origin
from hivematrix_helm.system import database, processes, session_key
from hivematrix_helm.system.confs import Conf, registrations

STEP_SECONDS = 300


# A month close has four pages on their way: with four threads the services that close would keep others waiting.
CLOSING, CLOSING_THREADS = ("codex", "ledger", "archive"), "6"


class InitializeError(Exception):
    """A step failed; the text names it and says why, `code` is the exit code of its command."""

    def __init__(self, text: str, code: int) -> None:
        super().__init__(text)
        self.code = code


@dataclass(frozen=True, slots=True)
class Options:
    """What `init` and `up` may be told; None leaves what is configured."""

    public_url: str | None = None
    admin_url: str | None = None
    port_offset: int | None = None
    timezone: str | None = None
    currency: str | None = None


def initialized(home: Path) -> bool:
    """Which PostgreSQL is used is written down last."""
    return "embedded" in Conf(home, "helm").section("postgres")


def port_offset(home: Path) -> int:
    """How far this home's ports lie above the usual ones."""
    return int(Conf(home, "helm").section("service").get("port", PORTS["helm"])) - PORTS["helm"]


def initialize(home: Path, options: Options) -> None:
    """Make or mend the home. Repeating it changes nothing; a run cut short is completed by the next."""
    _check(options)
    _refuse_change(home, options)
    for folder in ("instance", "logs", "run"):
        (home / folder).mkdir(parents=True, exist_ok=True)
        (home / folder).chmod(0o700)
    with file_lock(home / "run" / "init.lock"):
        helm = Conf(home, "helm")
        embedded = _embedded(helm, options)
        server = _server(helm, options, embedded=embedded)
        owned = [service for service in SERVICES if not _is_foreign(home, service)]
        for service in owned:
            _write_databases(home, service, server)
        public = session_key.make(home)
        for service in SERVICES:
            _write_conf(home, service, options)
            _write_identity(home, service, options, public)
        _grant(home)
        with _administrator(home, server, options, embedded=embedded) as url:
            if url:
                _create_databases(home, owned, url)
            _migrate(home, owned, options)
        if embedded:
            helm.add("postgres", {"embedded": "yes", "port": str(server.port)}, force=True)
        else:
            helm.add("postgres", {"embedded": "no"})


def _check(options: Options) -> None:
    faults = []
    for name, kind in (("timezone", ZoneInfo), ("currency", str), ("public_url", str)):
        text = getattr(options, name)
        try:
            convert(kind, text or "", name) if text is not None else None
        except ValueError as error:
            faults.append(f"--{name.replace('_', '-')}: {error}")
    if faults:
        raise ConfigError(faults)


def _refuse_change(home: Path, options: Options) -> None:
    """Bills were made with what is configured: a person changes that knowingly, in every conf."""
    faults = []
    for name, value in (("timezone", options.timezone), ("currency", options.currency)):
        there = {
            conf: conf.section("billing").get(name, value) for conf in (Conf(home, service) for service in SERVICES)
        }
        if differing := [conf for conf, known in there.items() if known != value and value]:
            first = differing[0]
            faults.append(
                f"{first.path}: [billing] {name} is {there[first]}, and `init` changes no home to {value}; edit it in "
                "the conf of every service, then run: hivematrix-helm down; hivematrix-helm up --detach"
            )
    if faults:
        raise ConfigError(faults)


def _embedded(helm: Conf, options: Options) -> bool:
    said = helm.section("postgres").get("embedded")
    if said == "yes" and options.admin_url:
        raise ConfigError([f"{helm.path}: [postgres] embedded = yes: this home has a PostgreSQL of its own already"])
    return not options.admin_url if said is None else said == "yes"


def _server(helm: Conf, options: Options, *, embedded: bool) -> URL:
    """Where the databases are, without a login."""
    if options.admin_url:
        try:
            return make_url(normal_url(options.admin_url)).set(username=None, password=None)
        except ValueError as error:
            raise ConfigError([f"--admin-url: {error}"]) from None
    if not embedded:
        return make_url(helm.section("database")["url"])
    port = int(helm.section("postgres").get("port", POSTGRES_PORT))
    if options.port_offset is not None:
        port = POSTGRES_PORT + options.port_offset
    return URL.create("postgresql+psycopg2", host="127.0.0.1", port=port)


def _is_foreign(home: Path, service: str) -> bool:
    """Whether a person pointed this service at a database of their own, or made it by `init-db`."""
    there, owner = Conf(home, service).section("database"), Conf(home, f"{service}-owner").section("database")
    return bool(there) and (not owner or "made_by" in owner)


def _write_databases(home: Path, service: str, server: URL) -> None:
    """The owner's conf first: without it a conf with a database counts as a person's own."""
    for name, kind in ((f"{service}-owner", "owner"), (service, "user")):
        conf = Conf(home, name)
        conf.add("database", {"url": _url_of(conf, server, service, kind)}, force=True)


def _write_conf(home: Path, service: str, options: Options) -> None:
    conf, moved = Conf(home, service), options.port_offset is not None
    offset = port_offset(home) if options.port_offset is None else options.port_offset
    conf.add("service", {"port": str(PORTS[service] + offset)}, force=moved)
    if service in CLOSING:
        conf.add("service", {"threads": CLOSING_THREADS})
    if options.public_url:
        conf.add("service", {"url": f"{options.public_url.rstrip('/')}/{service}"}, force=True)
    urls = {f"{name}_url": f"http://127.0.0.1:{PORTS[name] + offset}" for name in SERVICES}
    conf.add("services", urls, force=moved)
    chosen = {"timezone": options.timezone, "currency": options.currency}
    conf.add("billing", {"timezone": "UTC", "currency": "USD"})
    conf.add("billing", {name: value for name, value in chosen.items() if value}, force=True)


def _write_identity(home: Path, service: str, options: Options, public: str) -> None:
    """The key sessions are signed with, and where people's browsers find the services."""
    conf = Conf(home, service)
    session_key.trust(conf, public)
    conf.add("pages", {"secret_key": secrets.token_urlsafe(32)})
    if options.public_url:
        base = options.public_url.rstrip("/")
        conf.add("pages", {f"{name}_url": f"{base}/{name}" for name in SERVICES}, force=True)


def _url_of(conf: Conf, server: URL, service: str, kind: str) -> str:
    """The role's connection: its password stays, the server's address is today's."""
    there = conf.section("database").get("url")
    password = make_url(there).password if there else None
    return role_url(server, f"{service}_{kind}", password or secrets.token_hex(24), f"{service}_db")


def _grant(home: Path) -> None:
    """A token for each pair of GRANTS that has none."""
    for (caller, peer), scopes in GRANTS.items():
        conf, receiver = Conf(home, caller), conf_path(home, peer)
        token = conf.section("services").get(f"{peer}_token")
        mine = [entry for entry in registrations(home, peer) if entry.caller == caller]
        if token and tokens.digest(token) in {entry.digest for entry in mine}:
            continue
        for entry in mine:  # of a token that nobody holds: a run was cut short
            tokens.unregister(receiver, entry.id)
        token = tokens.generate(caller)
        tokens.register(receiver, token, caller, scopes)
        conf.add("services", {f"{peer}_token": token}, force=True)


@contextmanager
def _administrator(home: Path, server: URL, options: Options, *, embedded: bool) -> Iterator[str | None]:
    """The administrator's connection while the server runs; None when the server is another's and exists already."""
    if not embedded:
        yield options.admin_url
        return
    with database.running(home, server.port or POSTGRES_PORT) as url:
        yield url


def _create_databases(home: Path, owned: list[str], admin_url: str) -> None:
    with administrator(admin_url) as admin:
        for service in owned:
            urls = [make_url(Conf(home, name).section("database")["url"]) for name in (f"{service}-owner", service)]
            create_service(admin, service, *(str(url.password) for url in urls))


def _migrate(home: Path, owned: list[str], options: Options) -> None:
    """Each service brings its own schema to head, side by side; then Archive makes its key and names its log."""
    with ThreadPoolExecutor(len(SERVICES)) as pool:
        list(pool.map(lambda service: _call(home, service, "init-db", "--migrate-only"), owned))
    origin = ["--origin", log_origin(options.public_url)] if options.public_url else []
    _call(home, "archive", "init", *origin)


def _call(home: Path, service: str, *arguments: str) -> None:
    done = subprocess.run(
        processes.command(service, *arguments),
        env=processes.environment(home),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=STEP_SECONDS,
        check=False,
    )
    if done.returncode:
        said = (done.stderr or done.stdout).strip().splitlines()
        shown = said[-1] if "Traceback" in done.stderr else "\n".join(said)
        text = f"hivematrix-{service} {' '.join(arguments)}: {shown or f'exit {done.returncode}'}"
        raise InitializeError(text, done.returncode)
