"""hivematrix-helm alerts and timer: what fires and why, silences, rules; a timer's run with its signals."""

import subprocess

import click
import orjson
from hivematrix_common import cli

from hivematrix_helm.app import create_app
from hivematrix_helm.commands import usage_told
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain.rules import RulesError
from hivematrix_helm.domain.timers import TIMERS
from hivematrix_helm.services import alerting, delivering, silencing, timers

BY = "hivematrix-helm"


@click.group("alerts")
def group() -> None:
    """What fires and why, who has taken it on, and what is not told."""


@group.command("list")
@cli.json_option
@cli.home_option
def show(home: str | None, *, as_json: bool) -> int:
    """Alerts, those that need somebody first. Exit 1 while one fires.

    Example: hivematrix-helm alerts list
    """
    settings = cli.load_settings(HelmSettings, home)
    with create_app(settings).app_context():
        found = alerting.listed(settings)
    if as_json:
        click.echo(orjson.dumps(found))
    for row in () if as_json else found:
        told = "; ".join(filter(None, [row["why"], row["quiet"]]))
        click.echo(f"{row['id']:<5} {row['state']:12} {row['severity']:8} {row['active_at']}  {row['title']}: {told}")
    return cli.FAILED if any(row["state"] == "firing" for row in found) else cli.DONE


@group.command()
@click.argument("number", type=int)
@click.option("--note", default="", help="What you do about it.")
@cli.home_option
def acknowledge(number: int, *, note: str, home: str | None) -> int:
    """Take an alert on: it is told no more.

    Example: hivematrix-helm alerts acknowledge 7 --note "rotating on Thursday"
    """
    with create_app(cli.load_settings(HelmSettings, home)).app_context(), usage_told():
        alerting.acknowledge(number, note, BY)
    return cli.DONE


@group.command()
@click.option("--rule", default="", help="Such as disk_filling.")
@click.option("--service", default="", help="Such as ledger.")
@click.option("--ends", required=True, metavar="TIME", help="30m, 2h from now, or an ISO instant.")
@click.option("--reason", required=True, help="Why: the next one will ask.")
@cli.home_option
def silence(*, rule: str, service: str, ends: str, reason: str, home: str | None) -> int:
    """Tell nobody of some alerts for a while.

    Example: hivematrix-helm alerts silence --rule disk_filling --ends 2h --reason "the larger disk comes today"
    """
    with create_app(cli.load_settings(HelmSettings, home)).app_context(), usage_told():
        click.echo(silencing.silence(rule, service, ends, reason, BY))
    return cli.DONE


@group.command()
@cli.json_option
@cli.home_option
def check(home: str | None, *, as_json: bool) -> int:
    """The rules as instance/alerts.toml has them now; every fault of it is listed, and exit 78.

    Example: hivematrix-helm alerts check
    """
    settings = cli.load_settings(HelmSettings, home)
    try:
        found = alerting.check(settings)
    except RulesError as error:
        cli.fail("\n".join(f"{alerting.FILE}: {fault}" for fault in error.faults), cli.CONFIGURATION)
    if as_json:
        click.echo(
            orjson.dumps([{"name": rule.name, "severity": rule.severity, "limit": rule.limit} for rule in found])
        )
    for rule in () if as_json else found:
        click.echo(f"{rule.name:18} {rule.severity:8} {rule.of}: {rule.limit}")
    return cli.DONE


@group.command()
@cli.home_option
def test(home: str | None) -> int:
    """Queue a message to every channel, to see whether it arrives; a running Helm sends it.

    Example: hivematrix-helm alerts test
    """
    settings = cli.load_settings(HelmSettings, home)
    with create_app(settings).app_context():
        found = delivering.try_out(settings)
    if not found:
        cli.fail(f"{settings.conf}: [alerts]: no channel; give mail_to, webhook_url or ntfy_url", cli.CONFIGURATION)
    cli.say(f"queued for {', '.join(found)}")
    return cli.DONE


@click.group("timer")
def timer() -> None:
    """The timers' runs, as they are waited for."""


@timer.command("run", context_settings={"ignore_unknown_options": True})
@click.argument("name", type=click.Choice(list(TIMERS)))
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@cli.home_option
def run(name: str, command: tuple[str, ...], home: str | None) -> int:
    """Run a command between a timer's signals; its exit code. For units and cron lines of your own.

    Example: hivematrix-helm timer run seal hivematrix-archive snapshot
    """
    settings = cli.load_settings(HelmSettings, home)
    with create_app(settings).app_context():
        return timers.watched(name, lambda: subprocess.run(command, check=False).returncode)


@timer.command("list")
@cli.json_option
@cli.home_option
def show_timers(home: str | None, *, as_json: bool) -> int:
    """When each timer ran last and how it went.

    Example: hivematrix-helm timer list
    """
    settings = cli.load_settings(HelmSettings, home)
    with create_app(settings).app_context():
        found = timers.listed(settings)
    if as_json:
        click.echo(orjson.dumps(found))
    for row in () if as_json else found:
        click.echo(
            f"{row['timer']:8} {row['outcome']:8} {row['succeeded_at'] or 'never done':21} {row['said']}".rstrip()
        )
    return cli.DONE
