"""Codex's use cases: load, decide, save, commit once."""

import logging
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import date
from typing import Any
from zoneinfo import ZoneInfo

from hivematrix_common import audit, clock
from hivematrix_common.database import own_account
from hivematrix_common.domain.period import Period
from hivematrix_common.domain.vocabulary import normalise_term
from hivematrix_common.errors import Problem
from hivematrix_common.failpoints import failpoint
from hivematrix_common.importing import Reading, Source
from hivematrix_common.imports import Imported
from hivematrix_common.lately import latest_acts

from hivematrix_codex import staging, store
from hivematrix_codex.domain.pages import Page
from hivematrix_codex.domain.run import Run
from hivematrix_codex.import_tables import tables
from hivematrix_codex.services.facts import begin
from hivematrix_codex.store import billing

_log = logging.getLogger("hivematrix.codex")


def import_files(sources: Iterable[Source], zone: ZoneInfo, *, partial: bool = False) -> Imported:
    """Import Codex's files among `sources` in one transaction; importing the same again changes nothing.

    Problem `invalid_rows` lists every fault, and then nothing was imported, unless `partial` leaves the bad rows out.
    """
    session = store.session()
    reading = Reading(sources, tables(zone))
    counts: dict[str, tuple[int, int]] = {}
    try:
        staging.begin(session)
        begin(session, "codex import")
        for table in reading.tables.values():
            if reading.has(table.stem):
                counts[table.stem] = _import_table(reading, table.stem, zone)
        reading.settle(partial=partial)
        changes = {stem: changed for stem, (_, changed) in counts.items()}
        audit.done(session, "codex import", ", ".join(changes), **changes)
        session.commit()
        failpoint("import-committed")
    except BaseException:
        session.rollback()
        raise
    _log.info("imported", extra={"counts": changes})
    return Imported(counts, reading.faults, reading.warnings)


def _import_table(reading: Reading, stem: str, zone: ZoneInfo) -> tuple[int, int]:
    session, table = store.session(), reading.tables[stem]
    staged = staging.stage(session, table, reading.rows(stem))
    refused = staging.dangling(session, table)
    for row, column, message in refused:
        reading.refuse(row, column, message)
    changed = staging.upsert(session, table, clock.now().astimezone(zone).date())
    if stem == "companies":
        for row, message in staging.unknown_plans(session):
            reading.warn(row, "billing_plan", message)
    return staged - len(refused), changed


def company(account_number: str) -> dict[str, Any]:
    """The company; Problem `not_found` when there is none."""
    found = store.find_company(store.session(), account_number)
    if found is None:
        raise Problem("not_found", f"There is no company {account_number}.")
    return found


def bulk(cursor: str, limit: int, *, with_tickets: bool) -> Page:
    return store.bulk(store.session(), cursor, limit, with_tickets=with_tickets)


def billing_inputs(
    period: Period, run: Run, limit: int, accounts: Sequence[str]
) -> tuple[list[bytes], Run, str | None]:
    """A page of companies, one JSON line each; the run it belongs to, and the cursor of its next page."""
    if len(accounts) == 1 and accounts[0] > run.after and not run.snapshot:
        with store.single_reads() as connection:
            return billing.billing_inputs_of_one(connection, period, accounts[0]), run, None
    if not run.snapshot:
        run = replace(run, as_of=clock.instant_text(clock.now()))
    return billing.billing_inputs(store.session(), period, run, limit, accounts)


def every_plan() -> list[dict[str, Any]]:
    return store.list_plans(store.session())


def plan(name: str, term: str, on: date) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The version in force `on` a day, and all versions; Problem `not_found` when none was in force."""
    versions = store.list_plans(store.session(), name.strip(), normalise_term(term))
    in_force = next((version for version in versions if version["valid_from"] <= on), None)
    if in_force is None:
        raise Problem("not_found", f"No version of {name} / {term} was in force on {on}.")
    return in_force, versions


def newest_version(name: str | None, term: str | None) -> tuple[str, str, date] | None:
    """The key of a plan's newest version; None when there is no such plan."""
    versions = store.list_plans(store.session(), name, normalise_term(term)) if name else []
    return (versions[0]["plan_name"], versions[0]["term"], versions[0]["valid_from"]) if versions else None


def overview() -> dict[str, Any]:
    """What Codex holds, for its start page; a client is shown its own company."""
    session, own = store.session(), own_account()
    plans = [] if own else store.newest_plans(session)
    found = store.find_company(session, own) if own else None
    return {"held": store.holdings(session), "company": found, "plans": plans, "acts": latest_acts(session)}
