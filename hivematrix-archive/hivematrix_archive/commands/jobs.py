"""hivematrix-archive jobs: the sealing jobs and their end before the time."""

import json

import click
from hivematrix_common import audit, cli
from sqlalchemy.orm import Session

from hivematrix_archive.commands import me, open_archive
from hivematrix_archive.services import history

LISTED = 20


@click.group("jobs")
def group() -> None:
    """Sealing jobs: what they did, and ending one."""


@group.command("list")
@click.option("-n", "--lines", type=click.IntRange(1, 100), default=LISTED, help=f"How many (default {LISTED}).")
@cli.json_option
@cli.home_option
def list_jobs(home: str | None, lines: int, as_json: bool) -> int:
    """The last jobs, newest first.

    Example: hivematrix-archive jobs list
    """
    with open_archive(home) as archive, Session(archive.engine) as session:
        found = history.page(session, lines, 0, None)["jobs"]
    for job in found:
        period = f"{job['target_year']}-{job['target_month']:02d}"
        counts = f"{job['completed_companies']} of {job['total_companies']}, {job['failed_companies']} failed"
        line = f"{job['id']} {period} {job['job_type']:<9} {job['status']:<9} {job['started_at']} {counts}"
        click.echo(json.dumps(job) if as_json else line)
    return cli.DONE


@group.command()
@click.argument("job_id", metavar="JOB")
@cli.home_option
def cancel(home: str | None, job_id: str) -> int:
    """End a job: at once when it waits, else after the pages that are on their way. What it sealed stays sealed.

    Example: hivematrix-archive jobs cancel 6f1e0c3a-8d1b-4b53-9a64-0f5c1d2e3a4b
    """
    with open_archive(home) as archive, Session(archive.engine) as session:
        act = audit.Entry(service="archive", action="jobs cancel", actor=me(), actor_kind="command", target=job_id)
        audit.record(session.connection(), act)
        ended = history.cancel(session, archive.engine, job_id, me())
    cli.say(ended["error"] or "it ends after the pages that are on their way")
    return cli.DONE
