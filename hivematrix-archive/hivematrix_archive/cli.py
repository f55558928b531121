"""hivematrix-archive: serve, init-db, init, rotate-key, adopt, snapshot, verify, export, workflow."""

import json
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

import click
from hivematrix_common import cli, clock
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.period import Period
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from hivematrix_archive.commands import erasing, export, keys, me, open_archive, replay
from hivematrix_archive.commands import jobs as job_commands
from hivematrix_archive.config import ArchiveSettings
from hivematrix_archive.domain.bill import ACCOUNT
from hivematrix_archive.domain.jobs import Happened, Job, Tally, exit_code_of
from hivematrix_archive.services import growth, jobs, log, preview, verify, workflow
from hivematrix_archive.services.jobs import LockedError, Report, Runner
from hivematrix_archive.services.opened import Opened
from hivematrix_archive.services.signed_sizes import BadError

TRIES = 6
PAUSE_SECONDS = 2.0
ERRORS_TOLD = 20


def serving_app(settings: ArchiveSettings) -> Any:
    # Imported late: the timer's command starts hourly and needs none of it.
    from hivematrix_archive.app import create_app
    from hivematrix_archive.services import background, indexing

    app = create_app(settings)
    background.start(app)
    indexing.start(app)
    return app


group = cli.service_group(ArchiveSettings, serving_app, "Archive: sealed bills, and the log that proves them.")
group.add_command(keys.rotate_key)
group.add_command(keys.adopt)
group.add_command(export.export)
group.add_command(erasing.erase)
group.add_command(job_commands.group)
group.add_command(replay.replay)


@group.command()
@click.option("--origin", metavar="HOST/PATH", help="The log's address without scheme; fixed once a bill is sealed.")
@cli.home_option
def init(origin: str | None, home: str | None) -> None:
    """Make the signing key and sign the empty log; safe to repeat. Prints the log's public key.

    Example: hivematrix-archive init --origin archive.example.com/log
    """
    with open_archive(home) as archive, Session(archive.engine) as session:
        click.echo(str(log.begin(session, archive.outside, origin)))


@group.command("verify")
@click.option("--checkpoints", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="A kept copy to use.")
@click.option("--bodies-only", is_flag=True, help="Bodies, roots and signatures; no columns, line items and CSVs.")
@cli.json_option
@cli.home_option
def verify_command(checkpoints: Path | None, bodies_only: bool, as_json: bool, home: str | None) -> int:
    """Hash everything stored again and compare it with the log, the tables and the checkpoints kept outside.

    Exits 1 with the first bad entry and why. Example: hivematrix-archive verify
    """
    with open_archive(home) as archive, cli.bar("verify", as_json) as advance:
        try:
            good = verify.verify(archive.engine, archive.outside, advance, checkpoints, bodies_only=bodies_only)
        except BadError as bad:
            growth.note_verified(archive.engine, 0, (bad.index, bad.why))
            if as_json:
                _print({"good": False, "index": bad.index, "why": bad.why})
            cli.fail(f"bad: {bad}")
        if not bodies_only:
            growth.note_verified(archive.engine, good.entries)
    if as_json:
        _print(good.as_json())
    else:
        erased = f", erased: {good.erased}" if good.erased else ""
        click.echo(
            f"good: {good.entries} entries, {good.checkpoints} checkpoints, {good.kept} of them kept outside{erased}"
        )
    return cli.DONE


@group.command()
@click.option("--year", type=int, help="With --month: the period; without both, what is due by the schedule.")
@click.option("--month", type=int)
@click.option("--all", "everyone", is_flag=True, help="Every company, whatever the schedule's row says.")
@click.option("--accounts", metavar="A,B", help="Only these account numbers.")
@click.option("--dry-run", is_flag=True, help="Say what would happen to each company; write nothing.")
@cli.json_option
@cli.home_option
def snapshot(home: str | None, as_json: bool, dry_run: bool, **asked: Any) -> int:
    """Seal what is due, or a given month. Safe to repeat: what is sealed stays as it is.

    Example: scheduled_snapshots.py --year 2025 --month 10 --all
    """
    with open_archive(home) as archive, cli.bar("seal", as_json) as advance:
        period = _period_asked(archive.settings.billing.timezone, asked)
        runner = _runner(archive, advance, as_json=as_json)
        if dry_run:
            wanted = [(period, _accounts_asked(archive, asked))] if period else jobs.preview_due(runner)
            return _tell_forecast(runner, wanted, as_json=as_json)
        if period is None:
            return _tell_reports(_persistently(lambda: jobs.run_due(runner)), as_json=as_json)
        accounts = _accounts_asked(archive, asked)
        return _tell_reports(_persistently(lambda: [jobs.run_asked(runner, period, accounts, me())]), as_json=as_json)


def _period_asked(zone: ZoneInfo, asked: dict[str, Any]) -> Period | None:
    """The month that was asked for; the last one that ended when only companies were named; else None."""
    year, month = asked["year"], asked["month"]
    if (year is None) != (month is None):
        raise click.UsageError("--year and --month go together")
    if year is None and not asked["everyone"] and asked["accounts"] is None:
        return None
    now = clock.now()
    try:
        period = Period.of(now.astimezone(zone).date()).plus(-1) if year is None else Period(year, month)
    except DomainError as error:
        raise click.UsageError(str(error)) from None
    if not period.has_ended(now, zone):
        raise click.UsageError(f"{period} has not ended in {zone.key}")
    return period


def _accounts_asked(archive: Opened, asked: dict[str, Any]) -> tuple[str, ...] | None:
    """The companies that were asked for, else those of the schedule's row; None means all."""
    if asked["everyone"] and asked["accounts"] is not None:
        raise click.UsageError("give --all or --accounts, not both")
    if asked["everyone"]:
        return None
    if asked["accounts"] is None:
        return jobs.read_accounts(archive.engine)
    accounts = tuple(dict.fromkeys(part.strip() for part in asked["accounts"].split(",") if part.strip()))
    if not accounts or not all(map(ACCOUNT.fullmatch, accounts)):
        raise click.UsageError(f"--accounts: expected account numbers such as 620547,183729, got {asked['accounts']!r}")
    return accounts


@group.command("workflow")
@click.option("--account", required=True, help="The company's account number.")
@click.option("--year", type=int, required=True)
@click.option("--month", type=int, required=True)
@click.option("--skip-health", is_flag=True, help="Do not ask the services how they are.")
@click.option("--skip-create", is_flag=True, help="Only look at a bill that is sealed already.")
@cli.home_option
def workflow_command(home: str | None, skip_health: bool, skip_create: bool, **asked: Any) -> int:
    """Accept one bill through Ledger, then read it back, check its proof and the rest; SERVICE_TOKEN is honoured.

    Example: test_workflow.py --account 620547 --year 2025 --month 10
    """
    settings = cli.load_settings(ArchiveSettings, home)
    try:
        period = Period(asked["year"], asked["month"])
    except DomainError as error:
        raise click.UsageError(str(error)) from None
    failed = 0
    with workflow.prepared(settings, asked["account"], period) as prepared:
        for step in prepared.steps(health=not skip_health, create=not skip_create):
            click.echo(f"{'ok' if step.good else 'FAILED':<8}{step.name:<16}{step.told}")
            failed += not step.good
    return cli.FAILED if failed else cli.DONE


def _runner(archive: Opened, advance: Callable[[int, int], None], *, as_json: bool) -> Runner:
    def progress(job: Job, tally: Tally) -> None:
        advance(tally.completed, tally.total)
        if as_json or not sys.stderr.isatty():
            _print(_progress(job, tally))

    return jobs.runner(archive.settings, archive.engine, progress)


def _progress(job: Job, tally: Tally) -> dict[str, Any]:
    counts = {str(happened): tally.count(happened) for happened in Happened}
    return {"job": job.id, "period": str(job.period), "done": tally.completed, "total": tally.total, **counts}


def _persistently(run: Callable[[], list[Report]]) -> list[Report]:
    """Run, and go on after a database that was away for a moment; exit 75 when another run holds the lock."""
    for left in reversed(range(TRIES)):
        try:
            return run()
        except LockedError as error:
            cli.fail(str(error), cli.LOCKED)
        except DBAPIError:
            if not left:
                raise
            time.sleep(PAUSE_SECONDS)
    raise AssertionError("unreachable")


def _tell_reports(reports: list[Report], *, as_json: bool) -> int:
    if not reports:
        cli.say("nothing due")
    for report in reports:
        told = {"status": report.job.status, **_progress(report.job, report.tally)}
        if as_json:
            _print(told | {"error": report.error, "errors": report.tally.errors})
        else:
            counts = ", ".join(f"{report.tally.count(happened)} {happened}" for happened in Happened)
            click.echo(f"{report.job.period}: {counts} (job {report.job.id} {report.job.status})")
        for error in [report.error] if report.error else report.tally.errors[:ERRORS_TOLD]:
            cli.say(f"failed: {error}")
    return exit_code_of(report.code for report in reports)


def _tell_forecast(runner: Runner, wanted: list[tuple[Period, tuple[str, ...] | None]], *, as_json: bool) -> int:
    totals: dict[str, Decimal] = {}
    if not wanted:
        cli.say("nothing due")
    for period, accounts in wanted:
        for one in preview.forecast(runner, period, accounts):
            if one.would == "seal":
                totals[str(one.currency)] = totals.get(str(one.currency), Decimal(0)) + Decimal(str(one.total))
            if as_json:
                _print(one.as_json())
            else:
                amount = f"{one.total} {one.currency}" if one.total else one.reason or ""
                click.echo(f"{period} {one.account_number:<12} would {one.would:<8} {amount}")
    shown = {currency: format(total, "f") for currency, total in sorted(totals.items())}
    if as_json:
        _print({"would_seal": shown})
    elif wanted:
        click.echo("would seal in all: " + (", ".join(f"{total} {name}" for name, total in shown.items()) or "nothing"))
    return cli.DONE


def _print(document: dict[str, Any]) -> None:
    click.echo(json.dumps(document))


def main(arguments: list[str] | None = None) -> NoReturn:
    cli.run(group, arguments)
