"""Ledger's settings: what every service has, and what companies that say nothing are billed by."""

from dataclasses import dataclass
from typing import ClassVar

from hivematrix_common.config import Settings
from hivematrix_common.sections import key, section


@dataclass(frozen=True, kw_only=True)
class Invoice:
    payment_terms_days: int = key(30, "days until an invoice is due, for companies that name none")


@dataclass(frozen=True, kw_only=True)
class LedgerSettings(Settings):
    NAME: ClassVar[str] = "ledger"
    invoice: Invoice = section(Invoice)
