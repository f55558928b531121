"""The dry run: what sealing would do now, from Ledger's previews and from what is sealed already. Writes nothing."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from hivematrix_common.domain.period import Period

from hivematrix_archive.services.jobs import Runner
from hivematrix_archive.store import jobs as store


@dataclass(frozen=True, slots=True)
class Forecast:
    """What would happen to one company: seal, already, skip or fail."""

    account_number: str
    period: Period
    would: str
    total: str | None = None
    currency: str | None = None
    reason: str | None = None

    def as_json(self) -> dict[str, Any]:
        return {
            "account_number": self.account_number,
            "period": str(self.period),
            "would": self.would,
            "total": self.total,
            "currency": self.currency,
            "reason": self.reason,
        }


def forecast(runner: Runner, period: Period, accounts: tuple[str, ...] | None) -> Iterator[Forecast]:
    """Each company's fate; PeerError when Ledger cannot be asked."""
    with runner.engine.connect() as connection:
        sealed = store.sealed_accounts(connection, period)
    for bill in runner.ledger.preview(period, accounts):
        yield _of(bill, period, sealed)


def _of(bill: dict[str, Any], period: Period, sealed: set[str]) -> Forecast:
    account = str(bill["account_number"])
    totals = bill.get("totals")
    if totals:
        would = "already" if account in sealed else "seal"
        return Forecast(account, period, would, totals["total"], bill["currency"])
    would = {"skipped": "skip", "erased": "already"}.get(str(bill.get("status")), "fail")
    return Forecast(account, period, would, reason=bill.get("reason"))
