"""Ledger's settings: what every service has, how companies that say nothing are billed, invoices and their mail."""

from dataclasses import dataclass
from typing import ClassVar

from hivematrix_common.config import Settings
from hivematrix_common.sections import key, section


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
class Smtp:
    host: str = key("", "mail server that takes invoices; without one none is sent")
    port: int = key(587, "its port; on 465 the connection is encrypted from its first byte")
    starttls: bool = key(default=True, text="encrypt the connection, and check the server's certificate")
    user: str = key("", "who signs in there; nobody does when empty")
    password: str = key("", "that user's password", secret=True)
    sender: str = key("", "address that invoices come from")
    timeout_seconds: int = key(30, "how long each answer of the mail server is waited for")


@dataclass(frozen=True, kw_only=True)
class LedgerSettings(Settings):
    NAME: ClassVar[str] = "ledger"
    invoice: Invoice = section(Invoice)
    leakage: Leakage = section(Leakage)
    smtp: Smtp = section(Smtp)
