"""The files of one folder, as `hivematrix-codex import` reads them; here a row that is no longer there is retired."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

from hivematrix_common.errors import Problem
from hivematrix_common.importing import Reading, described, folder

from hivematrix_codex.domain.facts import KINDS, Record, Told
from hivematrix_codex.import_tables import tables
from hivematrix_codex.providers.base import Page, ProviderError
from hivematrix_codex.providers.files import mapping

SIZE = 1000


class Files:
    """Kinds are those of which a file lies there: one that is absent says nothing."""

    name: str = "files"

    def __init__(self, path: Path, zone: ZoneInfo) -> None:
        self._path, self._zone = path, zone
        self.kinds: tuple[str, ...] = tuple(kind for kind in KINDS if self._lies_there(kind))

    def is_incremental(self, kind: str) -> bool:
        del kind
        return False

    def pages(self, kind: str, since: datetime | None) -> Iterator[Page]:
        """Good rows a page; a bad one breaks the list off in the end, so that nothing is retired by a broken file."""
        del since
        reading = self._reading()
        records: list[Record] = []
        for row in reading.rows(kind):
            records.append(row.values)
            if len(records) == SIZE:
                yield Page(records)
                records = []
        yield Page(records)
        if reading.faults:
            raise ProviderError("; ".join(described(fault) for fault in reading.faults[:SIZE]))

    def one(self, kind: str, external_id: str) -> Record | None:
        del kind, external_id
        return None  # the files were read whole

    def told(self, kind: str, record: Record) -> Told:
        return mapping.told(kind, record)

    def id_of(self, kind: str, record: Record) -> str:
        return mapping.id_of(kind, record)

    def _lies_there(self, kind: str) -> bool:
        return any((self._path / f"{kind}{suffix}").exists() for suffix in (".csv", ".jsonl", ".ndjson"))

    def _reading(self) -> Reading:
        try:
            return Reading(folder(self._path), tables(self._zone))
        except (OSError, Problem) as error:
            raise ProviderError(f"{self.name}: {self._path}: {error}") from None
