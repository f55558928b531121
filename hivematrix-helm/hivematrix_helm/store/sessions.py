"""Sessions, and the codes that carry them to other host names."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement, Row, delete, func, insert, select, text, update

from hivematrix_helm.domain.sessions import IDLE
from hivematrix_helm.models import hand_over_codes, people, sessions
from hivematrix_helm.store import session

KEPT = timedelta(days=30)


def hurry() -> None:
    """Whoever asks in this transaction has a second, as other services give Helm."""
    session().execute(text("SET LOCAL statement_timeout = '1s'"))


def add(**values: Any) -> None:
    """A new session; those that ended long ago go."""
    session().execute(delete(sessions).where(sessions.c.ends_at < values["created_at"] - KEPT))
    session().execute(insert(sessions).values(**values))


def with_person(sid: str) -> Row[Any] | None:
    """The session and its person's name, role and so on."""
    query = select(sessions, people).join(people, people.c.id == sessions.c.person_id).where(sessions.c.sid == sid)
    return session().execute(query).one_or_none()


def seen(sid: str, at: datetime) -> None:
    session().execute(update(sessions).where(sessions.c.sid == sid).values(seen_at=at))


def alive_of(person_id: int, at: datetime) -> Sequence[Row[Any]]:
    """The person's living sessions, the one last seen first."""
    its = (sessions.c.person_id == person_id) & _alive(at)
    return session().execute(select(sessions).where(its).order_by(sessions.c.seen_at.desc(), sessions.c.sid)).all()


def count(at: datetime) -> int:
    return session().execute(select(func.count()).select_from(sessions).where(_alive(at))).scalar_one()


def revoke(person_id: int, why: str, at: datetime, *, sid: str | None = None, but: str | None = None) -> int:
    """End the person's sessions: one (`sid`), or all `but` one. How many ended."""
    wanted = (sessions.c.person_id == person_id) & sessions.c.revoked_at.is_(None)
    if sid is not None:
        wanted &= sessions.c.sid == sid
    if but is not None:
        wanted &= sessions.c.sid != but
    done = session().execute(update(sessions).where(wanted).values(revoked_at=at, revoked_why=why))
    return int(done.rowcount)  # type: ignore[attr-defined]


def revoked_since(at: datetime) -> set[str]:
    return set(session().execute(select(sessions.c.sid).where(sessions.c.revoked_at > at)).scalars())


def add_code(digest: bytes, sid: str, service: str, at: datetime) -> None:
    """A new code; those of yesterday go."""
    session().execute(delete(hand_over_codes).where(hand_over_codes.c.made_at < at - timedelta(days=1)))
    session().execute(insert(hand_over_codes).values(digest=digest, sid=sid, service=service, made_at=at))


def use_code(digest: bytes, service: str, at: datetime, lives: timedelta) -> str | None:
    """The session a code stands for, once; None when it is unknown, used, too old or another service's."""
    codes = hand_over_codes.c
    good = (
        (codes.digest == digest) & (codes.service == service) & codes.used_at.is_(None) & (codes.made_at > at - lives)
    )
    statement = update(hand_over_codes).where(good).values(used_at=at).returning(codes.sid)
    return session().execute(statement).scalar_one_or_none()


def _alive(at: datetime) -> ColumnElement[bool]:
    columns = sessions.c
    return columns.revoked_at.is_(None) & (columns.ends_at > at) & (columns.seen_at > at - IDLE)
