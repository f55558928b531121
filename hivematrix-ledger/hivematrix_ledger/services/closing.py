"""Accepting a month from its page: what would be sealed, and the run that does it batch by batch.

A run is kept in the database: its page can be left and opened again, whoever asks for the same month meanwhile comes to
the same run, and one whose process died is taken up where it stood. Whatever is repeated is sealed once.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal
from typing import Any
from uuid import uuid4

from hivematrix_common import audit, clock
from hivematrix_common.domain.canonical import canonical, digest
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import Problem
from sqlalchemy import Row

from hivematrix_ledger import store
from hivematrix_ledger.services import Ledger, acceptance, board
from hivematrix_ledger.services.acceptance import Asked, Result
from hivematrix_ledger.store import runs

Document = dict[str, Any]
BATCH = 100
# A worker that noted nothing for so long is dead: a batch takes seconds.
LEASE = timedelta(minutes=2)
_STATUSES = ("sealed", "already", "skipped", "failed")
_PENDING = ("open", "findings", "sealing", "unrecorded")
# What the archive may have already is recorded as it is there.
_SENT = ("sealing", "unrecorded")


def plan(ledger: Ledger, period: Period) -> Document:
    """What accepting the whole month would seal, and who is left out. `shown` stands for exactly these bills."""
    acceptance.require_ended(ledger, period)
    rows = board.board(ledger, period)["companies"]
    held = [row for row in rows if ledger.insist and row["state"] == "findings"]
    pending = [row for row in rows if row["state"] in _PENDING and row not in held]
    bills = {row["account_number"]: None if row["state"] in _SENT else row["digest"] for row in pending}
    money: dict[str, Decimal] = defaultdict(Decimal)
    for row in pending:
        money[row["currency"]] += Decimal(row["totals"]["total"])
    return {
        "period": period,
        "bills": bills,
        "shown": digest(canonical(bills)),
        "money": sorted(money.items()),
        "held": held,
        "with_findings": [row for row in pending if row["findings"]],
        "unbillable": [row for row in rows if row["state"] == "unbillable"],
    }


def order(found: Document, shown: str, by: str) -> int | None:
    """The run that accepts the planned bills; None when none is left. Problem(conflict) when others were shown."""
    session, period = store.session(), str(found["period"])
    at_work = runs.at_work(session, period)
    if at_work is None and not found["bills"]:
        return None
    if at_work is None and shown != found["shown"]:
        raise Problem("conflict", "Bills changed since they were shown here. Look at them again, then decide.")
    audit.about(period, companies=len(found["bills"]))
    run_id = runs.add(session, period, found["bills"], by, clock.now())
    session.commit()
    return run_id


def work(ledger: Ledger, run_id: int) -> None:
    """Accept batch after batch until the run ends; nothing when another worker does. A fault leaves it to the next."""
    session, worker = store.session(), uuid4().hex
    run = runs.claim(session, run_id, worker, clock.now(), clock.now() - LEASE)
    session.commit()
    if run is None:
        return
    try:
        done = run.done
        while _accept_batch(ledger, run, done, (run_id, worker)):
            done += BATCH
    except BaseException:
        session.rollback()
        runs.release(session, run_id, worker)
        session.commit()
        raise


def progress(period: Period, run_id: int) -> Document:
    """Where a run of the month stands."""
    run = _run(period, run_id)
    now = run.ended_at or clock.now()
    return {
        "run": run,
        "period": period,
        "goes_on": run.ended_at is None,
        "is_alive": run.worker is not None and run.worked_at >= clock.now() - LEASE,
        "seconds": (now - run.started_at).total_seconds(),
    }


def at_work(period: Period) -> Document | None:
    """The month's run that goes on."""
    found = runs.at_work(store.session(), str(period))
    return None if found is None else progress(period, found)


def cancel(period: Period, run_id: int, by: str) -> None:
    """End a run after the batch it is at; what is sealed stays sealed."""
    _run(period, run_id)
    runs.cancel(store.session(), run_id, by, clock.now(), clock.now() - LEASE)
    store.session().commit()


def _run(period: Period, run_id: int) -> Row[Any]:
    found = runs.find(store.session(), run_id)
    if found is None or found.period != str(period):
        raise Problem("not_found", f"There is no run {run_id} of {period}.")
    return found


def _accept_batch(ledger: Ledger, run: Row[Any], done: int, held: tuple[int, str]) -> bool:
    """Whether there is more to do."""
    bills: Mapping[str, str | None] = run.bills
    accounts = sorted(bills)[done : done + BATCH]
    digests = {account: found for account in accounts if (found := bills[account])}
    results = acceptance.accept_page(ledger, Asked(Period.parse(run.period), run.asked_by, None, digests), accounts)
    counted = Counter(result.status for result in results)
    session = store.session()
    goes_on = runs.advance(
        session,
        *held,
        done=done + len(accounts),
        counts={status: counted[status] for status in _STATUSES},
        left_over=[result.as_json() for result in results if result.status in {"skipped", "failed"}],
        ends=_is_hopeless(results),
        now=clock.now(),
    )
    session.commit()
    return goes_on


def _is_hopeless(results: list[Result]) -> bool:
    """A peer is away: the next batch would only wait for it as well."""
    return all(result.retryable for result in results)
