"""Ledger's settings: what every service has, and what companies that say nothing are billed by."""

from dataclasses import dataclass
from typing import ClassVar

from hivematrix_common.config import Settings
from hivematrix_common.sections import key, section


@dataclass(frozen=True, kw_only=True)
class Invoice:
    payment_terms_days: int = key(30, "days until an invoice is due, for companies that name none")


@dataclass(frozen=True, kw_only=True)
class Leakage:
    count_percent: int = key(20, "percent that a count of people, machines or backup may move by without a finding")
    contract_days: int = key(30, "days before its end from which a contract is a finding")
    insist: bool = key(False, "yes: no bill is accepted while a finding of it is open")


@dataclass(frozen=True, kw_only=True)
class LedgerSettings(Settings):
    NAME: ClassVar[str] = "ledger"
    invoice: Invoice = section(Invoice)
    leakage: Leakage = section(Leakage)
