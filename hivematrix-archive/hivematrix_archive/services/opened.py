"""The archive without its HTTP side: what a command needs, made in a fraction of an app's time."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from hivematrix_common.database import engine_options, leave_dead_connections
from sqlalchemy import Engine, create_engine

from hivematrix_archive.config import ArchiveSettings
from hivematrix_archive.store.outside import Outside


@dataclass(frozen=True, slots=True)
class Opened:
    settings: ArchiveSettings
    engine: Engine
    outside: Outside


@contextmanager
def opened(settings: ArchiveSettings, owner_url: str | None = None) -> Iterator[Opened]:
    """Nothing is connected before it is needed; every connection is closed in the end.

    With `owner_url` as the owner, for what the service itself may not do.
    """
    engine = create_engine(owner_url or settings.database.sqlalchemy_url, **engine_options(settings))
    leave_dead_connections(engine)
    try:
        yield Opened(settings, engine, Outside(settings.home))
    finally:
        engine.dispose()
