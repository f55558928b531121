"""Requests and answers of what is changed, searched and listed: facts by hand, their history, plans, tickets."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from hivematrix_common.schemas import LARGEST_PAGE, NO_NUL, Account, DecimalText, Instant, Model
from pydantic import BaseModel, ConfigDict, Field

from hivematrix_codex.schemas import (
    AccountOrNone,
    Asset,
    Company,
    Contact,
    Label,
    Listed,
    ListQuery,
    PlanPath,
    Ticket,
    Told,
)


class UidPath(Model):
    uid: str = Field(min_length=1, max_length=200, pattern=NO_NUL)


Cell = Annotated[str, Field(max_length=10_000)] | int | float | bool | None


class FactBody(BaseModel):
    """The fact's members as its answer has them; what is not sent stays as it is."""

    model_config = ConfigDict(extra="allow", frozen=True)
    __pydantic_extra__: dict[str, Cell | dict[str, str]] = Field(init=False)


class RetireBody(Model):
    on: date | None = Field(None, description="the last day it counts; default today in the billing time zone")


class AssignBody(Model):
    contacts: list[Annotated[str, Field(max_length=200, pattern=NO_NUL)]] = Field(max_length=100)


class TimeEntryRow(Told):
    uid: str
    account_number: Account
    ticket_uid: str
    worked_on: date
    hours: DecimalText
    billable: bool
    first_seen: date
    notes: str | None


class HistoryQuery(Model):
    limit: int = Field(100, ge=1, le=LARGEST_PAGE)
    cursor: int | None = Field(None, ge=0, lt=2**63)
    since: Instant | None = Field(None, description="only what was changed at this instant or later")
    kind: Label | None = Field(None, description="contacts, assets, tickets ...")
    key: Label | None = Field(None, description="one fact's uid")


class FactChange(Model):
    id: int
    at: str
    actor: str
    actor_kind: str
    action: str
    trace_id: str | None
    kind: str
    key: str
    before: dict[str, Any] | None = Field(description="what changed, as it was; null when the fact was added")
    after: dict[str, Any]


class HistoryPage(Listed):
    changes: list[FactChange]


class FoundQuery(Model):
    q: str = Field(min_length=1, max_length=200, pattern=NO_NUL, description="words, or how they begin")
    account_number: AccountOrNone = Field("", description="of this company alone")
    limit: int = Field(20, ge=1, le=100, description="of each kind")


class FoundCompany(Model):
    account_number: Account
    name: str
    billing_plan: str | None
    status: str


class FoundContact(Model):
    uid: str
    account_number: Account
    name: str
    email: str | None
    active: bool
    active_to: date | None


class FoundAsset(Model):
    uid: str
    account_number: Account
    hostname: str
    billing_type: str | None
    operating_system: str | None
    active_to: date | None


class FoundTicket(Model):
    uid: str
    account_number: Account
    number: str | None
    subject: str | None
    status: str | None
    priority: str | None
    opened_at: datetime | None
    closed_at: datetime | None


class Found(Model):
    q: str
    companies: list[FoundCompany]
    contacts: list[FoundContact]
    assets: list[FoundAsset]
    tickets: list[FoundTicket] = Field(description="the newest first")
    more: list[str] = Field(description="the kinds of which there are more than shown")


class TicketsQuery(ListQuery):
    limit: int = Field(50, ge=1, le=LARGEST_PAGE)
    offset: int = Field(0, ge=0, le=100_000)
    company_id: AccountOrNone = ""
    status: Label = ""
    priority: Label = ""


class PsaTicketsQuery(ListQuery):
    limit: int = Field(50, ge=1, le=LARGEST_PAGE)
    offset: int = Field(0, ge=0, le=100_000)
    provider: Label = ""
    company: AccountOrNone = ""
    status: Label = ""


class TicketsPage(Listed):
    tickets: list[Ticket]
    count: int
    limit: int
    offset: int


class ActiveQuery(Model):
    group_id: Label | None = Field(None, description="the group's name")
    responder_id: Label | None = Field(None, description="the agent's uid")


class ActiveTicket(Model):
    uid: str
    account_number: Account
    company: str
    number: str | None
    subject: str | None
    status: str | None
    priority: str | None
    ticket_type: str | None
    requester_name: str | None
    agent_uid: str | None
    group_name: str | None
    opened_at: datetime | None
    last_updated_at: datetime | None
    first_responded_at: datetime | None
    agent_responded_at: datetime | None
    fr_due_by: datetime | None
    due_by: datetime | None
    external_id: str | None
    first_response: str = Field(description="breached, critical (<4 h), warning (<12 h), in_time, responded, unknown")
    overdue_seconds: int | None = Field(
        description="beyond what its priority allows between two looks; null: it is not"
    )


class ActiveTickets(Model):
    section1: list[ActiveTicket] = Field(description="needs a first response")
    section2: list[ActiveTicket] = Field(description="the customer replied")
    section3: list[ActiveTicket] = Field(description="an update is overdue")
    section4: list[ActiveTicket] = Field(description="all others")
    total_active: int
    truncated: bool
    as_of: str


class DevicesQuery(ListQuery):
    company_id: AccountOrNone = ""
    status: Literal["online", "offline"] | None = None


class DevicePage(Listed):
    devices: list[Asset]
    count: int
    held: dict[str, int] = Field(description="all, online, offline, unknown, and unheard of for 30 days")


class Agent(Told):
    uid: str
    name: str
    email: str | None
    job_title: str | None
    active: bool


class AgentPage(Listed):
    agents: list[Agent]


class Pagination(Model):
    page: int
    pages: int
    total: int
    has_prev: bool
    has_next: bool
    prev_num: int | None
    next_num: int | None


class Numbered(Model):
    success: bool
    pagination: Pagination


class NumberedCompanies(Numbered):
    companies: list[Company]


class NumberedContacts(Numbered):
    contacts: list[Contact]


class NumberedAssets(Numbered):
    assets: list[Asset]


class FeatureCategories(Model):
    status: str = "success"
    categories: list[str]


class NumberedQuery(Model):
    page: int = Field(1, ge=1, le=10_000)
    per_page: int = Field(50, ge=1, le=500)
    search: Label = ""


class VersionPath(PlanPath):
    valid_from: date


class FeatureOption(Model):
    feature_category: Label = Field(min_length=1)
    option_value: Label = Field(min_length=1)
    display_name: Label | None = None
    description: Label | None = None


class FeatureOptions(Model):
    status: str = "success"
    options: dict[str, list[FeatureOption]]


class PlanDocument(Model):
    """Plans as they are exported, each version one; those of the first HiveMatrix are taken too."""

    plans: list[dict[str, Cell | dict[str, Cell]]] = Field(max_length=10_000)
    feature_options: list[FeatureOption] = Field(default=[], max_length=10_000)


class PlanImportQuery(Model):
    existing: Literal["update", "skip"] = Field("update", description="what becomes of versions that are there already")
    valid_from: date | None = Field(None, description="for plans that name no day")
