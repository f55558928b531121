"""hivematrix-archive export: an auditor's pack."""

from pathlib import Path

import click
from hivematrix_common import cli
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.period import Period

from hivematrix_archive.commands import me, open_archive
from hivematrix_archive.services import export as packs
from hivematrix_archive.services.signed_sizes import BadError


@click.command()
@click.option("--period", required=True, metavar="YYYY-MM", help="The month whose bills are wanted.")
@click.option("--out", required=True, metavar="DIR", type=click.Path(file_okay=False, path_type=Path), help="Made new.")
@cli.home_option
def export(period: str, out: Path, home: str | None) -> int:
    """Write a month's bills with their proofs, the log's checkpoints and key, a verifier, and a page that says how.

    Whoever has the folder and the log's key can check it without us. It holds customers' data.
    Example: hivematrix-archive export --period 2025-10 --out audit-2025-10
    """
    try:
        month = Period.parse(period)
    except DomainError as error:
        raise click.UsageError(f"--period: {error.message}") from None
    with open_archive(home) as archive:
        try:
            manifest = packs.export(archive.engine, archive.outside, month, out.absolute(), me())
        except BadError as bad:
            cli.fail(f"bad: {bad}; run: hivematrix-archive verify. Nothing was written.")
    click.echo(f"{out}: {len(manifest.bills)} bills of {month}, in the log of {manifest.size} entries")
    return cli.DONE
