"""hivematrix-codex: serve, init-db, import, sync, link."""

from collections.abc import Sequence
from typing import Any, NoReturn

from hivematrix_common import cli
from hivematrix_common.importing import Source
from hivematrix_common.imports import Imported, import_command

from hivematrix_codex import services
from hivematrix_codex.app import create_app
from hivematrix_codex.commands import sync
from hivematrix_codex.config import CodexSettings


def serving_app(settings: CodexSettings) -> Any:
    # Imported late: no other command needs the scheduler.
    from hivematrix_codex.services import background

    app = create_app(settings)
    background.start(app, settings)
    return app


group = cli.service_group(CodexSettings, serving_app, "Codex: the facts a bill is made of.")


def _import(settings: CodexSettings, sources: Sequence[Source], partial: bool) -> Imported:
    with create_app(settings).app_context():
        return services.import_files(sources, settings.billing.timezone, partial=partial)


group.add_command(
    import_command(
        CodexSettings,
        _import,
        "Import Codex's files (CSV or JSON lines) out of DIR in one transaction; twice is once.",
    )
)

group.add_command(sync.sync)
group.add_command(sync.link)


def main(arguments: list[str] | None = None) -> NoReturn:
    cli.run(group, arguments)
