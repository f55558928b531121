"""hivematrix-helm health: what scripts/health-check runs."""

import dataclasses

import click
import orjson
from hivematrix_common import cli

from hivematrix_helm.config import HelmSettings
from hivematrix_helm.services import health as health_service


@click.command("health")
@click.option("--quiet", is_flag=True, help="Say what is wrong, and nothing when all is well: for cron.")
@cli.json_option
@cli.home_option
def command(home: str | None, *, quiet: bool, as_json: bool) -> int:
    """All services and the disk, a line each. Exit 0 only when all is well.

    Example: hivematrix-helm health --quiet
    """
    found = health_service.look(cli.load_settings(HelmSettings, home))
    if as_json:
        click.echo(orjson.dumps([dataclasses.asdict(finding) for finding in found]))
    else:
        for finding in found:
            if finding.fault or not quiet:
                state, told = ("FAIL", f"{finding.fault}; {finding.text}") if finding.fault else ("ok", finding.text)
                click.echo(f"{state:5} {finding.name:9} {told}")
    return cli.FAILED if any(finding.fault for finding in found) else cli.DONE
