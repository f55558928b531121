"""hivematrix-archive rotate-key and adopt: the key that signs the log is replaced."""

import click
from hivematrix_common import cli
from sqlalchemy.orm import Session

from hivematrix_archive.commands import me, open_archive
from hivematrix_archive.services import keys

AFTER_ROTATION = "The line on stdout is added to /log/key; hand it to everyone who keeps the log's key."
AFTER_ADOPTION = "The log goes on under the key and name on stdout; hand it to everyone who keeps the log's key."


@click.command("rotate-key")
@cli.home_option
def rotate_key(home: str | None) -> None:
    """Let a new key sign the log; both sign the present size, and all that is older stays good. Prints the new key.

    Example: hivematrix-archive rotate-key
    """
    with open_archive(home) as archive, Session(archive.engine) as session:
        click.echo(str(keys.rotate(session, archive.outside, me())))
    cli.say(AFTER_ROTATION)


@click.command()
@click.option("--reason", required=True, help="Why entries are given up; it is sealed.")
@cli.home_option
def adopt(reason: str, home: str | None) -> None:
    """Go on from a database restored to before its newest checkpoints, which stay in log/lost. Prints the new key.

    The log then has another name, and an entry that names the last lost checkpoint. Needs the owner's connection.
    Example: hivematrix-archive adopt --reason "disk lost on 3 May, restored from the night before"
    """
    with open_archive(home, as_owner=True) as archive, Session(archive.engine) as session:
        click.echo(str(keys.adopt(session, archive.outside, reason, me())))
    cli.say(AFTER_ADOPTION)
