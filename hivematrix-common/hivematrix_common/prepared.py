"""Statements that a connection parses and plans once: for those that take longer to plan than to run."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection

from hivematrix_common.database import rows


class Prepared:
    """A statement with `$1`, `$2` ... of the given types; `name` is its own among all of a service."""

    def __init__(self, name: str, types: tuple[str, ...], statement: str) -> None:
        self._name = name
        self._prepare = f"PREPARE {name}{_listed(types)} AS {statement}"
        self._execute = f"EXECUTE {name}{_listed(['%s'] * len(types))}"

    def on(self, connection: Connection, *values: Any) -> list[Any]:
        """Its rows. What was prepared outlasts a rollback, and goes with the connection, as its `info` does."""
        if self._name not in connection.info:
            rows(connection, self._prepare)
            connection.info[self._name] = True
        return rows(connection, self._execute, values)

    def one(self, connection: Connection, *values: Any) -> Any | None:
        """Its only row, or None."""
        found = self.on(connection, *values)
        return found[0] if found else None


def _listed(parts: Sequence[str]) -> str:
    return f" ({', '.join(parts)})" if parts else ""
