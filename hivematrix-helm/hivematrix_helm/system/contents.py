"""What a database holds, seen in one snapshot: rows and a digest a table, its revision, the archive's tree.

The digest is the sum of a 64-bit hash of every row's text: it knows no order, so a restored table has the same one,
and the server reckons it as fast as it could send the rows.
"""

import base64
from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

import psycopg2
from hivematrix_common.errors import first_line
from psycopg2 import sql
from sqlalchemy.engine import make_url

from hivematrix_helm.domain.backup import Contents, Tree
from hivematrix_helm.system.dumps import DumpError

CONNECT_SECONDS = 5
# A row's text depends on these.
SETTINGS = {
    "statement_timeout": "0",
    "idle_in_transaction_session_timeout": "0",
    "lock_timeout": "0",
    "row_security": "off",
    "search_path": "pg_catalog",
    "timezone": "UTC",
    "datestyle": "ISO, YMD",
    "intervalstyle": "postgres",
    "bytea_output": "hex",
    "extra_float_digits": "1",
    "xmlbinary": "base64",
}
TABLES = """
SELECT n.nspname, c.relname FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT LIKE 'pg\\_%' AND n.nspname <> 'information_schema'
    AND NOT EXISTS (
        SELECT FROM pg_depend d WHERE d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
    )
ORDER BY 1, 2
"""
DIGEST = "SELECT count(*), coalesce(sum(hashtextextended(t::text, 0)), 0) FROM ONLY {} t"
TREE = "SELECT size, root FROM archive_log.checkpoints ORDER BY id DESC LIMIT 1"
REVISION = "SELECT version_num FROM migrations.alembic_version"


class View:
    """A database as of one moment, however long the looking takes."""

    def __init__(self, connection: Any) -> None:
        self._connection, self._cancelled = connection, False
        self.database = str(connection.info.dbname)
        self.server = int(connection.server_version)

    def export(self) -> str:
        """The snapshot's name, under which another connection sees the same."""
        return str(self._row("SELECT pg_export_snapshot()")[0])

    def size(self) -> int:
        """Bytes on the server's disk."""
        return int(self._row("SELECT pg_database_size(current_database())")[0])

    def revision(self) -> str:
        return str(self._row(REVISION)[0])

    def tree(self) -> Tree:
        size, root = self._row(TREE)
        return Tree(int(size), base64.b64encode(bytes(root)).decode())

    def tables(self) -> dict[str, Contents]:
        """Every table there is, by schema.name."""
        with self._connection.cursor() as cursor:
            cursor.execute(TABLES)
            names = cursor.fetchall()
        return {".".join(name): self._contents(name) for name in names}

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with self._connection.cursor() as cursor:
            cursor.execute(query)
            return list(cursor.fetchall())

    def cancel(self) -> None:
        """End the looking that goes on in another thread."""
        self._cancelled = True
        if not self._connection.closed:
            self._connection.cancel()

    def _contents(self, name: tuple[str, str]) -> Contents:
        if self._cancelled:
            raise DumpError(f"{self.database}: the looking was ended")
        rows, total = self._row(sql.SQL(DIGEST).format(sql.Identifier(*name)))
        return Contents(int(rows), format(int(total) % 2**64, "016x"))

    def _row(self, query: Any) -> tuple[Any, ...]:
        with self._connection.cursor() as cursor:
            cursor.execute(query)
            found: tuple[Any, ...] = cursor.fetchone()
            return found


@contextmanager
def frozen(url: str) -> Iterator[View]:
    """A database as of now, to be looked at while others write; DumpError names the one that cannot be."""
    parsed = make_url(url).set(drivername="postgresql")
    plain = parsed.render_as_string(hide_password=False)
    try:
        with closing(psycopg2.connect(plain, connect_timeout=CONNECT_SECONDS)) as connection:
            connection.set_session(isolation_level="REPEATABLE READ", readonly=True)
            with connection.cursor() as cursor:
                for name, value in SETTINGS.items():
                    cursor.execute("SELECT set_config(%s, %s, true)", [name, value])
            yield View(connection)
    except psycopg2.Error as error:
        raise DumpError(f"{parsed.database}: {first_line(error)}") from None
