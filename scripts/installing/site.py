"""nginx in front: the site with its shared parts, a certificate to begin with, and the addresses in the confs."""

import json
from collections.abc import Callable, Iterator

from installing.database import conf
from installing.machine import HOME, USER, Machine
from installing.options import SERVICES, Options
from installing.steps import Step, file, files, folder, link
from installing.system import SOURCE

NGINX = "/etc/nginx"
SITE = f"{NGINX}/sites-available/hivematrix"
OWN_CERTIFICATES = "/etc/ssl/hivematrix"
_PROXY = "127.0.0.1"
# Whoever takes a conf apart and puts it together again is the product's own code.
_SET = """
import json, sys
from pathlib import Path
from hivematrix_common import conffile
for name, sections in json.load(sys.stdin).items():
    path = Path("/opt/hivematrix/instance") / f"{name}.conf"
    there = conffile.read(path)
    for section, values in sections.items():
        known = dict(there[section]) if section in there else {}
        conffile.set_section(path, section, known | values)
"""


def steps(machine: Machine, options: Options) -> Iterator[Step]:
    """Nothing where no name was given: the services answer on this machine's own address only."""
    if not options.hosts:
        return
    yield Step("addresses in the confs", lambda: _addresses_lack(machine, options), lambda: _address(machine, options))
    for host in options.hosts:
        yield _certificate(machine, host)
    yield folder(machine, "/var/cache/nginx", 0o755, "root")
    yield _then(files(machine, SOURCE / "nginx" / "hivematrix", f"{NGINX}/hivematrix"), lambda: _reload(machine))
    yield _then(file(machine, SITE, lambda: site(machine, options)), lambda: _reload(machine))
    yield _then(link(machine, f"{NGINX}/sites-enabled/hivematrix", SITE, "root"), lambda: _reload(machine))


def site(machine: Machine, options: Options) -> str:
    """The site as nginx/ has it, with these names and with the certificates that are there today."""
    kind, example = ("one-host", "billing.yourdomain.com") if options.host else ("host-per-service", "yourdomain.com")
    text = (
        (SOURCE / "nginx" / f"{kind}.conf").read_text(encoding="utf-8").replace(example, options.host or options.domain)
    )
    for host in options.hosts:
        text = text.replace(f"/etc/letsencrypt/live/{host}", _certificates(machine, host))
    return text


def _certificates(machine: Machine, host: str) -> str:
    live = f"/etc/letsencrypt/live/{host}"
    return live if machine.path(f"{live}/fullchain.pem").exists() else f"{OWN_CERTIFICATES}/{host}"


def _certificate(machine: Machine, host: str) -> Step:
    """Until certbot has one, one of our own: nginx starts, and certbot's challenge is answered."""

    def lacks() -> str:
        there = machine.path(f"{_certificates(machine, host)}/fullchain.pem").exists()
        return "" if there else "none yet; one that no browser trusts, until certbot's is there"

    def do() -> None:
        place = f"{OWN_CERTIFICATES}/{host}"
        machine.run("install", "-d", "-m", "0700", place)
        key, chain = f"{place}/privkey.pem", f"{place}/fullchain.pem"
        new = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
        about = ("-days", "3650", "-subj", f"/CN={host}", "-addext", f"subjectAltName=DNS:{host}")
        machine.run(*new, *about, "-keyout", key, "-out", chain)

    return Step(f"certificate of {host}", lacks, do)


def _wanted(options: Options, service: str) -> dict[str, dict[str, str]]:
    pages = {f"{name}_url": options.address(name) for name in SERVICES}
    return {"service": {"url": options.address(service), "trusted_proxy": _PROXY}, "pages": pages}


def _addresses_lack(machine: Machine, options: Options) -> str:
    differing = [service for service in SERVICES if _differs(machine, service, _wanted(options, service))]
    return f"not in {', '.join(differing)} yet" if differing else ""


def _differs(machine: Machine, service: str, wanted: dict[str, dict[str, str]]) -> bool:
    there = conf(machine, service)
    return any(
        there.get(section, key, fallback="") != value for section, keys in wanted.items() for key, value in keys.items()
    )


def _address(machine: Machine, options: Options) -> None:
    """A service that runs knows its own address from its start, and where the others send people."""
    told = json.dumps({service: _wanted(options, service) for service in SERVICES})
    machine.run(f"{HOME}/.venv/bin/python", "-c", _SET, user=USER, typed=told)
    if machine.booted:
        machine.run("systemctl", "try-restart", *(f"{service}.service" for service in SERVICES))


def _then(step: Step, after: Callable[[], None]) -> Step:
    def do() -> None:
        step.do()
        after()

    return Step(step.what, step.lacks, do)


def _reload(machine: Machine) -> None:
    """Only what nginx takes: a running site goes on as it was until then."""
    if not machine.path(f"{NGINX}/sites-enabled/hivematrix").exists():
        return
    machine.run("nginx", "-t", "-q")
    if machine.booted:
        machine.run("systemctl", "reload-or-restart", "nginx.service")
