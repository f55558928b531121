"""Rows of one kind as a sync finds and writes them, with what their provider said of them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date
from typing import Any

import orjson
from hivematrix_common.database import AnySession, copy_lines, copy_rows
from sqlalchemy import text

from hivematrix_codex.domain.entries import Entry
from hivematrix_codex.domain.merging import Plain, plain
from hivematrix_codex.store.syncing import COLUMNS, KEYS, wrong

_KEPT = {"first_seen"}
# What a sync reads and never writes.
_LOOKED_AT = {"assets": ("billing_type_pinned",)}


@dataclass(frozen=True, slots=True)
class Known:
    """A row as it stands, what its provider said last, and whether it was retired."""

    row: Plain
    said: Plain | None
    provider: str | None
    external_id: str | None
    retired: bool


@dataclass(frozen=True, slots=True)
class Source:
    """What is to be remembered of where a row comes from."""

    uid: str
    external_id: str
    parent: str
    said: Plain
    retired_on: date | None = None


def known(session: AnySession, kind: str, uids: Iterable[str]) -> dict[str, Known]:
    """The rows of these uids that are there."""
    key, names = KEYS[kind], (*COLUMNS[kind], *_LOOKED_AT.get(kind, ()))
    columns = ", ".join(f"t.{name}" for name in names)
    query = text(
        f"SELECT {columns}, r.said, r.provider, r.external_id, r.retired_on FROM {kind} t"  # noqa: S608
        f" LEFT JOIN source_records r ON r.kind = :kind AND r.uid = t.{key} WHERE t.{key} = ANY(:uids)"
    )
    found = {}
    for row in session.execute(query, {"kind": kind, "uids": list(uids)}).mappings():
        values = {name: plain(row[name]) for name in names}
        retired = row["retired_on"] is not None
        found[values[key]] = Known(values, row["said"], row["provider"], row["external_id"], retired)
    return found


def write(session: AnySession, kind: str, provider: str, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add these rows as the provider's, or change those that are there."""
    if not rows:
        return
    columns, key = COLUMNS[kind], KEYS[kind]
    session.execute(text("DROP TABLE IF EXISTS pg_temp.incoming"))
    session.execute(
        text(f"CREATE TEMPORARY TABLE incoming ON COMMIT DROP AS SELECT {', '.join(columns)} FROM {kind} WITH NO DATA")  # noqa: S608
    )
    copy_rows(session, "incoming", columns, copy_lines([row.get(name) for name in columns] for row in rows))
    updated = [name for name in columns if name != key and name not in _KEPT]
    session.execute(
        text(
            f"INSERT INTO {kind} ({', '.join(columns)}, source) SELECT {', '.join(columns)}, :provider FROM incoming"  # noqa: S608
            f" ON CONFLICT ({key}) DO UPDATE SET ({', '.join(updated)}) ="
            f" ROW({', '.join(f'excluded.{name}' for name in updated)})"
        ),
        {"provider": provider},
    )


def remember(session: AnySession, kind: str, provider: str, sources: Sequence[Source]) -> None:
    """Keep what the provider said of these rows."""
    if not sources:
        return
    session.execute(text("DROP TABLE IF EXISTS pg_temp.told"))
    session.execute(text("CREATE TEMPORARY TABLE told (LIKE source_records) ON COMMIT DROP"))
    rows = (
        (kind, one.uid, provider, one.external_id, one.parent, orjson.dumps(one.said).decode(), one.retired_on)
        for one in sources
    )
    columns = ("kind", "uid", "provider", "external_id", "parent", "said", "retired_on")
    copy_rows(session, "told", columns, copy_lines(rows))
    session.execute(
        text(
            "INSERT INTO source_records SELECT * FROM told ON CONFLICT (kind, uid) DO UPDATE SET"
            " (provider, external_id, parent, said, retired_on) = ROW(excluded.provider, excluded.external_id,"
            " excluded.parent, excluded.said, excluded.retired_on)"
        )
    )


def vanished(
    session: AnySession, job_id: str, provider: str, kind: str, seen: Iterable[str], *, whole: bool
) -> list[Source]:
    """What the provider told of before and no longer: of everything when the fetch was `whole`, else of the records it
    did tell (a person who left one company of two). `seen` are the uids that this run found; a wrong record is there.
    """
    session.execute(text("DROP TABLE IF EXISTS pg_temp.seen"))
    session.execute(text('CREATE TEMPORARY TABLE seen (uid text COLLATE "C" PRIMARY KEY) ON COMMIT DROP'))
    copy_rows(session, "seen", ("uid",), copy_lines((uid,) for uid in seen))
    told = " AND external_id IN (SELECT external_id FROM sync_staged WHERE job_id = :job AND kind = :kind)"
    query = text(
        "SELECT uid FROM source_records WHERE provider = :provider AND kind = :kind AND retired_on IS NULL"  # noqa: S608
        f"{'' if whole else told} EXCEPT SELECT uid FROM seen"
    )
    values = {"job": job_id, "kind": kind, "provider": provider}
    rows = session.execute(
        text("SELECT uid, external_id, parent, said FROM source_records WHERE kind = :kind AND uid = ANY(:uids)"),
        {"kind": kind, "uids": list(session.scalars(query, values))},
    )
    found = [Source(row.uid, row.external_id, row.parent, row.said) for row in rows]
    bad = set(wrong(session, job_id, kind)) if found else set()
    return sorted((one for one in found if one.external_id not in bad), key=lambda one: one.uid)


def entries_gone(session: AnySession, provider: str, tickets: Iterable[str], seen: Iterable[str]) -> list[Source]:
    """The time entries of these tickets (the provider's ids), told whole, that are no longer among them."""
    query = text(
        "SELECT uid, external_id, parent, said FROM source_records WHERE provider = :provider"
        " AND kind = 'time_entries' AND retired_on IS NULL AND parent = ANY(:tickets) AND NOT uid = ANY(:seen)"
        " ORDER BY uid"
    )
    values = {"provider": provider, "tickets": list(tickets), "seen": list(seen)}
    return [Source(row.uid, row.external_id, row.parent, row.said) for row in session.execute(query, values)]


def accounts_of_tickets(session: AnySession, uids: Sequence[str]) -> dict[str, str]:
    rows = session.execute(text("SELECT uid, account_number FROM tickets WHERE uid = ANY(:uids)"), {"uids": list(uids)})
    return {row.uid: row.account_number for row in rows}


def entries_of(session: AnySession, tickets: Sequence[str]) -> dict[str, list[Entry]]:
    """The entries of tickets, oldest first."""
    query = text(
        "SELECT uid, ticket_uid, worked_on, hours, billable FROM time_entries WHERE ticket_uid = ANY(:tickets)"
        " ORDER BY ticket_uid, worked_on, length(uid), uid"
    )
    found: dict[str, list[Entry]] = {}
    for row in session.execute(query, {"tickets": list(tickets)}):
        found.setdefault(row.ticket_uid, []).append(Entry(*row))
    return found


def doubles(
    session: AnySession, kind: str, column: str, pairs: Iterable[tuple[str, str]], *, provider: str, today: date
) -> dict[tuple[str, str], tuple[str, str]]:
    """Of (account, name or address in small letters): who stands there already, and where that came from."""
    accounts, names = zip(*sorted(pairs), strict=True)
    query = text(
        f"SELECT t.account_number, lower(t.{column}), t.uid, coalesce(r.provider, 'files or by hand') FROM {kind} t"  # noqa: S608
        " LEFT JOIN source_records r ON r.kind = :kind AND r.uid = t.uid"
        " WHERE r.provider IS DISTINCT FROM :provider AND (t.active_to IS NULL OR t.active_to >= :today)"
        f" AND (t.account_number, lower(t.{column})) IN (SELECT * FROM unnest(:accounts, :names))"
    )
    values = {"kind": kind, "provider": provider, "today": today}
    rows = session.execute(query, values | {"accounts": list(accounts), "names": list(names)})
    return {(row[0], row[1]): (row[2], row[3]) for row in rows}
