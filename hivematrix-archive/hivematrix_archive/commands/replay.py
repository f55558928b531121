"""hivematrix-archive replay: sealed bills are computed again by the engine that made them."""

import json
from collections import Counter

import click
from hivematrix_common import cli
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.period import Period

from hivematrix_archive.commands import open_archive
from hivematrix_archive.services import replay as use_case

TOLD = 20


@click.command()
@click.argument("invoices", metavar="[INVOICE]...", nargs=-1)
@click.option("--period", metavar="YYYY-MM", help="Every bill and correction of a month.")
@click.option("--all", "everything", is_flag=True, help="Everything that is sealed.")
@cli.json_option
@cli.home_option
def replay(home: str | None, *, invoices: tuple[str, ...], period: str | None, everything: bool, as_json: bool) -> int:
    """Have Ledger compute sealed bills again, each by its engine's version, and compare every byte.

    Exit 1 when one differs. Example: hivematrix-archive replay 620547-202510
    """
    if bool(invoices) + bool(period) + everything != 1:
        raise click.UsageError("name invoices, or --period, or --all")
    month = _month(period)
    counts: Counter[str] = Counter()
    with open_archive(home) as archive, cli.bar("replay", as_json) as advance:
        ledger = use_case.ledger(archive.settings)
        for one in use_case.replay(archive.engine, ledger, advance, invoices, month):
            counts[one.outcome] += 1
            if as_json:
                click.echo(json.dumps(one.as_json()))
            elif one.outcome == "different" and counts["different"] <= TOLD:
                cli.say(f"different: {one.invoice_number} (engine {one.engine}): {one.why}")
    if not as_json:
        click.echo(", ".join(f"{counts[outcome]} {outcome}" for outcome in ("same", "different", "erased")))
    return cli.FAILED if counts["different"] else cli.DONE


def _month(period: str | None) -> Period | None:
    try:
        return Period.parse(period) if period else None
    except DomainError as error:
        raise click.UsageError(str(error)) from None
