"""Migrations: each service keeps `migrations/versions`, one environment drives them all, the owner's role runs them."""

import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Connection, create_engine, text

from hivematrix_common.sections import normal_url

if TYPE_CHECKING:
    from alembic.config import Config

# Alembic is imported where it is used: it is a third of a command's start.
_ENVIRONMENT = Path(__file__).with_name("alembic")


def upgrade(owner_url: str, package: str, revision: str = "head") -> str:
    """Bring the database of `package` (hivematrix_ledger ...) to `revision` in one transaction; returns it.

    Safe to repeat and to run twice at once: the second waits for the first and finds nothing to do.
    """
    engine = create_engine(normal_url(owner_url), connect_args={"connect_timeout": 5})
    try:
        with engine.begin() as connection:
            upgrade_on(connection, package, revision)
            return current(connection)
    finally:
        engine.dispose()


def move(owner_url: str, package: str, revision: str) -> str:
    """Bring the database to `revision`, forwards or back, in one transaction; returns it.

    Back is for the release before: what only later releases have tables for is dropped. ValueError for no revision
    of this release.
    """
    engine = create_engine(normal_url(owner_url), connect_args={"connect_timeout": 5})
    try:
        with engine.begin() as connection:
            known = history(package)
            if revision not in known:
                raise ValueError(f"there is no revision {revision}; there are {', '.join(known)}")
            if revision in known[: known.index(current(connection) or revision)]:
                _run(connection, package, "downgrade", revision)
            else:
                upgrade_on(connection, package, revision)
            return current(connection)
    finally:
        engine.dispose()


def upgrade_on(connection: Connection, package: str, revision: str = "head") -> None:
    _run(connection, package, "upgrade", revision)


def _run(connection: Connection, package: str, command: str, revision: str) -> None:
    import alembic.command

    connection.execute(text("SELECT pg_advisory_xact_lock(hashtextextended('hivematrix-migrations', 0))"))
    connection.execute(text("CREATE SCHEMA IF NOT EXISTS migrations"))
    connection.execute(text("GRANT USAGE ON SCHEMA migrations TO PUBLIC"))
    config = _config(package)
    config.attributes["connection"] = connection
    getattr(alembic.command, command)(config, revision)
    connection.execute(text("GRANT SELECT ON ALL TABLES IN SCHEMA migrations TO PUBLIC"))


def head(package: str) -> str:
    """The newest revision the code knows."""
    from alembic.script import ScriptDirectory

    return ScriptDirectory.from_config(_config(package)).get_current_head() or ""


def history(package: str) -> list[str]:
    """Every revision the code knows, the oldest first."""
    from alembic.script import ScriptDirectory

    return [script.revision for script in ScriptDirectory.from_config(_config(package)).walk_revisions()][::-1]


def current(connection: Connection) -> str:
    """The revision the database is at; an empty text when it was never migrated."""
    there = connection.execute(text("SELECT to_regclass('migrations.alembic_version')")).scalar()
    if there is None:
        return ""
    return str(connection.execute(text("SELECT version_num FROM migrations.alembic_version")).scalar() or "")


def _config(package: str) -> "Config":
    from alembic.config import Config

    spec = importlib.util.find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(package)
    config = Config()
    config.set_main_option("script_location", str(_ENVIRONMENT))
    config.set_main_option("path_separator", "newline")
    config.set_main_option("version_locations", str(Path(spec.origin).parent / "migrations" / "versions"))
    return config
