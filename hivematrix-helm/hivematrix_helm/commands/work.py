"""hivematrix-helm work: planned work, as the status page tells it."""

import click
import orjson
from hivematrix_common import cli

from hivematrix_helm.app import create_app
from hivematrix_helm.commands import usage_told
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.services import planned


@click.group("work")
def group() -> None:
    """Planned work: everybody reads of it on the status page, and its services' alerts are not sent meanwhile."""


@group.command("plan")
@click.argument("title")
@click.option("--begins", default="", metavar="TIME", help="2h from now, or an ISO instant; now when left out.")
@click.option("--ends", required=True, metavar="TIME", help="30m, 2h from now, or an ISO instant.")
@click.option("--service", "services", multiple=True, metavar="NAME", help="May be given again; all when left out.")
@click.option("--text", "told", default="", help="What people may notice.")
@cli.home_option
def plan(title: str, *, begins: str, ends: str, services: tuple[str, ...], told: str, home: str | None) -> int:
    """Plan work, or begin it now.

    Example: hivematrix-helm work plan "A larger disk" --ends 30m --service ledger
    """
    with create_app(cli.load_settings(HelmSettings, home)).app_context(), usage_told():
        number = planned.plan(title, told, begins=begins, ends=ends, services=services, by="hivematrix-helm")
    click.echo(number)
    return cli.DONE


@group.command("list")
@cli.json_option
@cli.home_option
def show(home: str | None, *, as_json: bool) -> int:
    """What is planned, goes on, and was in the last 90 days.

    Example: hivematrix-helm work list
    """
    with create_app(cli.load_settings(HelmSettings, home)).app_context():
        found = planned.works()
    if as_json:
        click.echo(orjson.dumps(found))
    for one in () if as_json else found:
        span = f"{one['begins_at']} to {one['ends_at']}"
        click.echo(f"{one['id']:<5} {one['state']:10} {span}  {', '.join(one['services'])}: {one['title']}")
    return cli.DONE


@group.command("end")
@click.argument("number", type=int)
@cli.home_option
def end(number: int, home: str | None) -> int:
    """Take planned work back, or end what goes on.

    Example: hivematrix-helm work end 3
    """
    with create_app(cli.load_settings(HelmSettings, home)).app_context(), usage_told():
        planned.withdraw(number)
    cli.say("taken back")
    return cli.DONE
