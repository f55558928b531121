"""hivematrix-archive erase: personal data is taken out of a sealed bill."""

import json
import sys

import click
from hivematrix_common import cli
from sqlalchemy.orm import Session

from hivematrix_archive.commands import me, open_archive
from hivematrix_archive.services import erasure


@click.command()
@click.argument("invoice")
@click.option("--reason", required=True, help="Which law or whose request; it is sealed, so name nobody in it.")
@click.option("--yes", is_flag=True, help="Do not ask on a terminal; what is erased cannot be brought back.")
@cli.json_option
@cli.home_option
def erase(invoice: str, reason: str, yes: bool, as_json: bool, home: str | None) -> int:
    """Empty a sealed bill's document, CSV and names for ever; digests, amounts and the proof stay.

    An erasure entry in the log says so, and verify accepts the empty bill. Ledger forgets what it showed of the bill
    before it was sealed; exit 3 when it could not be asked: run the command again. Needs the owner's connection.
    Example: hivematrix-archive erase 620547-202510 --reason "erasure request 2026-17" --yes
    """
    if not reason.strip():
        raise click.UsageError("--reason: expected words")
    if not yes and sys.stdin.isatty():
        click.confirm(f"Erase {invoice} for ever?", abort=True, err=True)
    with open_archive(home, as_owner=True) as archive, Session(archive.engine) as session:
        done = erasure.erase(session, archive.outside, invoice, reason.strip(), me())
        fault = erasure.forget(archive.settings, done)
    if as_json:
        found = {"invoice_number": done.invoice, "digest": done.digest, "entry": done.entry}
        click.echo(json.dumps(found | {"related": list(done.related), "ledger_forgot": not fault}))
    elif done.entry is None:
        click.echo(f"{invoice} was erased before")
    else:
        click.echo(f"{invoice} is erased; entry {done.entry} of the log says so")
    if done.related:
        cli.say(f"the same names may stand in {', '.join(done.related)}; erase them too")
    if fault:
        cli.say(f"Ledger may still hold what it showed of {invoice} ({fault}); run this again when it answers")
    return cli.PARTIAL if fault else cli.DONE
