"""hivematrix-helm backup prune and send: which sets stay here, and which are elsewhere too."""

import click
import orjson
from hivematrix_common import cli

from hivematrix_helm.commands.backup import faults_told
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.services import offsite, retention
from hivematrix_helm.system import sets


@click.command()
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@cli.json_option
@cli.home_option
def prune(home: str | None, *, dry_run: bool, as_json: bool) -> int:
    """Remove the sets that later verified ones have replaced: 30 daily, 12 weekly, 12 monthly ones stay, at least 3.

    `backup run` does it after each good set. Example: hivematrix-helm backup prune --dry-run
    """
    settings = cli.load_settings(HelmSettings, home)
    if dry_run:
        plan = retention.planned(settings)
    else:
        with faults_told(), sets.locked(settings.home):
            plan = retention.prune(settings)
    if as_json:
        click.echo(orjson.dumps({"done": not dry_run, "sets": [verdict.as_json() for verdict in plan.verdicts]}))
        return cli.DONE
    words = {True: "stays", False: "would go" if dry_run else "removed"}
    for verdict in plan.verdicts:
        click.echo(f"{verdict.name}  {words[verdict.stays]:8}  {', '.join(verdict.reasons)}")
    cli.say(f"{len(plan.remove)} of {len(plan.verdicts)} sets {'would go' if dry_run else 'removed'}")
    return cli.DONE


@click.command()
@cli.json_option
@cli.home_option
def send(home: str | None, *, as_json: bool) -> int:
    """Copy the verified sets that are not off-site yet, read them back and compare. Exit 1: not all are.

    By the commands [offsite] copy and read_back; `backup run` does it after each good set.

    Example: hivematrix-helm backup send
    """
    settings = cli.load_settings(HelmSettings, home)
    if not settings.offsite.copy:
        cli.fail(f"{settings.conf}: [offsite] copy: missing; there is no other place to send to", cli.CONFIGURATION)
    with faults_told(), sets.locked(settings.home):
        sent = offsite.send(settings)
    if as_json:
        click.echo(orjson.dumps({name: copy.as_json() for name, copy in sent.items()}))
    for name, copy in () if as_json else sent.items():
        click.echo(f"{name}: {copy.fault or 'copied, read back, the same'}")
    if not sent:
        cli.say("nothing waits: every verified set is off-site")
    return cli.FAILED if any(copy.fault for copy in sent.values()) else cli.DONE
