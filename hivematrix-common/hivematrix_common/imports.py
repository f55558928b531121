"""An import as a caller meets it, over HTTP and on the command line alike."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, cast

import click
import orjson
from flask import Response, request
from flask_openapi3.models.file import FileStorage
from pydantic import BaseModel, ConfigDict, Field

from hivematrix_common import cli
from hivematrix_common.config import Settings
from hivematrix_common.errors import FieldError, Problem
from hivematrix_common.importing import Source, described, folder
from hivematrix_common.schemas import FieldErrorDocument, Model
from hivematrix_common.web import json_answer

LIMIT = 32 * 1024 * 1024
FAULTS_SHOWN = 1000


@dataclass(frozen=True, slots=True)
class Imported:
    """What an import did: rows read and rows new or different, per file; what was left out, and what looks odd."""

    counts: dict[str, tuple[int, int]]
    faults: list[FieldError]
    warnings: list[FieldError]

    def as_json(self) -> dict[str, Any]:
        return {
            "imported": {stem: {"rows": rows, "changed": changed} for stem, (rows, changed) in self.counts.items()},
            "faults": [fault.as_json() for fault in self.faults],
            "warnings": [warning.as_json() for warning in self.warnings],
        }


Importer = Callable[[Sequence[Source], bool], Imported]
"""Sources and `partial` to what was done; Problem `invalid_rows` when rows are bad."""


class ImportQuery(Model):
    partial: bool = Field(default=False, description="leave bad rows out instead of refusing everything")


class ImportForm(BaseModel):
    """Import files, in parts of any name; each part's file name says what it is (`companies.csv`)."""

    model_config = ConfigDict(extra="allow", arbitrary_types_allowed=True)
    files: list[FileStorage] = Field(default_factory=list)


class ImportedFile(Model):
    rows: int
    changed: int


class ImportAnswer(Model):
    imported: dict[str, ImportedFile]
    faults: list[FieldErrorDocument]
    warnings: list[FieldErrorDocument]


def import_uploaded(importer: Importer, *, partial: bool) -> Response:
    """Import the request's files; a refusal shows at most 1,000 faults."""
    sources = [_source(file) for _, file in request.files.items(multi=True)]
    if not sources:
        raise Problem("invalid", "Send import files such as plans.csv as parts of a multipart/form-data body.")
    try:
        return json_answer(importer(sources, partial).as_json())
    except Problem as problem:
        problem.fields = problem.fields[:FAULTS_SHOWN]
        raise


def import_command(
    kind: type[Settings], run: Callable[[Any, Sequence[Source], bool], Imported], text: str
) -> click.Command:
    """A service's `import DIR`; `run` gets the settings, the folder's files and `partial`."""

    @click.command("import", help=f"{text}\n\nExample: hivematrix-{kind.NAME} import ./data")
    @click.argument("directory", metavar="DIR", type=click.Path(exists=True, file_okay=False, path_type=Path))
    @click.option("--partial", is_flag=True, help="Leave bad rows out instead of refusing everything; exits 3 then.")
    @cli.json_option
    @cli.home_option
    def command(directory: Path, partial: bool, as_json: bool, home: str | None) -> int:
        settings = cli.load_settings(kind, home)
        try:
            done = run(settings, folder(directory), partial)
        except Problem as problem:
            if as_json:
                click.echo(orjson.dumps(problem.as_json()))
            raise
        _tell(done, as_json=as_json)
        return cli.PARTIAL if done.faults else cli.DONE

    return command


def _tell(done: Imported, *, as_json: bool) -> None:
    for warning in done.warnings:
        cli.say(f"warning: {described(warning)}")
    for fault in done.faults:
        cli.say(f"left out: {described(fault)}")
    if as_json:
        click.echo(orjson.dumps(done.as_json()))
        return
    for stem, (rows, changed) in done.counts.items():
        click.echo(f"{stem}: {rows} rows, {changed} new or changed")


def _source(file: Any) -> Source:
    return Source(file.filename or "", lambda: cast(BinaryIO, file.stream))
