"""Who did what to what, from where, and whether they might: one row a request, in the service's own database.

Every authenticated unsafe request and every refusal (401, 403, 429, a client's 404) leaves exactly one row. An act's
row is written by the first of the request's transactions that changed anything, right before its commit: act and row
are both there or neither. Any other row is written before the answer leaves; when the database takes none it stands in
the log, and is written as soon as the database does.
"""

import contextlib
import getpass
import json
import logging
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime
from typing import Any
from uuid import UUID, uuid4

import orjson
from flask import Flask, Response, current_app, g, has_request_context, request
from sqlalchemy import Connection, Engine, event
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session, scoped_session

from hivematrix_common import auth, clock, logs
from hivematrix_common.failpoints import failpoint
from hivematrix_common.tokens import masked
from hivematrix_common.transactions import transaction_beside

REFUSALS = {401, 403, 429}
NOT_FOUND, FIRST_FAULT = 404, 400
LONGEST = 300
WAITING, AT_ONCE = 10_000, 1000
LOCK = "hashtextextended('hivematrix-audit', 0)"
# Whoever adds a row holds this lock, shared, from before its id is drawn until the commit. A reader that gets it for
# itself alone knows that no smaller id can appear any more.
_ADD = f"""
SELECT pg_advisory_xact_lock_shared({LOCK}) WHERE {{when}};
INSERT INTO audit.entries (uid, at, service, actor, actor_kind, role, action, target, outcome, status, address,
    trace_id, details)
SELECT %(uid)s::uuid, %(at)s, %(service)s, %(actor)s, %(actor_kind)s, %(role)s, %(action)s, %(target)s, %(outcome)s,
    %(status)s::smallint, %(address)s, %(trace_id)s, %(details)s::jsonb
WHERE {{when}} ON CONFLICT (uid) DO NOTHING
"""
_ANYWAY = _ADD.format(when="true")
# A transaction has a number once it has changed something.
_WITH_CHANGES = _ADD.format(when="pg_current_xact_id_if_assigned() IS NOT NULL")
# A client's transaction runs as a role that may add nothing; the row is the last thing in it.
_AS_SERVICE = "SET LOCAL ROLE NONE;"
_NOTE_USE = """
INSERT INTO audit.token_uses (token_id, used_at, address) VALUES (%(token_id)s, %(used_at)s, %(address)s)
ON CONFLICT (token_id) DO UPDATE SET used_at = excluded.used_at, address = excluded.address
WHERE token_uses.used_at < excluded.used_at
"""
_log = logging.getLogger("hivematrix.audit")
Detail = str | int | bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A row. `actor_kind`: person, service, job (the timer's and queued work), command (the command line), unknown."""

    service: str
    action: str
    actor: str | None
    actor_kind: str
    role: str | None = None
    target: str | None = None
    outcome: str = "allowed"
    status: int | None = None
    address: str | None = None
    details: Mapping[str, Detail] = field(default_factory=dict)
    trace_id: str | None = field(default_factory=lambda: logs.trace_id() or None)
    at: datetime = field(default_factory=clock.now)
    uid: UUID = field(default_factory=uuid4)


@dataclass(slots=True)
class _Act:
    """What is known of the present request's row."""

    uid: UUID = field(default_factory=uuid4)
    actor: tuple[str, str | None] | None = None
    target: str | None = None
    outcome: str = "allowed"
    details: dict[str, Detail] = field(default_factory=dict)
    written: bool = False
    apart: bool = False


def about(
    target: str | None = None,
    *,
    person: str | None = None,
    role: str | None = None,
    outcome: str | None = None,
    **details: Any,
) -> None:
    """Say more of the present request's row, before its commit: never a secret.

    `target` is the path without it. `person` (with `role`) is who acts on a public route, such as the sign-in.
    `outcome="refused"` marks a refusal that is answered in another way than with 401, 403 or 429.
    """
    act = _act()
    act.target = target or act.target
    act.actor = (person, role) if person else act.actor
    act.outcome = outcome or act.outcome
    act.details |= details


def done(session: Session | scoped_session[Any], command: str, target: str | None = None, **details: Any) -> None:
    """Say what is being done to what, by the present request or, outside of one, by a command; before the commit."""
    if has_request_context():
        about(target, **details)
        return
    entry = Entry(
        service=current_app.settings.service_name,  # type: ignore[attr-defined]
        action=command,
        actor=getpass.getuser(),
        actor_kind="command",
        target=target,
        details=details,
    )
    record(session.connection(), entry)


def record(connection: Connection, entry: Entry) -> None:
    """Add a row for work outside of a request, in the transaction of its act."""
    _add(connection, _ANYWAY, entry)


def init_audit(app: Flask) -> None:
    """To be called before others that watch requests, so that its row is the last thing that a request does."""
    app.extensions["hivematrix_audit"] = deque(maxlen=WAITING)
    app.extensions["hivematrix_note_use"] = note_use

    @app.before_request
    def begin() -> None:
        g.pop("caller", None)
        g.audit = _Act()

    @app.after_request
    def finish(response: Response) -> Response:
        outcome = _outcome(response.status_code)
        done = _act().written and response.status_code < FIRST_FAULT
        if outcome and not done and "hivematrix_db" in app.extensions:
            _keep(_entry(outcome, response))
        return response


def listen(engine: Engine) -> None:
    """Have every transaction of a request on `engine` carry the request's row once it changed something."""

    @event.listens_for(engine, "commit")
    def add(connection: Connection) -> None:
        if has_request_context() and _is_act() and not (_act().written or _act().apart):
            _act().written = _add(connection, _AS_SERVICE + _WITH_CHANGES, _entry(_act().outcome))
            failpoint("audit-added")

    @event.listens_for(engine, "rollback")
    def forget(_connection: Connection) -> None:
        # Perhaps it was another's rollback: the row is then added once more and, having the same uid, ignored.
        if has_request_context():
            _act().written = False


def flush() -> bool:
    """Write the rows that wait, in a transaction of their own; False when the database takes none now."""
    waiting: deque[Entry] = current_app.extensions["hivematrix_audit"]
    taken: list[Entry] = []
    if not waiting:
        return True
    if not _enter_gate():
        return False
    with contextlib.suppress(IndexError):
        while len(taken) < AT_ONCE:
            taken.append(waiting.popleft())
    try:
        with _apart() as connection:
            for entry in taken:
                _add(connection, _ANYWAY, entry)
    except SQLAlchemyError:
        waiting.extendleft(reversed(taken))
        return False
    return True


def note_use(token_id: str, address: str | None) -> None:
    """Keep when and from where a token was last used; left out while the database is busy or away."""
    if "hivematrix_db" not in current_app.extensions or not _enter_gate():
        return
    with contextlib.suppress(SQLAlchemyError), _apart() as connection:
        connection.exec_driver_sql(_NOTE_USE, {"token_id": token_id, "used_at": clock.now(), "address": address})


@contextlib.contextmanager
def _apart() -> Iterator[Connection]:
    """A transaction beside the request's, which carries no act's row."""
    _act().apart = True
    try:
        with transaction_beside(current_app.extensions["hivematrix_db"].session) as connection:
            connection.exec_driver_sql(_AS_SERVICE)
            yield connection
    finally:
        _act().apart = False


def _keep(entry: Entry) -> None:
    if _act().written:
        # It was not committed, perhaps: nobody is to wait for a row that this very request holds.
        current_app.extensions["hivematrix_db"].session.rollback()
    current_app.extensions["hivematrix_audit"].append(entry)
    if not flush():
        told = {name: value for name, value in asdict(entry).items() if name not in {"trace_id", "service"}}
        _log.warning("audit row waits for the database", extra={"entry": told})


def _add(connection: Connection, statement: str, entry: Entry) -> bool:
    texts = {name: _plain(getattr(entry, name)) for name in ("actor", "role", "action", "target", "address")}
    details = json.dumps({name: _plain(value) for name, value in entry.details.items()})
    rest = {name: getattr(entry, name) for name in ("at", "service", "actor_kind", "outcome", "status", "trace_id")}
    values = {"uid": str(entry.uid), "details": details, **texts, **rest}
    return bool(connection.exec_driver_sql(statement, values).rowcount)


def _plain(value: Detail) -> Detail:
    """PostgreSQL keeps no NUL, and a row need not hold what somebody made long."""
    return masked(value.replace("\0", "\ufffd"))[:LONGEST] if isinstance(value, str) else value


def _act() -> _Act:
    if "audit" not in g:
        g.audit = _Act()
    found: _Act = g.audit
    return found


def _is_act() -> bool:
    known = auth.signed_in() is not None or _act().actor is not None
    return known and request.method not in auth.SAFE_METHODS


def _outcome(status: int) -> str | None:
    """What the row says of an answer; None when there is to be no row."""
    # To a client what belongs to others does not exist.
    foreign = auth.own_account() is not None and status == NOT_FOUND
    if status in REFUSALS or _act().outcome == "refused" or foreign:
        return "refused"
    if not _is_act():
        return None
    return _act().outcome if status < FIRST_FAULT else "failed"


def _entry(outcome: str, response: Response | None = None) -> Entry:
    act, rule = _act(), request.url_rule
    entry = Entry(
        service=current_app.settings.service_name,  # type: ignore[attr-defined]
        action=f"{request.method} {rule.rule if rule else request.path}",
        actor=None,
        actor_kind="unknown",
        target=act.target or request.path,
        outcome=outcome,
        status=response.status_code if response else None,
        address=request.remote_addr,
        details=act.details | _told(response),
        uid=act.uid,
    )
    caller = auth.signed_in()
    if caller is not None:
        return replace(entry, actor=caller.name, actor_kind=caller.kind, role=caller.role)
    if act.actor is not None:
        return replace(entry, actor=act.actor[0], actor_kind="person", role=act.actor[1])
    return entry


def _told(response: Response | None) -> dict[str, Detail]:
    """The request's idempotency key, by which a job's calls are known, and the code of a refusal."""
    found: dict[str, Detail] = {}
    if key := request.headers.get("Idempotency-Key"):
        found["idempotency_key"] = key
    if response is not None and response.mimetype == "application/problem+json":
        found["code"] = orjson.loads(response.get_data())["code"]
    return found


def _enter_gate() -> bool:
    """Whether this request may do database work now; it leaves the gate with its end."""
    if not g.get("in_gate"):
        g.in_gate = current_app.extensions["hivematrix_gate"].acquire(blocking=False)
    return bool(g.in_gate)
