"""Use cases: load, call the domain, save, commit once."""

import threading
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Generic, Self, TypeVar

import orjson
from hivematrix_common.errors import Problem
from hivematrix_common.mail import MailServer, server_of

from hivematrix_ledger.clients import Archive, Codex
from hivematrix_ledger.config import LedgerSettings
from hivematrix_ledger.domain.engines import Bill, NoBill
from hivematrix_ledger.domain.inputs import Defaults
from hivematrix_ledger.domain.leakage import Thresholds
from hivematrix_ledger.domain.paper import Seller
from hivematrix_ledger.domain.recurring import recurring


@dataclass(frozen=True, slots=True)
class Shown:
    """A bill to show: its exact bytes and their digest. An accepted one has no `csv`: the archive has it."""

    data: bytes
    digest: str
    csv: str | None

    @property
    def body(self) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(self.data)
        return found

    @property
    def is_accepted(self) -> bool:
        return self.csv is None


@dataclass(frozen=True, slots=True)
class Brief:
    """What the month board shows of a bill that is computed; `whole` computes all of it."""

    account_number: str
    invoice_number: str
    currency: str
    totals: Mapping[str, str]
    recurring: str
    digest: str
    whole: Callable[[], Bill | NoBill] | None = None

    @classmethod
    def of(cls, body: dict[str, Any], digest: str) -> Self:
        names = ("account_number", "invoice_number", "currency", "totals")
        known = {name: body[name] for name in names}
        return cls(**known, recurring=format(recurring(body), "f"), digest=digest)

    @property
    def body(self) -> dict[str, Any]:
        bill = self.whole() if self.whole else None
        assert isinstance(bill, Bill)
        return bill.body


Made = TypeVar("Made")


class Lately(Generic[Made]):
    """What was made of bills last, by account and month, each with a digest of all that it was made of.

    It is given out only while that digest is the same, so it is never older than what would be made anew.
    """

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, threading.Lock()
        self._known: OrderedDict[tuple[str, str], tuple[bytes, Made]] = OrderedDict()

    def find(self, account: str, period: str, made_of: bytes) -> Made | None:
        with self._lock:
            known = self._known.get((account, period))
            if known is None or known[0] != made_of:
                return None
            self._known.move_to_end((account, period))
            return known[1]

    def keep(self, account: str, period: str, made_of: bytes, made: Made) -> None:
        with self._lock:
            self._known[account, period] = (made_of, made)
            self._known.move_to_end((account, period))
            if len(self._known) > self._most:
                self._known.popitem(last=False)

    def forget(self, account: str) -> None:
        with self._lock:
            for key in [key for key in self._known if key[0] == account]:
                del self._known[key]


@dataclass(frozen=True, slots=True)
class Ledger:
    """What the use cases need beside the session: the peers, how companies that say nothing are billed, and what is
    a finding.
    """

    codex: Codex
    archive: Archive
    defaults: Defaults
    thresholds: Thresholds = field(default_factory=Thresholds)
    insist: bool = False
    seller: Seller = field(default_factory=Seller)
    mail: MailServer | None = None
    previews: Lately[Shown] = field(default_factory=lambda: Lately(256))
    briefs: Lately[Brief | NoBill] = field(default_factory=lambda: Lately(10_000))

    @classmethod
    def of(cls, settings: LedgerSettings) -> "Ledger":
        billing = settings.billing
        defaults = Defaults(billing.timezone, billing.currency, settings.invoice.payment_terms_days)
        leakage = settings.leakage
        thresholds = Thresholds(Decimal(leakage.count_percent), leakage.contract_days)
        own = settings.invoice
        seller = Seller(own.name, _lines(own.address), own.email, own.tax_number, _lines(own.bank))
        return cls(
            Codex(settings), Archive(settings), defaults, thresholds, leakage.insist, seller, server_of(settings.smtp)
        )


def _lines(text: str) -> tuple[str, ...]:
    return tuple(line.strip() for line in text.split("|") if line.strip())


def no_company(account: str) -> Problem:
    return Problem("not_found", f"There is no company {account}.")


def no_bill(outcome: NoBill) -> dict[str, Any]:
    """How a company without a bill stands in every answer."""
    return {"account_number": outcome.account_number, "status": outcome.status, "reason": outcome.reason}
