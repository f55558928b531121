"""hivematrix-helm witness: the archive's log, as seen from outside."""

import click
import orjson
from hivematrix_common import cli

from hivematrix_helm.app import create_app
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.services import witness


@click.group("witness")
def group() -> None:
    """Whether the archive's log still holds all that was signed, as Helm saw it."""


@group.command()
@cli.json_option
@cli.home_option
def show(home: str | None, as_json: bool) -> int:
    """What the last look found. Exit 1 when the log is shorter, different, or not fully signed.

    Example: hivematrix-helm witness show
    """
    settings = cli.load_settings(HelmSettings, home)
    with create_app(settings).app_context():
        found = witness.state(settings.witness.path)
    if as_json:
        click.echo(orjson.dumps(found))
    else:
        click.echo(f"{found['state']}: {found['detail']}")
        click.echo(f"{found['checkpoints']} checkpoints held, the newest of {found['size']} entries")
    return cli.FAILED if found["alert"] else cli.DONE


@group.command()
@click.option("--reason", required=True, help="Why what was held is no longer expected; it is kept.")
@cli.home_option
def restart(reason: str, home: str | None) -> int:
    """Watch the log anew under the keys it has now, once a loss is understood. What was held before stays.

    Example: hivematrix-helm witness restart --reason "the log was adopted after the disk was lost on 3 May"
    """
    settings = cli.load_settings(HelmSettings, home)
    with create_app(settings).app_context():
        witness.restart(witness.log_of(settings), reason)
    cli.say("the log is watched anew; see: hivematrix-helm witness show")
    return cli.DONE
