"""Statements that a connection parses and plans once: for those that take longer to plan than to run."""

from typing import Any

from sqlalchemy import Connection, CursorResult


class Prepared:
    """A statement with `$1`, `$2` ... of the given types; `name` is its own among all of a service."""

    def __init__(self, name: str, types: tuple[str, ...], statement: str) -> None:
        self._name = name
        self._prepare = f"PREPARE {name} ({', '.join(types)}) AS {statement}"
        self._execute = f"EXECUTE {name} ({', '.join(['%s'] * len(types))})"

    def on(self, connection: Connection, *values: Any) -> CursorResult[Any]:
        """Run it. What was prepared outlasts a rollback, and goes with the connection, as its `info` does."""
        if self._name not in connection.info:
            connection.exec_driver_sql(self._prepare)
            connection.info[self._name] = True
        return connection.exec_driver_sql(self._execute, values)
