"""hivematrix-helm backup: sets are made, looked at, proved and restored."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import orjson
from hivematrix_common import cli
from hivematrix_common.clock import instant_text
from hivematrix_common.config import private_file_fault
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.postgres import ClusterError

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain.backup import ORDER, Record, State
from hivematrix_helm.services import backup, nightly, proving, restoring
from hivematrix_helm.system import roles, sets, streams
from hivematrix_helm.system.dumps import DumpError
from hivematrix_helm.system.probes import PortsTakenError
from hivematrix_helm.system.sets import LockedError, MissingError, Sets
from hivematrix_helm.system.streams import StreamError

identity_option = click.option(
    "--identity",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="File with the age secret key that opens the set (default: [backup] identity).",
)


@click.group("backup")
def group() -> None:
    """Sets of all four databases that are proved by restoring them."""


@group.command()
@click.option("--drill", "drilled", is_flag=True, help="Prove the set at once, by restoring it.")
@cli.json_option
@cli.home_option
def run(home: str | None, as_json: bool, drilled: bool) -> int:
    """Make a set and verify it, then send what is not off-site yet, and remove what later sets have replaced.

    Exit 3: the set is kept, but what was found says that it is not good, or it is not off-site.

    Example: hivematrix-helm backup run --drill
    """
    settings = cli.load_settings(HelmSettings, home)
    with faults_told():
        manifest, record = backup.run(settings, lambda line: None if as_json else cli.say(line))
        if drilled and record.state is not State.BAD:
            record = _drill(settings, manifest.name, proving.opener(settings))
        faults = nightly.finish(settings) if record.state is not State.BAD else []
    _tell(record, as_json=as_json, more={"bytes": manifest.bytes})
    for fault in faults:
        cli.say(fault)
    return cli.PARTIAL if faults or record.state is State.BAD else cli.DONE


@group.command("list")
@cli.json_option
@cli.home_option
def list_sets(home: str | None, as_json: bool) -> int:
    """Every set: when it was made, its size, and whether it is unverified, verified, proved, bad or gone.

    Example: hivematrix-helm backup list
    """
    settings = cli.load_settings(HelmSettings, home)
    rows = backup.listed(Sets.of(settings))
    if as_json:
        click.echo(orjson.dumps(rows))
        return cli.DONE
    for row in rows:
        size = f"{row['bytes'] / 1e6:.1f} MB" if row["bytes"] is not None else "-"
        click.echo(f"{row['name']}  {size:>12}  {row['state']:10}  {row['told']}".rstrip())
    if not rows:
        cli.say("no set yet; make one: hivematrix-helm backup run")
    return cli.DONE


@group.command()
@click.argument("name", required=False)
@identity_option
@cli.json_option
@cli.home_option
def verify(name: str | None, identity: Path | None, as_json: bool, home: str | None) -> int:
    """Hash the files of one set, or of all, and read dumps that can be opened to their end. Exit 1 names what is wrong.

    Example: hivematrix-helm backup verify hivematrix_20261121_030000
    """
    settings = cli.load_settings(HelmSettings, home)
    place, key = Sets.of(settings), _opener(settings, identity)
    with faults_told(), sets.locked(settings.home):
        names = [name] if name else sorted({*place.names(), *(record.name for record in place.records())})
        found = [proving.verify(place, each, key) for each in names]
    for record in found:
        _tell(record, as_json=as_json)
    return cli.FAILED if any(record.fault for record in found) else cli.DONE


@group.command()
@click.argument("name", required=False)
@identity_option
@cli.json_option
@cli.home_option
def drill(name: str | None, identity: Path | None, as_json: bool, home: str | None) -> int:
    """Restore a set, the newest when none is named, into a server of its own, and compare all of it.

    Example: hivematrix-helm backup drill
    """
    settings = cli.load_settings(HelmSettings, home)
    with faults_told():
        names = Sets.of(settings).names()
        if not name and not names:
            cli.fail("no set yet; make one: hivematrix-helm backup run")
        record = _drill(settings, name or names[-1], _opener(settings, identity))
    _tell(record, as_json=as_json)
    return cli.FAILED if record.fault else cli.DONE


@group.command()
@click.argument("service", type=click.Choice(ORDER))
@click.argument("name")
@click.option("--database", metavar="NAME", help="The database's name, typed, instead of being asked for it.")
@click.option("--admin-url", metavar="URL", help="A PostgreSQL administrator's connection, where the server needs one.")
@identity_option
@cli.home_option
def restore(service: str, name: str, *, identity: Path | None, home: str | None, **told: str | None) -> int:
    """Put one service's database back to how a set has it. What is there now stays, under another name.

    The service has to be stopped. Example: hivematrix-helm backup restore archive hivematrix_20261121_030000
    """
    settings = cli.load_settings(HelmSettings, home)
    database = str(roles.owner(settings.home, service).database)
    typed = told["database"] or click.prompt(f"This puts {name} in the place of {database}. Type its name", err=True)
    if typed != database:
        cli.fail(f"{typed!r} is not {database}: nothing was done", cli.USAGE)
    with faults_told():
        key = _opener(settings, identity)
        done = restoring.restore(settings, service, name, key, admin_url=told["admin_url"], tell=cli.say)
    there = f"what was there is called {done.before}" if done.before else "nothing of that name was there"
    cli.say(f"{database} is {name} again, in {done.seconds} s; {there}")
    if done.lost:
        cli.say(done.lost)
    return cli.DONE


@group.command("key")
@cli.home_option
def key_command(home: str | None) -> int:
    """Make a key pair for sealing sets. stdout is the secret key, shown only now; the conf gets the public one.

    Example: hivematrix-helm backup key > /media/usb/backup-key; chmod 600 /media/usb/backup-key
    """
    settings = cli.load_settings(HelmSettings, home)
    secret, public = streams.new_identity()
    backup.add_recipient(settings, public)
    cli.say(f"From now on sets are sealed for {public} too.")
    cli.say("Nobody opens them without the line on stdout: keep it away from this machine.")
    click.echo(secret)
    return cli.DONE


@click.command()
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option(
    "--admin-url", metavar="URL", help="A PostgreSQL administrator's connection, where the server is no embedded one."
)
@identity_option
@cli.home_option
def recover(folder: Path, admin_url: str | None, identity: Path | None, home: str | None) -> int:
    """Make everything anew on an empty machine, out of a set and its key; of a folder of sets the newest good one.

    Example: hivematrix-helm recover /mnt/offsite --identity /media/usb/backup-key
    """
    path = cli.chosen_home(home)
    if identity is None:
        cli.fail("--identity: the secret key is needed, confs and keys lie sealed in the set", cli.USAGE)
    with faults_told():
        found = restoring.recover(path, folder, proving.Opener(_identity(identity)), admin_url, cli.say)
    cli.say(f"{path}: all is as in {found.name} again, in {found.seconds} s")
    if found.lost:
        cli.say(found.lost)
    cli.say("next: hivematrix-helm up --detach")
    return cli.DONE


@contextmanager
def faults_told() -> Iterator[None]:
    """What can go wrong with sets, in a line and an exit code."""
    try:
        yield
    except LockedError as error:
        cli.fail(str(error), cli.LOCKED)
    except MissingError as error:
        cli.fail(str(error), cli.USAGE)
    except PortsTakenError as error:
        cli.fail(str(error), cli.CONFIGURATION)
    except (DumpError, StreamError, ClusterError, DomainError, TimeoutError) as error:
        cli.fail(str(error))
    except OSError as error:
        cli.fail(f"{error.filename}: {error.strerror}" if error.filename else str(error))


def _drill(settings: HelmSettings, name: str, key: proving.Opener) -> Record:
    with sets.locked(settings.home):
        return proving.drill(settings, name, key)


def _opener(settings: HelmSettings, identity: Path | None) -> proving.Opener:
    return proving.Opener(_identity(identity)) if identity else proving.opener(settings)


def _identity(path: Path) -> Any:
    if fault := private_file_fault(path):
        cli.fail(fault, cli.CONFIGURATION)
    return streams.identity(path.read_text(encoding="utf-8"))


def _tell(record: Record, *, as_json: bool, more: dict[str, Any] | None = None) -> None:
    if as_json:
        click.echo(orjson.dumps(record.as_json() | {"state": record.state} | (more or {})))
        return
    pace = f" in {record.pace.seconds} s" if record.state is State.PROVED and record.pace else ""
    at = f" at {instant_text(record.verified_at)}" if record.verified_at and not record.fault else ""
    click.echo(f"{record.name}: {record.state}{at}{pace}" + (f": {record.fault}" if record.fault else ""))
