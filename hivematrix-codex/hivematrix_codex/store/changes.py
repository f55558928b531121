"""Facts that people change by hand, and the history that the database keeps of every change (`begin` says whose)."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

import orjson
from hivematrix_common.database import AnySession
from sqlalchemy import Table as Stored
from sqlalchemy import Text, and_, cast, func, insert, literal_column, select, text, update
from sqlalchemy.dialects.postgresql import insert as upsert
from sqlalchemy.sql.selectable import Select

from hivematrix_codex.models import asset_contacts, contacts, db, fact_changes, plan_versions, seen

Document = dict[str, Any]
Key = tuple[Any, ...]
COUNTED: Final = 10_000
_TELL = text("SELECT set_config('hivematrix.change', :change, true)")
_SEEN = [fact_changes.c[name] for name in ("id", "at", "actor", "actor_kind", "action", "trace_id", "kind", "key")]


def begin(session: AnySession, *, actor: str, kind: str, action: str, trace_id: str | None, at: datetime) -> None:
    """Say who changes facts in this transaction, and how."""
    told = {"actor": actor, "actor_kind": kind, "action": action, "trace_id": trace_id, "at": at.isoformat()}
    session.execute(_TELL, {"change": orjson.dumps(told).decode()})


def table_of(kind: str) -> Stored:
    return db.metadata.tables[kind]


def held(session: AnySession, kind: str, key: Key, *, locked: bool = False) -> tuple[Document, str] | None:
    """A row and the digest of its state; `locked` until the transaction ends."""
    table = table_of(kind)
    digest = func.md5(literal_column(f"{kind}::text", Text)).label("digest")
    query = select(*(table.c[name] for name in seen(table)), digest).where(_same(table, key))
    row = session.execute(query.with_for_update(key_share=True) if locked else query).mappings().one_or_none()
    if row is None:
        return None
    found = {str(name): value for name, value in row.items()}
    return found, found.pop("digest")


def add(session: AnySession, kind: str, row: Mapping[str, Any]) -> None:
    session.execute(insert(table_of(kind)).values(**row))


def change(session: AnySession, kind: str, key: Key, values: Mapping[str, Any]) -> None:
    table = table_of(kind)
    session.execute(update(table).where(_same(table, key)).values(**values))


def assign(session: AnySession, asset: str, account: str, people: Sequence[str]) -> list[str]:
    """Make these the people of a machine; returns those who are no people of the company, and then changes nothing."""
    known = select(contacts.c.uid).where(contacts.c.account_number == account, contacts.c.uid.in_(people))
    strange = set(people) - set(session.scalars(known))
    if strange:
        return sorted(strange)
    link = asset_contacts.c
    others = and_(link.asset_uid == asset, link.active, link.contact_uid.not_in(people))
    session.execute(update(asset_contacts).where(others).values(active=False))
    for uid in people:
        row = {"asset_uid": asset, "contact_uid": uid, "account_number": account, "active": True}
        again = (
            upsert(asset_contacts)
            .values(**row)
            .on_conflict_do_update(
                index_elements=["asset_uid", "contact_uid"], set_={"active": True}, where=~link.active
            )
        )
        session.execute(again)
    return []


def people_of(session: AnySession, asset: str) -> list[Document]:
    """Whose machine it is."""
    link = asset_contacts.c
    query = select(contacts.c.uid, contacts.c.name).join(asset_contacts, link.contact_uid == contacts.c.uid)
    rows = session.execute(query.where(link.asset_uid == asset, link.active).order_by(contacts.c.uid))
    return [{"uid": row.uid, "name": row.name} for row in rows]


def history(
    session: AnySession,
    having: Mapping[str, Any],
    *,
    before: int | None = None,
    since: datetime | None = None,
    limit: int,
) -> list[Document]:
    """Changes, newest first: of an `account_number`, a `kind`, a `key`; those with a smaller id than `before`."""
    query = select(*_SEEN, fact_changes.c.before, fact_changes.c.after).where(*_having(having, since))
    if before is not None:
        query = query.where(fact_changes.c.id < before)
    rows = session.execute(query.order_by(fact_changes.c.id.desc()).limit(limit)).mappings()
    return [{str(name): value for name, value in row.items()} for row in rows]


def count_history(session: AnySession, having: Mapping[str, Any], since: datetime | None = None) -> int:
    """How many there are, up to one more than COUNTED."""
    some = select(fact_changes.c.id).where(*_having(having, since)).limit(COUNTED + 1).subquery()
    return session.scalar(select(func.count()).select_from(some)) or 0


def history_query(account: str) -> Select[Any]:
    """An account's changes for a page's table; both sides as text, to be searched."""
    change = fact_changes.c
    sides = [cast(change.before, Text).label("was"), cast(change.after, Text).label("is_now")]
    columns = [change.at, change.actor, change.actor_kind, change.action, change.kind, change.key]
    told = func.concat_ws(" ", change.key, *sides).label("what")
    number = func.lpad(cast(change.id, Text), 19, "0").label("id")
    return select(number, *columns, *sides, told).where(change.account_number == account)


def versions(session: AnySession, name: str | None = None, term: str | None = None) -> list[Document]:
    """Plan versions as they are stored."""
    plan = plan_versions.c
    some = [] if name is None else [plan.plan_name == name, plan.term == term]
    query = select(plan_versions).where(*some).order_by(plan.plan_name, plan.term, plan.valid_from.desc())
    return [{str(key): value for key, value in row.items()} for row in session.execute(query).mappings()]


def _having(having: Mapping[str, Any], since: datetime | None) -> list[Any]:
    found = [fact_changes.c[name] == value for name, value in having.items() if value is not None]
    return [*found, *([fact_changes.c.at >= since] if since else [])]


def _same(table: Stored, key: Key) -> Any:
    return and_(*(column == value for column, value in zip(table.primary_key.columns, key, strict=True)))
