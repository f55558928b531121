"""hivematrix-helm: init, up, down, status, logs, env, tokens, users, witness, backup, and what every service has."""

import shlex
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NoReturn

import click
import orjson
from hivematrix_common import cli
from hivematrix_common.durable import write_file
from hivematrix_common.postgres import ClusterError, program
from sqlalchemy.engine import make_url

from hivematrix_helm import supervisor
from hivematrix_helm.app import create_app
from hivematrix_helm.commands import alerts, backup, health, retention, tokens, usage_told, users, witness, work
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain.loglines import LEVELS, Entry
from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.services import logs as log_service
from hivematrix_helm.services import mesh as mesh_service
from hivematrix_helm.system import instance, launching, logfiles, meshfile
from hivematrix_helm.system.confs import Conf
from hivematrix_helm.system.database import pgpass
from hivematrix_helm.system.instance import InitializeError, Options
from hivematrix_helm.system.probes import PortsTakenError


def serving_app(settings: HelmSettings) -> Any:
    from hivematrix_helm.services import background  # no other command needs the scheduler

    app = create_app(settings)
    background.start(app, settings)
    return app


group = cli.service_group(
    HelmSettings, serving_app, "Helm: starts, stops and watches the mesh; keeps accounts and tokens."
)


@group.command()
@click.option("--public-url", metavar="URL", help="Where people reach the mesh, such as https://billing.example.com.")
@click.option("--admin-url", metavar="URL", help="A PostgreSQL administrator's connection: use that server.")
@click.option("--timezone", metavar="ZONE", help="Billing time zone, such as Europe/Berlin.")
@click.option("--currency", metavar="CODE", help="Currency of companies that name none, such as EUR.")
@cli.home_option
def init(
    home: str | None, *, public_url: str | None, admin_url: str | None, timezone: str | None, currency: str | None
) -> int:
    """Make the home: confs, tokens between services, databases, schemas. Repeating it changes nothing.

    Time zone and currency are chosen once: other ones than the confs have are refused.

    Example: hivematrix-helm init --public-url https://billing.example.com
    """
    path = cli.chosen_home(home)
    _initialize(path, Options(public_url, admin_url, timezone=timezone, currency=currency))
    cli.say(f"{path}: ready; next: hivematrix-helm up")
    return cli.DONE


@group.command()
@click.option("--detach", is_flag=True, help="Return once all four services are ready, and leave them running.")
@click.option("--port-offset", type=click.IntRange(0, 50000), metavar="N", help="All ports N higher, from now on.")
@click.option("--quiet", is_flag=True, help="Say nothing when all are ready.")
@cli.home_option
def up(home: str | None, *, detach: bool, port_offset: int | None, quiet: bool) -> int:
    """Run PostgreSQL and the four services until SIGTERM or Ctrl-C; `init` is run first when the home is empty.

    Example: hivematrix-helm up --detach
    """
    path = cli.chosen_home(home)
    mesh = meshfile.read(path)
    if mesh and mesh.running:
        cli.fail(supervisor.running_already(path), cli.LOCKED)
    moves = port_offset is not None and port_offset != instance.port_offset(path)
    if moves or not instance.initialized(path):
        path.mkdir(parents=True, exist_ok=True)
        if not quiet:
            cli.say(f"Making {path}")
        _initialize(path, Options(port_offset=port_offset))
    settings = cli.load_settings(HelmSettings, home)
    if detach:
        code, why = launching.detach(settings)
        if code == cli.LOCKED:
            cli.fail(why, code)
        if code:
            cli.fail(f"{why}\nThe mesh is down again; what was said: hivematrix-helm logs", code)
        if not quiet:
            cli.say(_addresses(settings))
        return cli.DONE
    with _faults_told():
        supervisor.supervise(settings, None if quiet else lambda: _tell_ready(settings))
    return cli.DONE


@group.command()
@cli.home_option
def down(home: str | None) -> int:
    """Stop the services, then PostgreSQL; requests that run are finished.

    Example: hivematrix-helm down
    """
    with _faults_told():
        cli.say("down" if launching.down(cli.chosen_home(home)) else "nothing was running")
    return cli.DONE


@group.command()
@cli.json_option
@cli.home_option
def status(home: str | None, as_json: bool) -> int:
    """Each service: what runs, whether it is ready, and why not. Exit 0 only when all are ready.

    Example: hivematrix-helm status --json
    """
    found = mesh_service.statuses(cli.load_settings(HelmSettings, home))
    if as_json:
        click.echo(orjson.dumps(found))
    else:
        if found["started_by"] == "nobody":
            cli.say("no supervisor runs here; start one: hivematrix-helm up --detach")
        for row in found["services"]:
            _print_status(row["service_name"], row["configured_port"], row, row["health"])
        if found["postgres"]:
            _print_status("postgres", found["postgres"]["port"], found["postgres"], "")
    ready = all(row["health"] == "healthy" for row in found["services"])
    return cli.DONE if ready else cli.FAILED


@group.command()
@click.argument("service", required=False)
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option("-n", "--lines", type=click.IntRange(0, 100_000), default=100, help="How many (default 100).")
@click.option("--level", type=click.Choice(LEVELS, case_sensitive=False), default="DEBUG", help="This and above.")
@click.option("--since", metavar="TIME", help="10m, 2h, 3d ago, or an ISO instant.")
@click.option("--trace", metavar="ID", help="One request's way through all services.")
@cli.json_option
@cli.home_option
def logs(service: str | None, *, follow: bool, lines: int, as_json: bool, home: str | None, **told: Any) -> int:
    """What the services wrote, merged by time; also `postgres` and `mesh` (the supervisor).

    Example: hivematrix-helm logs ledger -f --level WARNING
    """
    path = cli.chosen_home(home)
    with usage_told():
        wanted = log_service.wanted(told["level"], told["trace"], told["since"])
        names = log_service.names(path, service)
    places = logfiles.ends(path, names)
    for entry in logfiles.last(path, places, wanted, lines, whole=bool(told["since"] or told["trace"])):
        _print_entry(entry, as_json=as_json)
    with suppress(KeyboardInterrupt):
        for entry in logfiles.follow(path, places, wanted) if follow else ():
            _print_entry(entry, as_json=as_json)
    return cli.DONE


@group.command()
@cli.home_option
def env(home: str | None) -> int:
    """What psql needs, as lines for a shell; the passwords go into a file only you may read.

    Where no psql is installed, the embedded one is put on PATH. Roles: <service>_user, and <service>_owner.

    Example: eval "$(hivematrix-helm env)"; psql -U archive_user -d archive_db
    """
    settings = cli.load_settings(HelmSettings, home)
    confs = [name for service in SERVICES for name in (f"{service}-owner", service)]
    urls = [Conf(settings.home, name).section("database").get("url") for name in confs]
    known = [make_url(url) for url in urls if url]
    if not known:
        cli.fail(f"{settings.conf}: [database] url: missing", cli.CONFIGURATION)
    passwords = meshfile.run_folder(settings.home) / "pgpass"
    write_file(passwords, pgpass(known))
    shown = {"PGHOST": known[-1].host, "PGPORT": known[-1].port or 5432, "PGPASSFILE": passwords}
    for name, value in shown.items():
        click.echo(f"export {name}={shlex.quote(str(value))}")
    if not shutil.which("psql"):
        click.echo(f'export PATH={shlex.quote(str(Path(program("psql")).parent))}:"$PATH"')
    return cli.DONE


group.add_command(health.command)
group.add_command(tokens.group)
group.add_command(users.group)
group.add_command(witness.group)
group.add_command(work.group)
group.add_command(alerts.group)
group.add_command(alerts.timer)
group.add_command(backup.group)
group.add_command(backup.recover)
backup.group.add_command(retention.prune)
backup.group.add_command(retention.send)


def main(arguments: list[str] | None = None) -> NoReturn:
    cli.run(group, arguments)


def _initialize(home: Path, options: Options) -> None:
    with _faults_told():
        instance.initialize(home, options)


@contextmanager
def _faults_told() -> Iterator[None]:
    """What can go wrong outside, in a line and an exit code."""
    try:
        yield
    except supervisor.LockedError as error:
        cli.fail(str(error), cli.LOCKED)
    except InitializeError as error:
        cli.fail(str(error), cli.CONFIGURATION if error.code == cli.CONFIGURATION else cli.FAILED)
    except PortsTakenError as error:
        cli.fail(str(error), cli.CONFIGURATION)
    except (ClusterError, TimeoutError) as error:
        cli.fail(str(error))


def _tell_ready(settings: HelmSettings) -> None:
    cli.say(launching.wait_ready(settings) or _addresses(settings))


def _addresses(settings: HelmSettings) -> str:
    return "\n".join(["ready", *(f"  {name:8} {settings.peer_url(name)}" for name in SERVICES)])


def _print_status(name: str, port: int, row: dict[str, Any], health: str) -> None:
    pid = f"pid {row['pid']}" if row["pid"] else ""
    ended = f"last time: {row['why']}" if row["why"] and row["status"] == "running" else row["why"]
    why = "; ".join(filter(None, [row.get("health_message"), ended]))
    restarts = f"restarts {row['restarts']}" if row["restarts"] else ""
    click.echo(f"{name:9} {port:<6} {row['status']:9} {health:12} {pid:12} {restarts:12} {why}".rstrip())


def _print_entry(entry: Entry, *, as_json: bool) -> None:
    click.echo(orjson.dumps(entry.as_json(), default=str) if as_json else entry.as_text())
