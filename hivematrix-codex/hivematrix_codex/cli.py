"""hivematrix-codex: serve, init-db, import."""

from pathlib import Path
from typing import NoReturn

import click
import orjson
from hivematrix_common import cli
from hivematrix_common.errors import Problem
from hivematrix_common.importing import described, folder

from hivematrix_codex import services
from hivematrix_codex.app import create_app
from hivematrix_codex.config import CodexSettings

group = cli.service_group(CodexSettings, create_app, "Codex: the facts a bill is made of.")


@group.command("import")
@click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--partial", is_flag=True, help="Leave bad rows out instead of refusing everything; exits 3 then.")
@cli.json_option
@cli.home_option
def import_command(directory: Path, partial: bool, as_json: bool, home: str | None) -> int:
    """Import Codex's files (CSV or JSON lines) out of DIR in one transaction; twice changes nothing.

    Example: hivematrix-codex import ./facts
    """
    settings = cli.load_settings(CodexSettings, home)
    with create_app(settings).app_context():
        try:
            done = services.import_files(folder(directory), settings.billing.timezone, partial=partial)
        except Problem as problem:
            if as_json:
                click.echo(orjson.dumps(problem.as_json()))
            raise
    for warning in done.warnings:
        cli.say(f"warning: {described(warning)}")
    for fault in done.faults:
        cli.say(f"left out: {described(fault)}")
    if as_json:
        click.echo(orjson.dumps(done.as_json()))
    else:
        for stem, (rows, changed) in done.counts.items():
            click.echo(f"{stem}: {rows} rows, {changed} new or changed")
    return cli.PARTIAL if done.faults else cli.DONE


def main(arguments: list[str] | None = None) -> NoReturn:
    cli.run(group, arguments)
