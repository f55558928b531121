"""Ledger's settings: what every service has, how companies that say nothing are billed, invoices and their mail."""

from dataclasses import dataclass
from typing import ClassVar

from hivematrix_common.config import Settings
from hivematrix_common.sections import Smtp, key, section


@dataclass(frozen=True, kw_only=True)
class Invoice:
    payment_terms_days: int = key(30, "days until an invoice is due, for companies that name none")
    name: str = key("", "who bills, as the PDF names it")
    address: str = key("", "the address on the PDF, its lines parted by |")
    email: str = key("", "where customers ask about an invoice")
    tax_number: str = key("", "tax number on the PDF")
    bank: str = key("", "how to pay, as the PDF says it, its lines parted by |")


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
    smtp: Smtp = section(Smtp)
