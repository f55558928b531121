"""What every command shares: exit codes, options, how faults are told."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NoReturn, TypeVar

import click
from sqlalchemy.exc import OperationalError

from hivematrix_common import logs
from hivematrix_common.conffile import read
from hivematrix_common.config import ConfigError, Settings, conf_path, home_path, private_file_fault
from hivematrix_common.errors import Problem, first_line, is_full_disk
from hivematrix_common.importing import described
from hivematrix_common.version import VERSION

DONE, FAILED, USAGE, PARTIAL, LOCKED, CONFIGURATION = 0, 1, 2, 3, 75, 78
SettingsType = TypeVar("SettingsType", bound=Settings)


def say(text: str) -> None:
    """Words for a person: stderr, so that stdout holds data only."""
    click.echo(text, err=True)


def fail(text: str, code: int = FAILED) -> NoReturn:
    say(text)
    raise SystemExit(code)


def chosen_home(home: str | None) -> Path:
    """`--home`, else HIVEMATRIX_HOME and its defaults; set for this process and its children."""
    path = Path(home).resolve() if home else home_path()
    os.environ["HIVEMATRIX_HOME"] = str(path)
    return path


def home_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--home", metavar="DIR", help="Instance folder (default: HIVEMATRIX_HOME).")(command)


def json_option(command: Callable[..., Any]) -> Callable[..., Any]:
    return click.option("--json", "as_json", is_flag=True, help="Print JSON for programs.")(command)


def load_settings(kind: type[SettingsType], home: str | None = None) -> SettingsType:
    """A service's settings, or every fault on stderr and exit 78."""
    try:
        return kind.load(chosen_home(home))
    except ConfigError as error:
        fail("\n".join(error.faults), CONFIGURATION)


@contextmanager
def bar(what: str, as_json: bool) -> Iterator[Callable[[int, int], None]]:
    """A progress bar on a terminal; elsewhere nothing."""
    if as_json or not sys.stderr.isatty():
        yield lambda _done, _total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as shown:
        task = shown.add_task(what, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)


def run(group: click.Group, arguments: list[str] | None = None) -> NoReturn:
    """Run a command group and exit by the table: 0 done, 1 failed, 2 usage, 3 part, 75 locked, 78 configuration."""
    try:
        code = group.main(arguments, standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(FAILED)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except Problem as problem:
        fail("\n".join([problem.detail, *(f"  {described(fault)}" for fault in problem.fields)]))
    except OperationalError as error:
        fail(f"database: {first_line(error.orig)}")
    except ConfigError as error:
        fail("\n".join(error.faults), CONFIGURATION)
    except OSError as error:
        if is_full_disk(error):
            fail(f"{error.strerror}: no file was written in part; make room (df -h) and run the same line again")
        if not _of_home(error):
            raise
        fail(f"{error.filename}: {error.strerror}; HIVEMATRIX_HOME has to be a folder you may write to", CONFIGURATION)
    sys.exit(code if isinstance(code, int) else DONE)


def _of_home(error: OSError) -> bool:
    """Whether it is about the home: the folder, one above it, or a file in it."""
    home, path = home_path(), Path(str(error.filename))
    return path.is_absolute() and (home.is_relative_to(path) or path.is_relative_to(home))


def service_group(kind: type[Settings], create_app: Callable[[Any], Any], text: str) -> click.Group:
    """A service's command group with what all services have: `serve` and `init-db`."""

    @click.group(help=text, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
    @click.version_option(VERSION)
    def group() -> None: ...

    @group.command(help=f"Serve until SIGTERM. Example: hivematrix-{kind.NAME} serve")
    @home_option
    def serve(home: str | None) -> int:
        from hivematrix_common import server  # Waitress is not needed by any other command

        settings = load_settings(kind, home)
        logs.init_logging(settings.service_name, settings.service, settings.home)
        try:
            return server.serve(create_app(settings))
        except OSError as error:
            fail(f"{settings.conf}: [service] port {settings.port}: {error.strerror or error}", CONFIGURATION)

    from hivematrix_common import init_db  # it shares what stands in this module

    group.add_command(init_db.command_of(kind.NAME))
    return group


def owner_url(home: Path, service: str) -> str:
    """The owner's connection out of `instance/<service>-owner.conf` ([database] url); exit 78 says what is missing."""
    path = conf_path(home, f"{service}-owner")
    if not path.exists():
        fail(f"{path}: it is missing; hivematrix-{service} init-db makes it, with the database", CONFIGURATION)
    if fault := private_file_fault(path):
        fail(fault, CONFIGURATION)
    url = read(path).get("database", "url", fallback="")
    return url or fail(f"{path}: [database] url: missing", CONFIGURATION)
