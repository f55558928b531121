"""How the log grew, for those who watch it: checkpoints, consistency between them, and when all was verified last."""

from contextlib import suppress
from typing import Any

from hivematrix_common import clock
from hivematrix_common.database import AnySession
from hivematrix_common.domain import merkle
from hivematrix_common.domain.note import encode
from hivematrix_common.errors import FieldError, Problem
from hivematrix_common.tables import Column, Listing, Table
from sqlalchemy import Engine
from sqlalchemy.exc import SQLAlchemyError

from hivematrix_archive.services.reading import shown
from hivematrix_archive.store import growth as store
from hivematrix_archive.store import log as log_store

CHECKPOINTS = Table(
    name="checkpoints",
    caption="Signed checkpoints",
    nouns=("checkpoint", "checkpoints"),
    key="number",
    sort="-number",
    columns=(
        Column("number", "Number"),
        Column("size", "Entries", kind="number"),
        Column("before", "Covers first", sortable=False),
        Column("signed_at", "Signed", kind="instant", sortable=False),
        Column("root", "Root", sortable=False, priority=3),
    ),
)


def checkpoints(session: AnySession, after: int, limit: int) -> dict[str, Any]:
    """A page of the signed notes in their order; with how many entries are stored."""
    rows = store.checkpoints_after(session, after, limit + 1)
    page = [shown(row._asdict()) for row in rows[:limit]]
    more = page[-1]["id"] if len(rows) > limit else None
    return {"checkpoints": page, "next": more, "entries": store.number_of_entries(session)}


def consistency(session: AnySession, old: int, new: int) -> dict[str, Any]:
    """The proof (RFC 9162) that the log of `old` entries is a prefix of the one of `new`; no size is above the newest
    signed one.
    """
    if old > new:
        message = f"expected a size of at most {new}, which `to` is"
        raise Problem("invalid", f"from: {message}.", fields=[FieldError("from", message)])
    signed, _ = store.newest_size(session)
    if new > signed:
        raise Problem("not_found", f"No checkpoint of {new} entries or more is signed; the newest has {signed}.")
    proof = merkle.consistency_proof(old, new, log_store.stored_nodes(session))
    return {"from": old, "to": new, "proof": [encode(one) for one in proof]}


def listing(session: AnySession) -> Listing:
    """Every checkpoint, as the address asks for them."""
    return CHECKPOINTS.of_query(session, store.checkpoint_rows())


def verified(session: AnySession) -> dict[str, Any] | None:
    """The last full verify: `at`, `entries`, `bad_index` and `why` (null when all was good), and `since`: how many
    documents were sealed after it. None when there never was one.
    """
    row = store.last_verification(session)
    return row._asdict() | {"since": store.newest_size(session)[1] - row.snapshots} if row else None


def note_verified(engine: Engine, entries: int, bad: tuple[int, str] | None = None) -> None:
    """Keep what a full verify of `entries` found; `bad`: the first bad one, and why.

    A database that takes nothing, such as one restored to be looked at, is verified all the same.
    """
    with suppress(SQLAlchemyError), engine.begin() as connection:
        store.add_verification(connection, clock.now(), entries, bad)
