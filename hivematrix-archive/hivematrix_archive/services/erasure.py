"""Erasure of personal data from a sealed bill, when law demands it: a deliberate act, written into the log."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from hivematrix_common import audit
from hivematrix_common.config import Settings
from hivematrix_common.database import AnySession
from hivematrix_common.domain.canonical import digest
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import Problem
from hivematrix_common.failpoints import failpoint
from hivematrix_common.peers import PeerError
from sqlalchemy import Connection

from hivematrix_archive.clients import Ledger
from hivematrix_archive.domain.erasure import FORMAT, Erased, erasure_document, read_erasure
from hivematrix_archive.domain.seal import Leaf
from hivematrix_archive.services import log
from hivematrix_archive.services.acts import Act, seal_act
from hivematrix_archive.services.reading import no_invoice
from hivematrix_archive.store import erasure as store
from hivematrix_archive.store import sealing as sealing_store
from hivematrix_archive.store.erasure import Place
from hivematrix_archive.store.outside import Outside

_ERASURES = frozenset({FORMAT})


@dataclass(frozen=True, slots=True)
class Done:
    """What was erased; `related` are the month's other documents that still say its names.

    `entry` is None when it was erased before.
    """

    invoice: str
    account: str
    period: Period
    digest: str
    entry: int | None
    related: Sequence[str]


def erase(session: AnySession, outside: Outside, invoice: str, reason: str, who: str) -> Done:
    """Empty a bill and seal an erasure entry, in one transaction of the owner. Safe to repeat."""
    with outside.growing():
        sealing_store.lock_log(session)
        found = store.sealed(session, invoice)
        if found is None:
            raise no_invoice(invoice)
        place = Place(found.log_index, found.billing_year, found.company_account_number)
        period = Period(found.billing_year, found.billing_month)
        related = [number for number in store.legible(session, place.account, period) if number != invoice]
        if not found.body:
            return Done(invoice, place.account, period, found.body_sha256, None, related)
        body = _sound_body(invoice, bytes(found.body), found.body_sha256)
        signer = log.signer_now(session, outside)
        tip, edge = log.sound_edge(session, outside, signer)
        document = erasure_document(place.index, body, found.created_by or "", reason)
        note = seal_act(session, signer, (tip, edge), Act(FORMAT, document, who))
        failpoint("erase-sealed")
        store.empty(session, place)
        _tell(session, who, invoice, entry=tip.size, reason=reason)
        failpoint("erase-emptied")
        session.commit()
        failpoint("erase-committed")
        outside.keep([note])
        return Done(invoice, place.account, period, found.body_sha256, tip.size, related)


def forget(settings: Settings, done: Done) -> PeerError | None:
    """Have Ledger forget what it showed of the bill before it was sealed; the fault when it could not be asked."""
    try:
        Ledger(settings).forget(done.account, done.period)
    except PeerError as fault:
        return fault
    return None


def _sound_body(invoice: str, data: bytes, sealed: str) -> dict[str, Any]:
    if digest(data) != sealed:
        raise Problem(
            "conflict", f"{invoice} is not what was sealed; run: hivematrix-archive verify. Nothing is erased."
        )
    body: dict[str, Any] = orjson.loads(data)
    return body


def _tell(session: AnySession, who: str, invoice: str, **details: audit.Detail) -> None:
    entry = audit.Entry(
        service="archive", action="erase", actor=who, actor_kind="command", target=invoice, details=details
    )
    audit.record(session.connection(), entry)


class Erasures:
    """The erasures of the log as `verify` meets them: an empty body holds only with its erasure entry."""

    def __init__(self, connection: Connection) -> None:
        self._said: dict[int, Erased] = {}
        self._entries: dict[int, int] = {}
        for index, leaf, document in store.acts(connection):
            try:
                if Leaf.parse(leaf, known=_ERASURES).body == digest(document):
                    self._hear(index, read_erasure(document))
            except DomainError:
                continue  # another kind of entry, or one that is found bad itself
        self._met: set[int] = set()

    def _hear(self, index: int, said: Erased) -> None:
        """What was kept of a bill is said once: a later entry could tell other amounts."""
        if said.entry < index and said.entry not in self._said:
            self._said[said.entry], self._entries[index] = said, said.entry

    @property
    def count(self) -> int:
        """How many bills were found empty, as an entry says."""
        return len(self._met)

    def meet(self, index: int) -> Erased:
        """What is kept of the bill of entry `index`, whose body is empty."""
        if index not in self._said:
            raise DomainError("body", "it is empty, and no erasure entry says that it may be")
        self._met.add(index)
        return self._said[index]

    def check(self, index: int) -> None:
        """The erasure entry `index` was carried out."""
        erased = self._entries.get(index)
        if erased is None:
            raise DomainError("erasure", "its document names no bill that was there to be erased")
        if erased not in self._met:
            raise DomainError("erasure", f"it says that entry {erased} was erased, which is not empty")
