"""hivematrix-codex sync, link: bring the facts from the PSA and the RMM, and say whose a company of theirs is."""

import getpass
import json
from collections.abc import Iterator
from contextlib import contextmanager

import click
from hivematrix_common import cli
from hivematrix_common.errors import Problem

from hivematrix_codex.app import create_app
from hivematrix_codex.config import CodexSettings
from hivematrix_codex.services import linking, syncing
from hivematrix_codex.services.providing import configured
from hivematrix_codex.services.syncing import LockedError, Outcome, Progress

ACTS = {"add": "+", "change": "~", "return": "^", "retire": "-", "conflict": "!"}
CODES = {"completed": cli.DONE, "partial": cli.PARTIAL, "stopped": cli.FAILED, "failed": cli.FAILED}


@click.command("sync")
@click.argument("provider", required=False)
@click.option("--full", is_flag=True, help="Everything, not only what changed since the last sync.")
@click.option("--dry-run", is_flag=True, help="Print the plan; change nothing.")
@click.option(
    "--accept-retirements",
    metavar="N",
    type=click.IntRange(0),
    default=0,
    help="That up to N records are gone is true: a sync that found so many had stopped.",
)
@cli.json_option
@cli.home_option
def sync(
    provider: str | None, *, full: bool, dry_run: bool, accept_retirements: int, as_json: bool, home: str | None
) -> int:
    """Bring companies, people, machines, tickets and hours from PROVIDER, or from all that are configured.

    Exits 3 when a part could not be fetched, 1 when nothing was changed, 75 while another sync runs.

    Example: hivematrix-codex sync freshservice --full --dry-run
    """
    settings = cli.load_settings(CodexSettings, home)
    with create_app(settings).app_context():
        names = _names(settings, provider)
        options = {"dry_run": dry_run, "accepted": accept_retirements, "asked_by": getpass.getuser()}
        try:
            with _bar(as_json) as progress:
                outcomes = syncing.sync(
                    settings, names, "full" if full else "incremental", progress=progress, **options
                )
        except LockedError as error:
            cli.fail(str(error), cli.LOCKED)
    for outcome in outcomes:
        _tell(outcome, as_json=as_json, plan=dry_run)
    return max((CODES[outcome.status] for outcome in outcomes), key=[0, 3, 1].index)


@click.command("link")
@click.argument("provider")
@click.argument("external_id", metavar="ID")
@click.argument("account_number", metavar="ACCOUNT")
@cli.home_option
def link(provider: str, external_id: str, account_number: str, home: str | None) -> int:
    """Say that company, client or site ID of PROVIDER is ACCOUNT here; the next sync takes what belongs to it.

    Example: hivematrix-codex link datto 9f6c2d3a-site-uid 620547
    """
    settings = cli.load_settings(CodexSettings, home)
    with create_app(settings).app_context():
        linking.link(settings, provider, external_id, account_number, getpass.getuser())
    click.echo(f"{provider} {external_id} is {account_number}")
    return cli.DONE


def _names(settings: CodexSettings, provider: str | None) -> list[str]:
    if provider:
        syncing.require_provider(settings, provider)
        return [provider]
    names = list(configured(settings))
    if not names:
        raise Problem("not_found", f"No provider is configured in {settings.conf}: set, for example, [freshservice].")
    return names


@contextmanager
def _bar(as_json: bool) -> Iterator[Progress]:
    with cli.bar("fetch", as_json) as advance:
        yield lambda counts: advance(sum(counts.values()), 0)


def _tell(outcome: Outcome, *, as_json: bool, plan: bool) -> None:
    report = outcome.report
    if as_json:
        listed = [dict(zip(("kind", "act", "uid", "account", "what"), one, strict=True)) for one in report.changes]
        click.echo(json.dumps(outcome.as_json() | ({"plan": listed} if plan else {})))
    for kind, act, uid, account, what in report.changes if plan and not as_json else ():
        click.echo(f"{ACTS[act]} {kind} {uid} {account if account != uid else ''} {_described(act, what)}".rstrip())
    for kind, act, uid, _account, what in report.changes if not plan else ():
        if act == "conflict":
            cli.say(f"conflict: {kind} {uid}: {what['message']}")
    for error in report.errors:
        cli.say(f"failed: {error}")
    if report.stopped:
        cli.say(f"stopped, nothing was changed: {report.stopped}")
    if not as_json:
        click.echo(f"{outcome.provider}: {outcome.status}{' (dry run)' if plan else ''}")
        for kind, counts in report.as_counts().items():
            click.echo(f"  {kind}: {', '.join(f'{number} {act}' for act, number in counts.items())}")


def _described(act: str, what: dict[str, object]) -> str:
    if act == "conflict":
        return str(what["message"])
    if act == "add":
        return ", ".join(f"{name} {value}" for name, value in what.items() if value not in {None, ""})
    pairs = ((name, value) for name, value in what.items() if isinstance(value, tuple | list))
    return ", ".join(f"{name} {was} → {now}" for name, (was, now) in pairs)
