"""The sync's queries: jobs, what is staged, what was said before, links."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

import orjson
from hivematrix_common.database import AnySession, copy_lines, copy_rows
from sqlalchemy import Row, text

from hivematrix_codex.domain.facts import Fact
from hivematrix_codex.domain.owners import Companies

LISTED = 1000
WEBHOOK = "webhook"
AGAIN = timedelta(minutes=5)
# Of each kind: the columns that a provider may say, in the table's order.
COLUMNS = {
    "companies": (
        *("account_number", "name", "billing_plan", "contract_term", "contract_start", "contract_end"),
        *("currency", "payment_terms_days", "email", "status"),
    ),
    "contacts": ("uid", "account_number", "name", "email", "active", "active_from", "active_to"),
    "assets": (
        *("uid", "account_number", "hostname", "billing_type", "backup_bytes", "operating_system"),
        *("active_from", "active_to"),
    ),
    "tickets": ("uid", "account_number", "number", "subject", "status", "opened_at", "closed_at"),
    "time_entries": ("uid", "ticket_uid", "account_number", "worked_on", "hours", "billable", "first_seen"),
}
KEYS = dict.fromkeys(COLUMNS, "uid") | {"companies": "account_number"}


# -- jobs

_ADD_JOB = text(
    "INSERT INTO sync_jobs (id, provider, mode, status, dry_run, accepted_retirements, asked_by, asked_at)"
    " VALUES (:id, :provider, :mode, 'queued', :dry_run, :accepted, :asked_by, :at)"
)


def add_job(
    session: AnySession,
    job_id: str,
    provider: str,
    mode: str,
    *,
    dry_run: bool,
    accepted: int,
    asked_by: str,
    at: datetime,
) -> None:
    values = {"id": job_id, "provider": provider, "mode": mode, "dry_run": dry_run}
    session.execute(_ADD_JOB, values | {"accepted": accepted, "asked_by": asked_by, "at": at})


def job(session: AnySession, job_id: str) -> dict[str, Any] | None:
    row = session.execute(text("SELECT * FROM sync_jobs WHERE id = :id"), {"id": job_id}).one_or_none()
    return None if row is None else _plain(row)


def jobs(session: AnySession, limit: int) -> list[dict[str, Any]]:
    """Newest first."""
    query = text("SELECT * FROM sync_jobs ORDER BY asked_at DESC, id LIMIT :limit")
    return [_plain(row) for row in session.execute(query, {"limit": limit})]


def last_jobs(session: AnySession) -> dict[str, dict[str, Any]]:
    """Each provider's newest job that was no rehearsal."""
    query = text("SELECT DISTINCT ON (provider) * FROM sync_jobs WHERE NOT dry_run ORDER BY provider, asked_at DESC")
    return {row.provider: _plain(row) for row in session.execute(query)}


def unfinished(session: AnySession) -> list[dict[str, Any]]:
    query = text("SELECT * FROM sync_jobs WHERE status IN ('queued', 'running') ORDER BY asked_at, id")
    return [_plain(row) for row in session.execute(query)]


def waiting(session: AnySession, provider: str, mode: str, accepted: int) -> str | None:
    """The job that waits to do just this."""
    query = text(
        "SELECT id FROM sync_jobs WHERE status = 'queued' AND provider = :provider AND mode = :mode"
        " AND NOT dry_run AND accepted_retirements = :accepted LIMIT 1"
    )
    found: str | None = session.scalar(query, {"provider": provider, "mode": mode, "accepted": accepted})
    return found


def begin_job(session: AnySession, job_id: str, at: datetime) -> None:
    session.execute(
        text("UPDATE sync_jobs SET status = 'running', started_at = :at WHERE id = :id"), {"id": job_id, "at": at}
    )


def tell_progress(session: AnySession, job_id: str, progress: dict[str, Any]) -> None:
    values = {"id": job_id, "progress": orjson.dumps(progress).decode()}
    session.execute(text("UPDATE sync_jobs SET progress = CAST(:progress AS jsonb) WHERE id = :id"), values)


def end_job(
    session: AnySession, job_id: str, status: str, *, counts: dict[str, Any], errors: Sequence[str], at: datetime
) -> None:
    statement = text(
        "UPDATE sync_jobs SET status = :status, completed_at = :at, counts = CAST(:counts AS jsonb),"
        " errors = CAST(:errors AS jsonb) WHERE id = :id"
    )
    told = {"counts": orjson.dumps(counts).decode(), "errors": orjson.dumps(list(errors)).decode()}
    session.execute(statement, {"id": job_id, "status": status, "at": at} | told)


def end_deserted(session: AnySession, at: datetime) -> None:
    """Whoever holds the lock knows that no other run is alive."""
    session.execute(
        text(
            "UPDATE sync_jobs SET status = 'failed', completed_at = :at,"
            " errors = '[\"its process ended before it did; nothing was changed\"]' WHERE status = 'running'"
        ),
        {"at": at},
    )
    session.execute(text("DELETE FROM sync_staged"))


def forget_before(session: AnySession, day: datetime) -> None:
    """Old runs and deliveries; a provider's last run stays."""
    session.execute(
        text(
            "DELETE FROM sync_jobs old WHERE asked_at < :day AND EXISTS"
            " (SELECT FROM sync_jobs WHERE provider = old.provider AND asked_at > old.asked_at)"
        ),
        {"day": day},
    )
    session.execute(text("DELETE FROM webhook_deliveries WHERE received_at < :day"), {"day": day})


def add_changes(session: AnySession, job_id: str, changes: Iterable[tuple[str, str, str, str, Any]]) -> None:
    rows = (
        (job_id, number, kind, act, uid, account, orjson.dumps(what).decode())
        for number, (kind, act, uid, account, what) in enumerate(changes)
    )
    columns = ("job_id", "number", "kind", "act", "uid", "account_number", "what")
    copy_rows(session, "sync_changes", columns, copy_lines(rows))


def changes(session: AnySession, job_id: str, limit: int = LISTED) -> list[dict[str, Any]]:
    query = text(
        "SELECT kind, act, uid, account_number, what FROM sync_changes WHERE job_id = :id ORDER BY number LIMIT :limit"
    )
    return [_plain(row) for row in session.execute(query, {"id": job_id, "limit": limit})]


# -- staging


def stage(session: AnySession, job_id: str, facts: Iterable[Fact | tuple[str, str]]) -> int:
    """Keep what was told until it is carried out; told twice, the later one counts. A (kind, id) alone is a record that
    is there, and wrong.
    """
    rows: dict[tuple[str, str, str], tuple[object, ...]] = {}
    for fact in facts:
        if isinstance(fact, tuple):
            rows[(*fact, "")] = (job_id, *fact, "", "", "", None)
            continue
        cells = orjson.dumps(fact.cells).decode()
        for company in fact.companies or ("",):
            rows[fact.kind, fact.id, company] = (job_id, fact.kind, fact.id, company, fact.parent, fact.uid, cells)
    session.execute(text("CREATE TEMPORARY TABLE IF NOT EXISTS fresh (LIKE sync_staged) ON COMMIT DELETE ROWS"))
    columns = ("job_id", "kind", "external_id", "company", "parent", "uid", "cells")
    copy_rows(session, "fresh", columns, copy_lines(rows.values()))
    session.execute(
        text(
            "INSERT INTO sync_staged SELECT * FROM fresh ON CONFLICT (job_id, kind, external_id, company) DO UPDATE"
            " SET parent = excluded.parent, uid = excluded.uid, cells = excluded.cells"
        )
    )
    session.execute(text("TRUNCATE fresh"))
    return len(rows)


def staged(session: AnySession, job_id: str, kind: str, size: int) -> Iterator[list[Row[Any]]]:
    """What is staged of a kind, in batches; wrong records are left out."""
    query = text(
        "SELECT external_id, company, parent, uid, cells FROM sync_staged WHERE job_id = :job AND kind = :kind"
        " AND cells IS NOT NULL AND (external_id, company) > (:id, :company) ORDER BY external_id, company LIMIT :size"
    )
    at = {"id": "", "company": ""}
    while rows := list(session.execute(query, {"job": job_id, "kind": kind, "size": size} | at)):
        yield rows
        at = {"id": rows[-1].external_id, "company": rows[-1].company}


def clear_staged(session: AnySession, job_id: str) -> None:
    session.execute(text("DELETE FROM sync_staged WHERE job_id = :job"), {"job": job_id})


# Set against set: the planner knows nothing yet of what was staged a moment ago, and would look up one by one.
_MISSING = text(
    "SELECT external_id FROM source_records WHERE provider = :provider AND kind = :kind AND retired_on IS NULL"
    " EXCEPT SELECT external_id FROM sync_staged WHERE job_id = :job AND kind = :kind ORDER BY 1"
)


def missing(session: AnySession, job_id: str, provider: str, kind: str) -> list[str]:
    """The provider's ids of the records that it told of before and not now."""
    return list(session.scalars(_MISSING, {"provider": provider, "kind": kind, "job": job_id}))


def wrong(session: AnySession, job_id: str, kind: str) -> list[str]:
    """The provider's ids of the records that are there, and wrong."""
    query = text("SELECT external_id FROM sync_staged WHERE job_id = :job AND kind = :kind AND cells IS NULL")
    return list(session.scalars(query, {"job": job_id, "kind": kind}))


def tickets_told_whole(session: AnySession, job_id: str) -> list[str]:
    """The provider's ids of the tickets that came with all their time entries."""
    query = text("SELECT external_id FROM sync_staged WHERE job_id = :job AND kind = 'tickets' AND parent <> ''")
    return list(session.scalars(query, {"job": job_id}))


def count_active(session: AnySession, provider: str, kind: str) -> int:
    query = text(
        "SELECT count(*) FROM source_records WHERE provider = :provider AND kind = :kind AND retired_on IS NULL"
    )
    return session.scalar(query, {"provider": provider, "kind": kind}) or 0


def count_staged(session: AnySession, job_id: str, kind: str) -> int:
    query = text("SELECT count(*) FROM sync_staged WHERE job_id = :job AND kind = :kind")
    return session.scalar(query, {"job": job_id, "kind": kind}) or 0


# -- whose it is


def known_companies(session: AnySession, provider: str) -> Companies:
    links = session.execute(
        text("SELECT external_id, account_number FROM company_links WHERE provider = :provider"), {"provider": provider}
    )
    names = session.execute(text("SELECT account_number, name FROM companies"))
    sources = session.execute(text("SELECT uid, provider FROM source_records WHERE kind = 'companies'"))
    return Companies(*({row[0]: row[1] for row in rows} for rows in (links, names, sources)))


@dataclass(frozen=True, slots=True)
class Link:
    provider: str
    external_id: str
    account_number: str
    name: str
    linked_by: str


def link(session: AnySession, said: Link, at: datetime, *, anew: bool) -> None:
    """Link a provider's company; one that is linked is linked `anew` by a person alone, else only its name is kept."""
    changed = "account_number = excluded.account_number, linked_by = excluded.linked_by, linked_at = excluded.linked_at"
    statement = text(
        "INSERT INTO company_links VALUES (:provider, :external_id, :account_number, :name, :linked_by, :at)"  # noqa: S608
        f" ON CONFLICT (provider, external_id) DO UPDATE SET {changed if anew else 'name = excluded.name'}"
    )
    session.execute(statement, asdict(said) | {"at": at})


def links(session: AnySession) -> list[dict[str, Any]]:
    query = text(
        "SELECT provider, external_id, account_number, name, linked_by, linked_at FROM company_links"
        " ORDER BY provider, account_number, external_id"
    )
    return [_plain(row) for row in session.execute(query)]


def next_number(session: AnySession) -> str:
    """An account number that nobody has or had."""
    query = text("SELECT nextval('account_numbers')::text")
    taken = text("SELECT EXISTS (SELECT FROM companies WHERE account_number = :number)")
    while True:
        number = str(session.scalar(query))
        if not session.scalar(taken, {"number": number}):
            return number


# -- marks and wishes


def mark(session: AnySession, provider: str, kind: str) -> datetime | None:
    """Up to when the provider's changes are known."""
    query = text("SELECT since FROM sync_marks WHERE provider = :provider AND kind = :kind")
    found: datetime | None = session.scalar(query, {"provider": provider, "kind": kind})
    return found


def set_mark(session: AnySession, provider: str, kind: str, since: datetime) -> None:
    session.execute(
        text(
            "INSERT INTO sync_marks VALUES (:provider, :kind, :since)"
            " ON CONFLICT (provider, kind) DO UPDATE SET since = :since"
        ),
        {"provider": provider, "kind": kind, "since": since},
    )


def want(session: AnySession, provider: str, wanted: Iterable[tuple[str, str, str]], at: datetime) -> None:
    """(ticket, company, why) to be fetched by themselves; for those of a company once it is known whose it is."""
    statement = text(
        "INSERT INTO sync_wanted VALUES (:provider, :id, :company, :because, :at)"
        " ON CONFLICT (provider, external_id) DO UPDATE"
        " SET company = :company, because = :because, asked_at = :at"
    )
    values = [{"provider": provider, "id": one[0], "company": one[1], "because": one[2], "at": at} for one in wanted]
    if values:
        session.execute(statement, values)


def wanted(session: AnySession, provider: str) -> list[str]:
    """The tickets that can be fetched by themselves now."""
    query = text(
        "SELECT external_id FROM sync_wanted w WHERE provider = :provider AND (company = '' OR EXISTS (SELECT FROM"
        " company_links l WHERE l.provider = :provider AND l.external_id = w.company)) ORDER BY 1"
    )
    return list(session.scalars(query, {"provider": provider}))


def named_by_webhooks(session: AnySession, now: datetime) -> list[str]:
    """The providers whose webhooks named tickets that were not fetched since; after a failure, again after a while."""
    query = text(
        "SELECT DISTINCT provider FROM sync_wanted w WHERE because = :because AND NOT EXISTS (SELECT FROM sync_jobs j"
        " WHERE j.provider = w.provider AND j.started_at > w.asked_at AND j.started_at > :lately) ORDER BY 1"
    )
    return list(session.scalars(query, {"because": WEBHOOK, "lately": now - AGAIN}))


def settle(session: AnySession, job_id: str, provider: str, before: datetime) -> None:
    """Forget the wishes that this run fulfilled; one made while it ran stays."""
    session.execute(
        text(
            "DELETE FROM sync_wanted w WHERE provider = :provider AND asked_at <= :before AND EXISTS (SELECT FROM"
            " sync_staged s WHERE s.job_id = :job AND s.kind = 'tickets' AND s.external_id = w.external_id)"
        ),
        {"provider": provider, "job": job_id, "before": before},
    )


def take_delivery(session: AnySession, provider: str, delivery: str, external_id: str, at: datetime) -> bool:
    """Whether this delivery is new."""
    statement = text(
        "INSERT INTO webhook_deliveries VALUES (:provider, :delivery, :id, :at) ON CONFLICT DO NOTHING RETURNING 1"
    )
    values = {"provider": provider, "delivery": delivery, "id": external_id, "at": at}
    return session.scalar(statement, values) is not None


def _plain(row: Row[Any]) -> dict[str, Any]:
    return {str(name): value for name, value in row._mapping.items()}  # noqa: SLF001 - a public name of SQLAlchemy
