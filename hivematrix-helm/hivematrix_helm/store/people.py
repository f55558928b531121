"""Accounts and their recovery codes."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from hivematrix_common.database import advisory_xact_lock
from sqlalchemy import Row, Select, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_new

from hivematrix_helm.models import people, recovery_codes, sessions
from hivematrix_helm.store import session

Person = Row[Any]


def named(name: str) -> Person | None:
    return session().execute(select(people).where(people.c.name == name)).one_or_none()


def of_id(person_id: int, *, lock: bool = False) -> Person | None:
    """With `lock` nobody else changes the account until the transaction ends."""
    query = select(people).where(people.c.id == person_id)
    return session().execute(query.with_for_update(key_share=True) if lock else query).one_or_none()


def listing() -> Select[Any]:
    """Every account, with when the person was last seen."""
    seen = select(func.max(sessions.c.seen_at)).where(sessions.c.person_id == people.c.id).scalar_subquery()
    return select(
        people.c.name,
        people.c.display_name,
        people.c.role,
        people.c.account_number,
        people.c.totp_secret.is_not(None).label("second_factor"),
        people.c.must_change,
        people.c.disabled_at,
        people.c.created_at,
        seen.label("seen_at"),
    )


def everybody() -> Sequence[Person]:
    return session().execute(listing().order_by(people.c.name)).all()


def count_by_role() -> dict[str, int]:
    """Of those who are not disabled."""
    active = select(people.c.role, func.count()).where(people.c.disabled_at.is_(None)).group_by(people.c.role)
    return {str(role): int(count) for role, count in session().execute(active)}


def one_listed(name: str) -> Person | None:
    return session().execute(listing().where(people.c.name == name)).one_or_none()


def add(**values: Any) -> bool:
    """False when the name is taken."""
    statement = insert_new(people).values(**values).on_conflict_do_nothing(index_elements=["name"])
    return session().execute(statement.returning(people.c.id)).one_or_none() is not None


def change(person_id: int, **values: Any) -> None:
    session().execute(update(people).where(people.c.id == person_id).values(**values))


def lock_administrators() -> None:
    """Nobody else makes or unmakes administrators until the transaction ends."""
    advisory_xact_lock(session(), "administrators")


def another_administrator(person_id: int) -> bool:
    """Whether somebody else could administer."""
    active = (people.c.role == "admin") & people.c.disabled_at.is_(None) & (people.c.id != person_id)
    return session().execute(select(people.c.id).where(active).limit(1)).one_or_none() is not None


def use_step(person_id: int, step: int) -> bool:
    """Take a one-time code's step; False when it, or a later one, was taken before."""
    fresh = (people.c.id == person_id) & (people.c.totp_last_step < step)
    statement = update(people).where(fresh).values(totp_last_step=step).returning(people.c.id)
    return session().execute(statement).one_or_none() is not None


def replace_recovery_codes(person_id: int, digests: Iterable[bytes]) -> None:
    session().execute(delete(recovery_codes).where(recovery_codes.c.person_id == person_id))
    rows = [{"person_id": person_id, "digest": digest} for digest in digests]
    if rows:
        session().execute(insert(recovery_codes), rows)


def use_recovery_code(person_id: int, digest: bytes, at: datetime) -> bool:
    """False when there is no such code, or none that is unused."""
    codes = recovery_codes.c
    unused = (codes.person_id == person_id) & (codes.digest == digest) & codes.used_at.is_(None)
    statement = update(recovery_codes).where(unused).values(used_at=at).returning(codes.digest)
    return session().execute(statement).one_or_none() is not None


def unused_recovery_codes(person_id: int) -> int:
    unused = (recovery_codes.c.person_id == person_id) & recovery_codes.c.used_at.is_(None)
    return session().execute(select(func.count()).select_from(recovery_codes).where(unused)).scalar_one()
