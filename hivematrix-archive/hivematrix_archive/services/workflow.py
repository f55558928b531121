"""The guide's workflow test: accept one bill through Ledger, then read and check everything the archive has of it."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any

from hivematrix_common import clock, tokens
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.note import VerifierKey
from hivematrix_common.domain.period import Period
from hivematrix_common.errors import Problem
from hivematrix_common.peers import PeerClient, PeerError
from hivematrix_common.signatures import check_signature

from hivematrix_archive.config import ArchiveSettings
from hivematrix_archive.domain.bill import invoice_number
from hivematrix_archive.domain.proof import Proof, check_proof

LIFETIME = timedelta(minutes=5)
_CONFLICT = "already_accepted"


@dataclass(frozen=True, slots=True)
class Step:
    name: str
    good: bool
    told: str


@dataclass(frozen=True, slots=True)
class Workflow:
    """The two services as a person with SERVICE_TOKEN sees them, and the bill in question."""

    ledger: PeerClient
    archive: PeerClient
    account: str
    period: Period

    @property
    def invoice(self) -> str:
        return invoice_number(self.account, self.period)

    def steps(self, *, health: bool = True, create: bool = True) -> Iterator[Step]:
        """Each step with what it found; one that fails does not stop the others."""
        asked: dict[str, Callable[[], str]] = {}
        if health:
            asked |= {"ledger health": lambda: _health(self.ledger), "archive health": lambda: _health(self.archive)}
        if create:
            asked["accept"] = self._accept
        asked |= {
            "snapshot": self._snapshot,
            "csv": lambda: f"{self._get('/csv').text.count(chr(10)) - 1} rows",
            "proof": self._proof,
            "company": self._company,
            "schedule": lambda: f"enabled: {self.archive.get_json('/api/scheduler/config')['config']['enabled']}",
        }
        return (_tried(name, step) for name, step in asked.items())

    def _accept(self) -> str:
        order = {"account_number": self.account, "year": self.period.year, "month": self.period.month}
        try:
            answer = self.ledger.post_json("/api/bill/accept", order)
        except PeerError as error:
            if error.peer_code != _CONFLICT:
                raise
            return f"{self.invoice} was sealed before"
        return str(answer["message"])

    def _snapshot(self) -> str:
        found, total = self._get("").json(), self._get("/body").json()["totals"]["total"]
        if found["total_amount"] != total:
            raise DomainError("total_amount", f"the table says {found['total_amount']}, the sealed body {total}")
        return f"{found['invoice_number']} {found['company_name']}: {found['total_amount']} {found['currency']}"

    def _proof(self) -> str:
        keys = [VerifierKey.parse(line) for line in self.archive.get("/log/key").text.splitlines()]
        proof = Proof.parse(self._get("/proof").text)
        signed = check_proof(proof, self._get("/body").content, keys, check_signature)
        return f"entry {proof.index} of {signed.size}, signed by {signed.origin}"

    def _company(self) -> str:
        found = self.archive.get_json(f"/api/snapshots/company/{self.account}")
        if self.invoice not in {row["invoice_number"] for row in found["snapshots"]}:
            raise DomainError("company", f"{self.invoice} is not among {found['total_snapshots']} snapshots")
        return f"{found['total_snapshots']} snapshots"

    def _get(self, part: str) -> Any:
        return self.archive.get(f"/api/snapshot/{self.invoice}{part}")


@contextmanager
def prepared(settings: ArchiveSettings, account: str, period: Period) -> Iterator[Workflow]:
    """With SERVICE_TOKEN, ARCHIVE_URL and LEDGER_URL of the environment or `.flaskenv`, else with the conf's.

    Where no SERVICE_TOKEN is set, the archive gets a token of its own that lives for as long as this takes. A shell's
    token that `.flaskenv` names is one that the archive takes: Ledger is asked as the archive asks it.
    """
    ours = settings.dotenv.get("SERVICE_TOKEN")
    given = os.environ.get("SERVICE_TOKEN") or ours
    token = given or tokens.generate("workflow-test")
    services = replace(
        settings.services,
        archive_url=os.environ.get("ARCHIVE_URL", f"http://127.0.0.1:{settings.port}"),
        ledger_url=os.environ.get("LEDGER_URL", settings.services.ledger_url),
        archive_token=token,
        ledger_token=given if given and given != ours else settings.peer_token("ledger"),
    )
    seen = replace(settings, services=services)
    if not given:
        tokens.register(settings.conf, token, "workflow-test", ["archive:read"], clock.now() + LIFETIME)
    try:
        yield Workflow(PeerClient(seen, "ledger"), PeerClient(seen, "archive"), account, period)
    finally:
        if not given:
            tokens.unregister(settings.conf, tokens.token_id(token))


def _health(peer: PeerClient) -> str:
    return str(peer.get_json("/health")["status"])


def _tried(name: str, step: Callable[[], str]) -> Step:
    try:
        return Step(name, good=True, told=step())
    except (Problem, DomainError, KeyError, TypeError, ValueError) as error:
        return Step(name, good=False, told=str(error))
