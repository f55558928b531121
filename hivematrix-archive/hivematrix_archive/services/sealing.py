"""Sealing: check every request, then one transaction that inserts, extends the log, signs and commits."""

import secrets
import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from zoneinfo import ZoneInfo

import orjson
from flask import Response
from hivematrix_common import audit, clock, idempotency
from hivematrix_common.database import AnySession
from hivematrix_common.domain import merkle
from hivematrix_common.domain.canonical import NotJsonError, digest, parse_once_only
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.errors import FieldError, Problem, from_domain, refuse_json
from hivematrix_common.failpoints import failpoint
from hivematrix_common.metrics import stage

from hivematrix_archive.domain.bill import differences
from hivematrix_archive.domain.check import Checked, RefusedError, check_request
from hivematrix_archive.domain.seal import RANDOM_BYTES, Leaf, Receipt, Sealed, meta_document
from hivematrix_archive.services import corrections, log
from hivematrix_archive.store import log as log_store
from hivematrix_archive.store import sealing as store
from hivematrix_archive.store.outside import Outside, Signer

KEYS = "archive_data.idempotency"
# Two pages checked at once only take turns and end late together; one after the other, the first is stored meanwhile.
_turn = threading.Lock()
_LEFT_OUT = Problem("conflict", "Nothing of this request is sealed: another of its bills was refused.")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request: sealed now, sealed before with the same digest, or refused."""

    invoice_number: str | None
    receipt: Receipt | None = None
    fresh: bool = False
    problem: Problem | None = None

    def as_json(self) -> dict[str, Any]:
        if self.receipt:
            return {"status": "sealed" if self.fresh else "already", **self.receipt.as_json()}
        assert self.problem
        return {"invoice_number": self.invoice_number, "status": "refused", "problem": self.problem.as_json()}


@dataclass(frozen=True, slots=True)
class Sealer:
    """What sealing needs beside the session. `caller` is the identity that asked, `key` its idempotency key."""

    outside: Outside
    zone: ZoneInfo
    caller: str
    key: str | None = None
    sealer_url: str = ""
    together: bool = False
    """All of a request's bills, or none."""


def seal(
    session: AnySession, sealer: Sealer, lines: Iterable[bytes], respond: Callable[[list[Outcome]], Response]
) -> Response:
    """Seal each request (JSON text) that can be sealed; `respond` makes the answer that the idempotency key keeps.

    Everything costly happens before the lock. Nothing signed leaves before the commit.
    """
    log.signer_of(sealer.outside, sealer.sealer_url)
    with _turn, stage("seal-check"):
        prepared = [_prepare(line, sealer.zone) for line in lines]
    numbers = [one.bill.invoice_number if isinstance(one, Checked) else one.invoice_number for one in prepared]
    audit.about(numbers[0] if len(numbers) == 1 else None, bills=len(numbers))
    failpoint("seal-check")
    with sealer.outside.growing():
        keyed = idempotency.claim(session, KEYS)
        if isinstance(keyed, Response):
            return keyed
        store.lock_log(session)
        # The key may have been replaced while this request waited.
        signer = log.signer_now(session, sealer.outside, sealer.sealer_url)
        outcomes, note = _seal(session, sealer, signer, prepared)
        with stage("seal-answer"):
            answer = respond(outcomes)
            if all(outcome.receipt for outcome in outcomes):  # a refusal may pass, so the same key may ask again
                idempotency.store(session, keyed, answer)
        failpoint("seal-answer")
        with stage("seal-commit"):
            session.commit()
        failpoint("seal-commit")
        if note:
            with stage("seal-keep"):
                sealer.outside.keep([note])
            failpoint("seal-keep")
    return answer


def _prepare(line: bytes, zone: ZoneInfo) -> Checked | Outcome:
    number = None
    try:
        request = parse_once_only(line)
        number = _number_of(request)
        return check_request(request, clock.now(), zone)
    except NotJsonError as error:
        return Outcome(None, problem=refuse_json("The line", error))
    except DomainError as error:
        code = error.code if isinstance(error, RefusedError) else "invalid"
        return Outcome(number, problem=from_domain(error, code))


def _number_of(request: Any) -> str | None:
    body = request.get("body") if isinstance(request, dict) else None
    number = body.get("invoice_number") if isinstance(body, dict) else None
    return number if isinstance(number, str) else None


def _seal(
    session: AnySession, sealer: Sealer, signer: Signer, prepared: Sequence[Checked | Outcome]
) -> tuple[list[Outcome], str | None]:
    checked = [one for one in prepared if isinstance(one, Checked)]
    numbers = [one.bill.invoice_number for one in checked]
    found = store.receipts(session, numbers) if numbers else {}
    fresh: dict[str, Checked] = {}
    for one in checked:
        if one.bill.invoice_number not in found:
            fresh.setdefault(one.bill.invoice_number, one)
    refused = corrections.refusals(session, fresh.values())
    if sealer.together and (refused or _any_refused(prepared, found)):
        refused = dict.fromkeys(fresh, _LEFT_OUT) | refused
    fresh = {number: one for number, one in fresh.items() if number not in refused}
    note = None
    if fresh:
        made, note = _extend(session, sealer, signer, list(fresh.values()))
        found |= made
    taken = set(fresh)
    known = [_refused(x, refused) for x in prepared]
    settled = [x if isinstance(x, Outcome) else _outcome(session, x, found, fresh, taken) for x in known]
    return settled, note


def _refused(one: Checked | Outcome, refused: dict[str, Problem]) -> Checked | Outcome:
    if isinstance(one, Checked) and one.bill.invoice_number in refused:
        return Outcome(one.bill.invoice_number, problem=refused[one.bill.invoice_number])
    return one


def _any_refused(prepared: Sequence[Checked | Outcome], found: dict[str, Receipt]) -> bool:
    """Whether one cannot be sealed whatever becomes of the others."""
    checked = [one for one in prepared if isinstance(one, Checked)]
    known = ((found.get(one.bill.invoice_number), one.digest) for one in checked)
    return len(checked) < len(prepared) or any(receipt and receipt.body != sent for receipt, sent in known)


def _outcome(
    session: AnySession, one: Checked, found: dict[str, Receipt], fresh: dict[str, Checked], taken: set[str]
) -> Outcome:
    """The first request for a fresh invoice is the one that sealed it; `taken` loses it here."""
    number = one.bill.invoice_number
    receipt = found[number]
    if receipt.body == one.digest:
        first = number in taken
        taken.discard(number)
        return Outcome(number, receipt, fresh=first)
    sealed = fresh[number].body if number in fresh else log_store.bodies_of(session, [number])[number]
    detail = f"{number} is sealed with other content ({receipt.body})."
    if one.bill.corrects:
        detail += f" The next free number is {corrections.next_number(session, one)}."
    told = differences(orjson.loads(sealed), orjson.loads(one.body)) if sealed else []
    fields = [FieldError(difference["pointer"], "differs from what is sealed") for difference in told]
    return Outcome(
        number, problem=Problem("already_accepted", detail, fields=fields, sealed=receipt.body, differences=told)
    )


def _extend(
    session: AnySession, sealer: Sealer, signer: Signer, checked: list[Checked]
) -> tuple[dict[str, Receipt], str]:
    tip, edge = log.sound_edge(session, sealer.outside, signer)
    with stage("seal-leaves"):
        sealed = _place(sealer, checked, tip.size)
    failpoint("seal-leaves")
    with stage("seal-tree"):
        nodes, root = log.grow(tip, edge, [one.hash for one in sealed])
    failpoint("seal-tree")
    store.insert_entries(session, sealed)
    store.insert_snapshots(session, sealed)
    store.insert_bodies(session, sealed)
    store.insert_line_items(session, sealed)
    store.insert_nodes(session, nodes)
    note = log.sign_checkpoint(signer, edge.size, root)
    store.insert_checkpoint(session, store.Tip(edge.size, root, tip.snapshots + len(sealed), note), sealed[0].sealed_at)
    receipts = [Receipt(s.checked.bill.invoice_number, s.checked.digest, s.index, s.sealed_at, note) for s in sealed]
    return {receipt.invoice_number: receipt for receipt in receipts}, note


def _place(sealer: Sealer, checked: list[Checked], first: int) -> list[Sealed]:
    sealed_at = clock.now().replace(microsecond=0)
    placed = []
    for index, one in enumerate(checked, first):
        meta = meta_document(sealer.caller, secrets.token_bytes(RANDOM_BYTES), sealer.key, **one.told)
        leaf = Leaf(one.digest, digest(meta), sealed_at).data
        created_by = one.told["created_by"] or sealer.caller
        placed.append(Sealed(one, index, leaf, merkle.leaf_hash(leaf), meta, sealed_at, created_by))
    return placed
