"""Sealed bills computed again by the engine that made them: the same inputs have to give the same bytes."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import orjson
from hivematrix_common.config import Settings
from hivematrix_common.domain.canonical import canonical
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import Problem
from hivematrix_common.peers import PeerError
from sqlalchemy import Engine

from hivematrix_archive.clients import Ledger, Replays
from hivematrix_archive.domain.bill import differences
from hivematrix_archive.store import replaying as store

PAGE, AT_ONCE = 50, 2
Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True)
class Replayed:
    """What became of one bill: `same`, `erased` (there is nothing to compute from), or `different` with why."""

    invoice_number: str
    outcome: str
    engine: int | None = None
    why: str | None = None
    differences: list[dict[str, Any]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        told = {"invoice_number": self.invoice_number, "outcome": self.outcome, "engine": self.engine}
        return told | {"why": self.why, "differences": self.differences}


def replay(
    engine: Engine, ledger: Replays, progress: Progress, invoices: Sequence[str] = (), period: Period | None = None
) -> Iterator[Replayed]:
    """Each bill asked for, in the order of the log: these invoices, a period's, or all.

    Problem(not_found) when one of `invoices` is not sealed; PeerError when Ledger does not answer.
    """
    with engine.connect() as connection:
        total, done, after = store.count(connection, invoices, period), 0, -1
    if total < len(set(invoices)):
        raise Problem("not_found", "Not every one of these invoices is sealed.")
    with ThreadPoolExecutor(AT_ONCE, thread_name_prefix="replay") as pool:
        while True:
            with engine.connect() as connection:
                rows = store.page(connection, invoices, period, after, PAGE)
            if not rows:
                return
            yield from pool.map(lambda row: _replay(ledger, row.invoice_number, bytes(row.body)), rows)
            after, done = rows[-1].log_index, done + len(rows)
            progress(done, total)


def ledger(settings: Settings) -> Replays:
    """The configured one."""
    return Ledger(settings)


def _replay(ledger: Replays, number: str, body: bytes) -> Replayed:
    if not body:
        return Replayed(number, "erased")
    sealed = orjson.loads(body)
    version = sealed["engine"].get("version") if isinstance(sealed["engine"], dict) else None
    if type(version) is not int:
        return Replayed(number, "different", None, "it does not say which version of an engine made it")
    try:
        return _compared(number, body, sealed, ledger.replay(version, sealed["inputs"]))
    except PeerError as error:
        if error.retryable:
            raise
        return Replayed(number, "different", version, error.detail)
    except DomainError as error:
        return Replayed(number, "different", version, f"ledger's answer is no document: {error}")


def _compared(number: str, body: bytes, sealed: dict[str, Any], made: dict[str, Any]) -> Replayed:
    version = sealed["engine"]["version"]
    if canonical(made) == body:
        return Replayed(number, "same", version)
    if "status" in made:
        return Replayed(number, "different", version, f"the engine makes no bill of it: {made.get('reason')}")
    told = [one | {"made": one.pop("sent")} for one in differences(sealed, made)]
    return Replayed(number, "different", version, _first(told), told)


def _first(told: list[dict[str, Any]]) -> str:
    one = told[0] if told else {"pointer": "/"}
    more = f", and {len(told) - 1} more" if len(told) > 1 else ""
    return f"{one['pointer']} differs{more}"
