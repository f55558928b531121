"""Import what an operator adds to the facts: a file states an account's rows whole, twice changes nothing."""

import logging
from collections.abc import Iterable, Sequence

from hivematrix_common import audit
from hivematrix_common.importing import Reading, Row, Source, Table, stated
from hivematrix_common.imports import Imported

from hivematrix_ledger import store
from hivematrix_ledger.clients import Codex
from hivematrix_ledger.import_tables import tables
from hivematrix_ledger.services import Ledger, rules
from hivematrix_ledger.services.rules import ITEMS, NAMED
from hivematrix_ledger.store import imports
from hivematrix_ledger.store.imports import Cells

_log = logging.getLogger("hivematrix.ledger")


def import_files(ledger: Ledger, sources: Sequence[Source], *, partial: bool = False) -> Imported:
    """Import Ledger's files among `sources` in one transaction.

    Problem `invalid_rows` lists every fault, and then nothing was imported, unless `partial` leaves out the bad rows
    and with them whatever else the file says of their accounts.
    """
    reading = Reading(sources, tables(ledger.defaults.zone))
    known = _Known(ledger.codex, reading)
    files = {stem: _stated(reading, stem, known) for stem in reading.tables if reading.has(stem)}
    reading.settle(partial=partial)
    files = {stem: reading.spared(stem, rows, known.owner_of(stem)) for stem, rows in files.items()}
    with rules.changing("ledger import") as session:
        imports.begin(session)
        counts = {stem: _replace(reading.tables[stem], rows) for stem, rows in files.items()}
        changes = {stem: changed for stem, (_, changed) in counts.items()}
        audit.done(session, "ledger import", ", ".join(changes), **changes)
    _log.info("imported", extra={"counts": changes})
    return Imported(counts, reading.faults, reading.warnings)


class _Known:
    """What Codex knows and the files may refer to: accounts, and whose each asset and contact is."""

    def __init__(self, codex: Codex, reading: Reading) -> None:
        self.accounts: dict[str, str] = {}
        self.owners: dict[str, dict[str, str]] = {"assets": {}, "contacts": {}}
        if any(reading.has(stem) for stem in reading.tables if stem not in ITEMS):
            self.accounts = {account: account for account in codex.accounts()}
        if any(reading.has(stem) for stem in ITEMS):
            for kind, owned in codex.owners():
                self.owners[kind][owned.uid] = owned.account_number

    def owner_of(self, stem: str) -> dict[str, str]:
        """The account of each subject that a file may name."""
        return self.owners[ITEMS[stem][0]] if stem in ITEMS else self.accounts


def _stated(reading: Reading, stem: str, known: _Known) -> dict[str, list[Row]]:
    """The file's good rows by account."""
    rows = list(_known_rows(reading, stem, known))
    if stem == "client_overrides":
        rows = _without_overlaps(reading, rows)
    if stem in ITEMS or stem in {"manual_assets", "manual_users"}:
        _warn_of_idle_costs(reading, rows)
    owner, subject = known.owner_of(stem), _subject(stem)
    return stated(rows, lambda row: owner[row.values[subject]])


def _subject(stem: str) -> str:
    return ITEMS[stem][1] if stem in ITEMS else "account_number"


def _known_rows(reading: Reading, stem: str, known: _Known) -> Iterable[Row]:
    column, valid = _subject(stem), known.owner_of(stem)
    for row in reading.rows(stem):
        if row.values[column] in valid:
            yield row
        else:
            reading.refuse(row, column, f"there is no {row.values[column]} in Codex")


def _without_overlaps(reading: Reading, rows: list[Row]) -> list[Row]:
    """At most one override for an account, key and period: both rows of an overlap are named."""
    kept: list[Row] = []
    by_key: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        values = row.values
        same = by_key.setdefault((values["account_number"], values["key"]), [])
        clash = None if row.clears else next((other for other in same if rules.overlap(values, other.values)), None)
        if clash:
            where = f"{clash.file}:{clash.line}"
            reading.refuse(row, "from_period", f"overlaps the override of {values['key']} in {where}")
        else:
            kept.append(row)
            if not row.clears:
                same.append(row)
    return kept


def _warn_of_idle_costs(reading: Reading, rows: list[Row]) -> None:
    for row in rows:
        if row.values.get("custom_cost") is not None and row.values["billing_type"] != "Custom":
            reading.warn(row, "custom_cost", f"unused: only Custom has a cost, this is {row.values['billing_type']}")


def _replace(table: Table, files: dict[str, list[Row]]) -> tuple[int, int]:
    columns = rules.columns_of(table)
    cells = {account: list(_cells(table.stem, account, rows, columns)) for account, rows in files.items()}
    return sum(map(len, cells.values())), imports.replace(store.session(), table.stem, columns, cells)


def _cells(stem: str, account: str, rows: list[Row], columns: list[str]) -> Iterable[Cells]:
    taken: set[str] = set()
    for row in sorted(rows, key=lambda row: str(row.values)):
        values = rules.stored(stem, row.values) | {"account_number": account}
        if stem in NAMED:
            values["uid"] = rules.free_uid(stem, values, taken)
            taken.add(values["uid"])
        yield tuple(values[name] for name in columns)
