"""The start page: what is sealed, under which checkpoint, when the next month is sealed, how the last jobs went."""

from typing import Any
from zoneinfo import ZoneInfo

from hivematrix_common import clock
from hivematrix_common.database import AnySession
from hivematrix_common.domain.checkpoint import Checkpoint
from hivematrix_common.domain.note import Note
from hivematrix_common.domain.period import Period
from hivematrix_common.lately import latest_acts
from hivematrix_common.tables import Choice, Column, Listing, Table

from hivematrix_archive.domain.schedule import coming
from hivematrix_archive.store import jobs
from hivematrix_archive.store import overview as held

MONTHS, JOBS = 12, 5
OWN_DOCUMENTS = Table(
    name="documents",
    caption="Your sealed documents",
    nouns=("document", "documents"),
    key="invoice_number",
    sort="-period",
    search=("invoice_number",),
    columns=(
        Column("invoice_number", "Number"),
        Column("kind", "Document", priority=2),
        Column("period", "Month"),
        Column("total", "Total", kind="number"),
        Column("currency", "Currency", priority=2),
        Column("archived_at", "Sealed", kind="instant", priority=2),
        Column("log_index", "Entry", kind="number", priority=3),
    ),
    choices=(Choice("kind", "Document", (("invoice", "Invoice"), ("credit_note", "Credit note"))),),
)


def overview(session: AnySession, zone: ZoneInfo) -> dict[str, Any]:
    """`tip` is the newest checkpoint's row, None before the log is begun."""
    tip, newest, schedule = held.newest_checkpoint(session), held.newest_period(session), jobs.read_schedule(session)
    _, last = jobs.list_jobs(session, JOBS, 0, None)
    return {
        "tip": tip,
        "origin": Checkpoint.parse(Note.parse(tip.note).text).origin if tip else None,
        "newest": newest,
        "months": held.months(session, newest.plus(1 - MONTHS)) if newest else [],
        "schedule": schedule,
        "next_run": coming(schedule, zone, clock.now(), 1)[0] if schedule and schedule.enabled else None,
        "jobs": last,
        "ended": Period.of(clock.now().astimezone(zone).date()).plus(-1),
        "acts": latest_acts(session),
    }


def newest(session: AnySession) -> Any:
    """The newest checkpoint's row, None before the log is begun."""
    return held.newest_checkpoint(session)


def own_documents(session: AnySession, account: str) -> Listing:
    """A client's sealed documents."""
    return OWN_DOCUMENTS.of_query(session, held.own_documents(account))
