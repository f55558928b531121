"""Commands of hivematrix-archive that stand in files of their own, and what all of them share."""

import getpass
from collections.abc import Iterator
from contextlib import contextmanager

from hivematrix_common import cli
from hivematrix_common.errors import first_line
from hivematrix_common.sections import normal_url
from sqlalchemy.exc import DBAPIError

from hivematrix_archive.config import ArchiveSettings
from hivematrix_archive.services.opened import Opened, opened


@contextmanager
def open_archive(home: str | None, *, as_owner: bool = False) -> Iterator[Opened]:
    """What a command works on; a database that does not answer is told in one line."""
    settings = cli.load_settings(ArchiveSettings, home)
    owner_url = normal_url(cli.owner_url(settings.home, "archive")) if as_owner else None
    with opened(settings, owner_url) as archive:
        try:
            yield archive
        except DBAPIError as error:
            cli.fail(f"database: {first_line(error.orig)}")


def me() -> str:
    return f"{getpass.getuser()} at the command line"
