"""The archive's log watched from outside: every checkpoint kept, each compared with the one before, changes told.

Three things hold of the log as long as nobody meddles with it: it never gets shorter, a longer one holds the shorter
one, and all entries are signed. It is watched under the keys of the first look; another key counts when a known one
vouched for it in the same checkpoint.
"""

import logging
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

from hivematrix_common import clock, metrics
from hivematrix_common.clock import instant_text
from hivematrix_common.domain.checkpoint import parse_kept
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.note import VerifierKey
from hivematrix_common.durable import append_file, write_file
from hivematrix_common.errors import Problem
from hivematrix_common.signatures import check_signature
from prometheus_client import Gauge

from hivematrix_helm.clients import ArchiveLog, Log
from hivematrix_helm.config import HelmSettings
from hivematrix_helm.domain import witness as domain
from hivematrix_helm.domain.witness import ALERTS, SILENT, FindingError, Held, State
from hivematrix_helm.services import audited
from hivematrix_helm.store import session
from hivematrix_helm.store import witness as store

FILE = "checkpoints"
FIRST, UNSIGNED = "first look", "the empty log was named anew"
SHOWN = 20
_log = logging.getLogger("hivematrix.helm")


def log_of(settings: HelmSettings) -> Log:
    """The log to watch: that of the configured archive."""
    return ArchiveLog(settings)


def look(log: Log, directory: Path | None, goes_on: Callable[[], bool] = lambda: True) -> None:
    """Take over what was signed since the last look, and compare. What changed is written down, logged and told."""
    found, seen = FindingError(State.GOOD, "the log holds all that was signed before"), True
    try:
        _take_over(log, goes_on)
    except FindingError as error:
        found = error
    except (Problem, KeyError, TypeError, ValueError) as error:
        seen, found = False, _silence(str(error))
    fault = None
    if directory:
        found, fault = _copied(directory, found)
    store.looked(clock.now(), seen=seen, directory_fault=fault)
    _note(found)
    session().commit()


def _take_over(log: Log, goes_on: Callable[[], bool]) -> None:
    """FindingError when the log is not what is held of it; what was good before that is kept."""
    number = store.beginning()
    held = store.newest(number) if number else None
    if (tip := log.newest()) is None:
        if held:
            raise FindingError(State.SHORTER, f"the log is gone, and {held.checkpoint.size} entries were signed before")
        raise FindingError(State.WAITING, "the log is not begun")
    keys = _offered(log, tip)
    if number is None or held is None or not held.checkpoint.size:
        number, held = _begin(number, held, keys)
    entries, more, after = 0, True, held.archive_id if held else 0
    while more and goes_on():
        page = log.checkpoints(after)
        for row in page["checkpoints"]:
            held, after = _accept(number, held, row, log), row["id"]
        session().commit()
        entries, more = page["entries"], page["next"] is not None
    _compare_newest(number, held, entries, log)


def _offered(log: Log, note: str) -> list[VerifierKey]:
    try:
        return log.keys()
    except DomainError as error:
        raise FindingError(State.DIFFERENT, f"the log's keys are not readable: {error.message}", note) from None


def _begin(number: int | None, held: Held | None, keys: list[VerifierKey]) -> tuple[int, Held | None]:
    """The first look; while nothing is sealed the empty log may still be given another name and key."""
    if number is not None and store.keys(number) == keys:
        return number, held
    return store.begin(FIRST if number is None else UNSIGNED, keys, clock.now()), None


def _accept(number: int, held: Held | None, row: dict[str, Any], log: Log) -> Held | None:
    """Keep the next checkpoint, once it is known to be the log's and to follow the one before.

    The empty log may have had another name before; that it was empty needs no proof.
    """
    note, known = str(row["note"]), store.keys(number)
    if held is None and domain.is_of_another_name(note, known):
        return None
    found = domain.read(note, domain.may_sign(known, held), check_signature)
    domain.follow(held.checkpoint if held else None, found, log.proof, note)
    for key in domain.vouched(note, known, _offered(log, note), check_signature):
        store.add_key(number, key, clock.now())
    store.keep(number, int(row["id"]), found.size, note, clock.now())
    return Held(int(row["id"]), found, note)


def _compare_newest(number: int, held: Held | None, entries: int, log: Log) -> None:
    """What is served to everybody is of the same log, and covers every entry there is."""
    note = log.newest() or ""
    if held and note != held.note and store.holds(number, note):
        raise domain.taken_back(held.checkpoint, note)
    found = domain.read(note, domain.may_sign(store.keys(number), held), check_signature)
    domain.follow(held.checkpoint if held else None, found, log.proof, note)
    if found.size < entries:
        detail = f"{entries} entries are stored, and the newest checkpoint signs {found.size}"
        raise FindingError(State.STALE, detail, note)


def _silence(reason: str) -> FindingError:
    """Not seen for long is an alert; for a while it is none, and what was found last stands."""
    found, last = store.look(), store.last_finding()
    since = (found.seen_at or found.began_at) if found else clock.now()
    if clock.now() - since > SILENT:
        return FindingError(State.STALE, f"not seen since {instant_text(since)}: {reason}")
    if found is None or found.seen_at == found.looked_at:
        _log.warning("log not seen", extra={"reason": reason})
    return FindingError(State(last.state), last.detail) if last else FindingError(State.WAITING, reason)


def _copied(directory: Path, found: FindingError) -> tuple[FindingError, str | None]:
    """What was found with the directory's copy looked at too; and why it could not be written."""
    try:
        _copy(directory)
    except FindingError as error:
        return (found if found.state in ALERTS else error), None
    except OSError as error:
        fault, last = f"{error.filename or directory}: {error.strerror}", store.look()
        if last is None or last.directory_fault != fault:
            _log.warning("checkpoints not copied", extra={"reason": fault})
        return found, fault
    return found, None


def _copy(directory: Path) -> None:
    """Bring the directory's file up to what is held; FindingError when it holds what Helm does not."""
    path, held = directory / FILE, store.notes()
    try:
        there, torn = parse_kept(path.read_text(encoding="utf-8")) if path.exists() else ([], "")
    except DomainError as error:
        raise FindingError(State.DIFFERENT, f"{path}: {error}") from None
    strange = next((at for at, note in enumerate(there) if at >= len(held) or note != held[at]), None)
    if strange is not None:
        raise FindingError(State.DIFFERENT, f"{path}: checkpoint {strange + 1} is not what Helm holds", there[strange])
    if torn:
        write_file(path, "".join(f"{note}\n" for note in held))
    elif len(held) > len(there):
        append_file(path, "".join(f"{note}\n" for note in held[len(there) :]).encode())


def _note(found: FindingError) -> None:
    """Write down and log a change, and nothing of what is as it was."""
    last = store.last_finding()
    before = (State(last.state), last.detail) if last else (State.WAITING, "")
    if found.state is State.WAITING or (found.state, found.detail) == before:
        return
    store.add_finding(found.state, found.detail, found.note, clock.now())
    if found.state in ALERTS:
        extra = {"alert": f"witness_{found.state}", "reason": found.detail}
        _log.critical("the archive's log is not as it was seen", extra=extra)
    else:
        _log.info("the archive's log is as it was seen")


def restart(log: Log, reason: str) -> None:
    """Watch the log under the keys it has now, after a loss that is understood; what was held and found before stays.

    PeerError when the archive does not answer.
    """
    store.begin(reason, log.keys(), clock.now())
    audited.done("watch the log anew", "log", reason=reason)
    session().commit()


def found() -> tuple[State, str]:
    """How the log stood when it was looked at last, for the alert rules."""
    last = store.last_finding()
    return (State(last.state), last.detail) if last else (State.WAITING, "nothing was seen of the log yet")


def state(directory: Path | None) -> dict[str, Any]:
    """How the log stands, as Helm saw it last."""
    number, last, found = store.beginning(), store.last_finding(), store.look()
    held = store.newest(number) if number else None
    recent = [{"at": _text(row.at), "state": row.state, "detail": row.detail} for row in store.last_findings(SHOWN)]
    return {
        "state": last.state if last else State.WAITING,
        "alert": bool(last and last.state in ALERTS),
        "detail": last.detail if last else "nothing was seen of the log yet",
        "since": _text(last.at) if last else None,
        "seen_at": _text(found.seen_at) if found else None,
        "looked_at": _text(found.looked_at) if found else None,
        "origin": held.checkpoint.origin if held else None,
        "size": held.checkpoint.size if held else None,
        "checkpoints": store.count(),
        "keys": [str(key) for key in store.keys(number)] if number else [],
        "directory": str(directory) if directory else None,
        "directory_fault": found.directory_fault if found else None,
        "findings": recent,
    }


class Gauges:
    """What the last look found, among the service's metrics."""

    def __init__(self, known: metrics.Metrics) -> None:
        self._alert = Gauge("hm_witness_alert", "1: the archive's log is not as it was seen", registry=known.registry)
        self._size = Gauge("hm_witness_size", "Entries under the newest checkpoint held", registry=known.registry)
        self._seen = Gauge("hm_witness_seen", "When the log was seen last, as a Unix time", registry=known.registry)

    def set(self, state: dict[str, Any]) -> None:
        self._alert.set(state["alert"])
        self._size.set(state["size"] or 0)
        seen = state["seen_at"]
        self._seen.set(clock.parse_instant(seen).timestamp() if seen else 0)


def _text(at: datetime | None) -> str | None:
    return instant_text(at) if at else None
