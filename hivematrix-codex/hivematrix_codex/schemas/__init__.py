"""Codex's requests and answers: the source of its OpenAPI description."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from hivematrix_common.schemas import (
    NO_NUL,
    Account,
    Accounts,
    DecimalText,
    Instant,
    Model,
    PageQuery,
    PeriodText,
    Year,
    spelled,
)
from pydantic import BaseModel, Field

from hivematrix_codex.domain.run import LONGEST

Label = Annotated[str, Field(max_length=200, pattern=NO_NUL)]

AccountOrNone = Annotated[str, spelled(r"^([A-Za-z0-9]{1,32})?$", "1 to 32 letters and digits")]


class FieldsQuery(Model):
    fields: str = Field("", max_length=2000, pattern=NO_NUL, description="only these members, with commas between")


class ListQuery(PageQuery, FieldsQuery):
    pass


class SearchQuery(ListQuery):
    search: Label = Field("", description="part of the name, or the account number's beginning")


class TicketQuery(ListQuery):
    year: Year | None = Field(None, description="opened or worked on in this year")


class BulkQuery(PageQuery):
    include_tickets: bool = False


class BillingInputsQuery(PageQuery):
    period: PeriodText
    limit: int = Field(500, ge=1, le=1000)
    cursor: str = Field("", max_length=LONGEST, pattern=NO_NUL, description="X-Next-Cursor of the page before")
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


class Told(Model):
    """Where a fact came from, and how that system calls it."""

    source: str
    external_id: str | None


class PlainCompany(Told):
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
    description: str | None
    address: str | None
    phone_number: str | None
    domains: str | None
    support_level: str | None
    compliance_level: str
    profit_or_non_profit: str | None
    company_start: date | None
    phone_system: str | None
    email_system: str | None
    head_name: str | None
    prime_user_name: str | None
    portal_url: str | None


class Company(PlainCompany):
    contract_term_length: str = Field(description="contract_term, under its older name")
    contract_start_date: date | None = Field(description="contract_start, under its older name")
    contract_end_date: date | None = Field(description="contract_end, under its older name")


class Contact(Told):
    uid: str
    account_number: Account
    name: str
    email: str | None
    active: bool
    active_from: date | None
    active_to: date | None
    person_uid: str | None = Field(description="the same in each company that the person belongs to")
    title: str | None
    mobile_phone_number: str | None
    work_phone_number: str | None
    secondary_emails: str | None
    employment_type: str | None
    location_name: str | None
    vip: bool


class Asset(Told):
    uid: str
    account_number: Account
    hostname: str
    billing_type: str | None
    backup_bytes: int
    operating_system: str | None
    active_from: date | None
    active_to: date | None
    billing_type_pinned: bool = Field(description="set by a person: no sync changes it")
    hardware_type: str | None
    device_type: str | None
    domain: str | None
    antivirus_product: str | None
    description: str | None
    last_logged_in_user: str | None
    ext_ip_address: str | None
    int_ip_address: str | None
    patch_status: str | None
    portal_url: str | None
    online: bool | None
    last_seen: datetime | None
    last_reboot: datetime | None
    last_audit: datetime | None


class Location(Told):
    uid: str
    account_number: Account
    name: str
    address: str | None
    phone_number: str | None
    retired_on: date | None


class TimeEntry(Model):
    uid: str
    worked_on: date
    hours: DecimalText
    billable: bool
    first_seen: date


class Ticket(Told):
    uid: str
    account_number: Account
    number: str | None
    subject: str | None
    status: str | None
    opened_at: datetime | None
    closed_at: datetime | None
    priority: str | None
    ticket_type: str | None
    description: str | None
    requester_name: str | None
    requester_email: str | None
    agent_uid: str | None
    group_name: str | None
    last_updated_at: datetime | None
    first_responded_at: datetime | None
    agent_responded_at: datetime | None
    fr_due_by: datetime | None
    due_by: datetime | None
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


class SyncOrder(Model):
    provider: Label
    full: bool = False
    dry_run: bool = Field(default=False, description="make the plan, change nothing")
    accept_retirements: int = Field(0, ge=0, le=10_000_000, description="up to so many records may be retired at once")


class SyncAnswer(Model):
    job_id: str
    message: str


class SyncJobPath(Model):
    job_id: Label


class SyncJobsQuery(Model):
    limit: int = Field(30, ge=1, le=500)


class PlainSyncJob(Model):
    id: str
    provider: str
    mode: Literal["incremental", "full", "wanted"]
    status: Literal["queued", "running", "completed", "partial", "stopped", "failed"]
    dry_run: bool
    accepted_retirements: int
    asked_by: str
    asked_at: datetime
    started_at: datetime | None
    completed_at: datetime | None
    progress: dict[str, int] = Field(description="records fetched, by kind")
    counts: dict[str, dict[str, int]] = Field(description="by kind: add, change, return, retire, conflict")
    errors: list[str]


class SyncChange(Model):
    kind: str
    act: str
    uid: str
    account_number: str
    what: dict[str, Any]


class SyncJob(PlainSyncJob):
    changes: list[SyncChange]


class SyncJobs(Model):
    jobs: list[PlainSyncJob]


class SyncProvider(Model):
    name: str
    kinds: list[str]
    schedule: dict[str, str]
    last: PlainSyncJob | None


class SyncState(Model):
    providers: list[SyncProvider]


class Link(Model):
    provider: Label
    external_id: Label
    account_number: Account


class LinkedCompany(Link):
    name: str
    linked_by: str
    linked_at: datetime


class LinkList(Model):
    links: list[LinkedCompany]


class HookPath(Model):
    provider: Label


class TicketHook(BaseModel):
    """What a provider sends when a ticket changes; members that are not named here are passed over."""

    ticket_id: Annotated[int, Field(ge=1, le=2**63 - 1)] | Annotated[str, Field(pattern=r"^[A-Za-z0-9-]{1,64}$")]
    sent_at: Instant | None = Field(None, description="when it was sent; needed where no X-Webhook-Timestamp is sent")


class HookAnswer(Model):
    status: Literal["accepted", "repeated"]
