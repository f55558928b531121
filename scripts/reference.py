"""Writes docs/reference from the code: configuration, access, commands, errors. `--check` says which pages are stale.

A page is made from what runs, so it cannot promise what is not there; the tests fail while one is stale.
"""

import dataclasses
import importlib
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, get_args, get_type_hints
from zoneinfo import ZoneInfo

import access
import click
from hivematrix_common.config import DOTENV_SCOPES, PORTS, SERVICES, Settings, section_types
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.roles import SCOPES
from hivematrix_common.errors import CODES

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "reference"
SOURCES = """
`instance/<service>.conf` in HIVEMATRIX_HOME, mode 0600, read by configparser; `%` is literal. The environment
(`HIVEMATRIX_<SERVICE>_<SECTION>_<KEY>`) wins over systemd's credentials (`<service>.<section>.<key>`, secrets alone),
these win over the service folder's `.flaskenv`, which wins over the file.
Unknown keys are errors. A secret may be given as `<key>_file`, the path of a file with mode 0600.

"""
ERRORS = """# Errors

Every refusal is an RFC 9457 problem with one of these codes, a `trace_id`, and the faults of the input in `errors`
(`field`, `message`, and for files `file` and `line`).

| code | status | title |
|---|---|---|
"""
IMPORTS = """# Import files

UTF-8 CSV with a header line, or JSON lines (`.jsonl`) with the same names. An empty cell means not set; columns not
needed may be absent. How to use them: [import your data](../how-to/import-data.md).

"""
IMPORTERS = ("codex", "ledger")
HEAD = "<!-- Made from the code by scripts/reference.py; edit the code instead. -->\n\n"


def settings_class(service: str) -> type[Settings]:
    module = importlib.import_module(f"hivematrix_{service}.config")
    found = [kind for kind in vars(module).values() if isinstance(kind, type) and issubclass(kind, Settings)]
    return next(kind for kind in found if service == kind.NAME)


def app_of(service: str) -> Any:
    """The service's app; making one touches neither files nor the network."""
    kind = settings_class(service)
    settings = kind(home=Path("/nonexistent"))
    object.__setattr__(settings.database, "url", "postgresql://nobody@localhost/none")
    return importlib.import_module(f"hivematrix_{service}.app").create_app(settings)


def configuration() -> str:
    """Every section and key of every service."""
    text = f"{HEAD}# Configuration\n"
    text += SOURCES
    shared = section_types(Settings)
    for name, kind in shared.items():
        text += section_table(f"[{name}] of every service", kind)
    for service in SERVICES:
        for name, kind in section_types(settings_class(service)).items():
            if name not in shared:
                text += section_table(f"[{name}] of {service}", kind)
    text += "## [caller:<id>]\n\nWho may call: `caller`, `digest` (of the token), `scopes`, `created`, `expires`. "
    text += "Written by `hivematrix-helm tokens`.\n\n## .flaskenv\n\n"
    text += "`SERVICE_PORT`, `SERVICE_NAME`, `CODEX_URL`, `LEDGER_URL`, `ARCHIVE_URL`, `HELM_URL`; `FLASK_APP` and\n"
    text += (
        "`FLASK_ENV` are taken and unused. Tokens, 32 characters or more:\n\n| key | service | may |\n|---|---|---|\n"
    )
    for name, services in DOTENV_SCOPES.items():
        text += "".join(f"| `{name}` | {service} | {', '.join(scopes)} |\n" for service, scopes in services.items())
    return text


def section_table(title: str, kind: type[Any]) -> str:
    hints = get_type_hints(kind)
    text = f"## {title}\n\n| key | type | default | what it is |\n|---|---|---|---|\n"
    for member in dataclasses.fields(kind):
        secret = " (secret)" if member.metadata["secret"] else ""
        default = "required" if member.default is dataclasses.MISSING else f"`{shown(member.default)}`"
        hint = hints[member.name]
        type_name = " or ".join(get_args(hint)) or hint.__name__
        text += f"| `{member.name}` | {type_name}{secret} | {default} | {member.metadata['text']} |\n"
    return text + "\n"


def shown(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return str(value) or " "


def access_table() -> str:
    """Every route of every service, and what each caller gets there."""
    text = HEAD + access.HEAD + "".join(access.section(name, PORTS[name], app_of(name)) for name in SERVICES)
    return text + "## Scopes\n\n" + "\n".join(f"- `{scope}`" for scope in SCOPES) + "\n"


def commands() -> str:
    """The help page of every command."""
    text = f"{HEAD}# Commands\n\nExit codes of all: 0 done or nothing to do, 1 failed, 2 usage, 3 done in part, "
    text += "75 another run holds the lock, 78 configuration.\n\n"
    for service in SERVICES:
        group = importlib.import_module(f"hivematrix_{service}.cli").group
        for name, command in command_tree(f"hivematrix-{service}", group):
            context = click.Context(command, info_name=name, terminal_width=100, **group.context_settings)
            text += f"## {name}\n\n```\n{command.get_help(context)}\n```\n\n"
    return text


def command_tree(name: str, command: click.Command) -> Iterator[tuple[str, click.Command]]:
    yield name, command
    if isinstance(command, click.Group):
        for child in sorted(command.commands):
            yield from command_tree(f"{name} {child}", command.commands[child])


def errors() -> str:
    text = HEAD + ERRORS
    return text + "".join(f"| `{code}` | {status} | {title} |\n" for code, (status, title) in CODES.items())


def import_files() -> str:
    """Every file and column; what a cell must be is what its parser answers to a cell that is not."""
    text = HEAD + IMPORTS
    for service in IMPORTERS:
        module = importlib.import_module(f"hivematrix_{service}.import_tables")
        for table in module.tables(ZoneInfo("UTC")):
            text += f"## {table.stem}.csv ({service})\n\n"
            text += f"One row a {', '.join(f'`{name}`' for name in table.key)}. " if table.key else ""
            text += f"States the rows of each `{table.subject}` it names whole." if table.subject else ""
            text += "\n\n| column | needed | when empty | what it is |\n|---|---|---|---|\n"
            for column in table.columns:
                empty = "" if column.default in (None, {}) else f"`{cell_text(column.default)}`"
                needed = "yes" if column.required else ""
                text += f"| `{column.name}` | {needed} | {empty} | {expectation(column.parse)} |\n"
            text += "\n"
    return text


def cell_text(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def expectation(parse: Callable[[str], Any]) -> str:
    try:
        parse("?")
    except DomainError as error:
        return error.message.partition(", got")[0].removeprefix("expected ").replace("|", "\\|")
    return "text"


PAGES: dict[str, Callable[[], str]] = {
    "configuration.md": configuration,
    "access.md": access_table,
    "commands.md": commands,
    "errors.md": errors,
    "import-files.md": import_files,
}


def stale() -> list[str]:
    """Pages that no longer say what the code does."""
    return [name for name, make in PAGES.items() if not _same(FOLDER / name, make())]


def _same(path: Path, text: str) -> bool:
    return path.exists() and path.read_text(encoding="utf-8") == text


def undeclared() -> list[str]:
    """Routes that say of nobody, or not rightly, who may use them."""
    return [fault for name in SERVICES for fault in access.faults(name, app_of(name))]


def main() -> int:
    if found := undeclared():
        print("routes without a known scope:", *found, sep="\n")
        return 1
    if "--check" in sys.argv:
        found = stale()
        print(f"stale: {', '.join(found)}" if found else "docs/reference is current")
        return 1 if found else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, make in PAGES.items():
        (FOLDER / name).write_text(make(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
