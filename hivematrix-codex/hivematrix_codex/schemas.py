"""Codex's requests and answers: the source of its OpenAPI description."""

from datetime import date, datetime
from typing import Annotated

from hivematrix_common.schemas import (
    NO_NUL,
    Account,
    Accounts,
    DecimalText,
    Model,
    PageQuery,
    PeriodText,
    Year,
)
from pydantic import Field

Label = Annotated[str, Field(max_length=200, pattern=NO_NUL)]


class SearchQuery(PageQuery):
    search: Label = Field("", description="part of the name, or the account number's beginning")


class TicketQuery(PageQuery):
    year: Year | None = Field(None, description="opened or worked on in this year")


class BulkQuery(PageQuery):
    include_tickets: bool = False


class BillingInputsQuery(PageQuery):
    period: PeriodText
    limit: int = Field(500, ge=1, le=1000)
    accounts: Accounts = Field("", description="only these")


class PlanPath(Model):
    name: Label
    term: Label


class PlanQuery(Model):
    on: date | None = Field(None, description="the day to ask for; default today in the billing time zone")


class Listed(Model):
    next: str | None = Field(description="cursor of the following page, null on the last")
    total: int
    total_exact: bool = True


class PlainCompany(Model):
    account_number: Account
    name: str
    billing_plan: str | None
    contract_term: str
    contract_start: date | None
    contract_end: date | None
    currency: str | None
    payment_terms_days: int | None
    email: str | None
    status: str


class Company(PlainCompany):
    contract_term_length: str = Field(description="contract_term, under its older name")
    contract_start_date: date | None = Field(description="contract_start, under its older name")
    contract_end_date: date | None = Field(description="contract_end, under its older name")


class Contact(Model):
    uid: str
    account_number: Account
    name: str
    email: str | None
    active: bool
    active_from: date | None
    active_to: date | None


class Asset(Model):
    uid: str
    account_number: Account
    hostname: str
    billing_type: str | None
    backup_bytes: int
    operating_system: str | None
    active_from: date | None
    active_to: date | None


class Location(Model):
    uid: str
    account_number: Account
    name: str
    address: str | None
    phone_number: str | None


class TimeEntry(Model):
    uid: str
    worked_on: date
    hours: DecimalText
    billable: bool
    first_seen: date


class Ticket(Model):
    uid: str
    account_number: Account
    number: str | None
    subject: str | None
    status: str | None
    opened_at: datetime | None
    closed_at: datetime | None
    total_hours_spent: DecimalText
    time_entries: list[TimeEntry]


class CompanyPage(Listed):
    companies: list[Company]


class ContactPage(Listed):
    contacts: list[Contact]


class AssetPage(Listed):
    assets: list[Asset]


class LocationPage(Listed):
    locations: list[Location]


class TicketPage(Listed):
    tickets: list[Ticket]


class CompanyWithParts(Model):
    company: PlainCompany
    contacts: list[Contact]
    assets: list[Asset]
    locations: list[Location]
    tickets: list[Ticket] | None = None


class BulkPage(Listed):
    companies: list[CompanyWithParts]


class Plan(Model):
    plan_name: str
    term: str
    valid_from: date
    support_level: str | None
    currency: str | None
    per_user: DecimalText | None
    per_workstation: DecimalText | None
    per_server: DecimalText | None
    per_vm: DecimalText | None
    per_switch: DecimalText | None
    per_firewall: DecimalText | None
    per_hour: DecimalText | None
    backup_base_workstation: DecimalText | None
    backup_base_server: DecimalText | None
    backup_included_tb: DecimalText | None
    backup_per_tb: DecimalText | None
    count_policy: str
    features: dict[str, str]


class PlanList(Model):
    status: str = "success"
    plans: list[Plan]
    count: int


class PlanAnswer(Model):
    status: str = "success"
    plan: Plan
    versions: list[Plan]
