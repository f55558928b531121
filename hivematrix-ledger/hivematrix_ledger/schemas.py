"""Ledger's requests and answers: the source of its OpenAPI description."""

from typing import Annotated, Any, Literal

from hivematrix_common.schemas import NO_NUL, Account, Model, Month, PageQuery, PeriodText, Year, spelled
from pydantic import ConfigDict, Field, RootModel

from hivematrix_ledger.domain.engines import CURRENT, ENGINES

PAGE = 500
DIGEST = r"^sha256:[0-9a-f]{64}$"
Digest = Annotated[str, spelled(DIGEST, "sha256: and 64 hexadecimal digits")]
Notes = Annotated[str, Field(max_length=4000, pattern=NO_NUL)]


class Document(RootModel[dict[str, Any]]):
    """A JSON document: a bill's body (archive-format §1), or why a company has none."""


class BillsQuery(PageQuery):
    period: PeriodText
    limit: int = Field(PAGE, ge=1, le=1000)


class DashboardQuery(PageQuery):
    year: Year
    month: Month
    limit: int = Field(PAGE, ge=1, le=1000)


class AcceptBody(Model):
    account_number: Account
    year: Year
    month: Month
    notes: Notes | None = None
    digest: Digest | None = Field(None, description="of the bill that was shown; another one is refused")


class AcceptPage(Model):
    period: PeriodText
    accounts: list[Account] | None = Field(None, max_length=PAGE, description="all companies when it is missing")
    digests: dict[Account, Digest] = Field(default_factory=dict)
    notes: Notes | None = None


class Accepted(Model):
    model_config = ConfigDict(extra="allow")
    success: bool
    message: str
    invoice_number: str


class CheckArchived(Model):
    invoice_number: str
    is_archived: bool


class Summary(Model):
    invoice_number: str
    company_name: str
    total_amount: str
    user_count: int
    asset_count: int
    line_item_count: int
    has_backup_charges: bool
    has_hourly_charges: bool
    total_lines: int
    is_archived: bool


class DashboardRow(Model):
    """One company; without a bill `status` and `reason` say why, and the amounts are null."""

    account_number: str
    name: str
    billing_plan: str | None
    support_level: str | None
    contract_term_length: str | None
    contract_end_date: str | None
    status: Literal["billable", "accepted", "unbillable", "skipped"]
    reason: str | None
    total_bill: str | None
    currency: str
    workstations: int | None
    servers: int | None
    vms: int | None
    users: int | None
    backup: str | None = Field(description="TB")
    hours: str = Field(description="worked this year, to the month's end")


class Dashboard(Model):
    billing_period: str
    companies: list[DashboardRow]
    next: str | None


class Plan(Model):
    id: str
    billing_plan: str
    term_length: str
    support_level: str | None
    per_user_cost: str | None
    per_workstation_cost: str | None
    per_server_cost: str | None


class PlanList(RootModel[list[Plan]]):
    pass


# What the engine is given, checked member by member: the engine itself takes it on trust.

_Decimal = Annotated[str, spelled(r"^-?[0-9]{1,15}(\.[0-9]{1,4})?$", "a decimal such as 12.50")]
_Hours = Annotated[str, spelled(r"^[0-9]{1,15}(\.[0-9]{1,4})?$", "a decimal such as 1.5, 0 or more")]
_Day = Annotated[str, spelled(r"^[12][0-9]{3}-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])$", "a date such as 2025-10-31")]
_Month = Annotated[str, spelled(r"^2[01][0-9]{2}-(0[1-9]|1[0-2])$", "a month such as 2025-10")]
_Currency = Annotated[str, spelled(r"^[A-Z]{3}$", "three capital letters such as USD")]
_Terms = Annotated[int, Field(ge=0, le=3650)]


class _Strict(Model):
    model_config = ConfigDict(strict=True)


class InputDefaults(_Strict):
    currency: _Currency
    payment_terms_days: _Terms


class InputCompany(_Strict):
    account_number: Account
    name: str
    billing_plan: str | None
    contract_term: str | None
    contract_start: _Day | None
    contract_end: _Day | None
    currency: _Currency | None
    payment_terms_days: _Terms | None


class InputRates(_Strict):
    per_user: _Decimal | None
    per_workstation: _Decimal | None
    per_server: _Decimal | None
    per_vm: _Decimal | None
    per_switch: _Decimal | None
    per_firewall: _Decimal | None
    per_hour: _Decimal | None
    backup_base_workstation: _Decimal | None
    backup_base_server: _Decimal | None
    backup_included_tb: _Decimal | None
    backup_per_tb: _Decimal | None


class InputFeature(_Strict):
    name: str
    value: str


class InputPlan(_Strict):
    plan_name: str
    term: str
    valid_from: _Day
    support_level: str | None
    currency: _Currency | None
    count_policy: str | None
    rates: InputRates
    features: list[InputFeature]


class InputOverride(_Strict):
    key: str
    value: str
    from_period: _Month | None
    to_period: _Month | None


class InputUser(_Strict):
    uid: str
    source: Literal["codex"]
    name: str | None
    active: bool
    active_from: _Day | None
    active_to: _Day | None


class InputManualUser(_Strict):
    uid: str
    source: Literal["manual"]
    name: str | None
    active: bool
    active_from: None
    active_to: None
    billing_type: str
    custom_cost: _Decimal | None


class InputUserOverride(_Strict):
    contact_uid: str
    billing_type: str
    custom_cost: _Decimal | None


class InputAsset(_Strict):
    uid: str
    source: Literal["codex"]
    hostname: str | None
    billing_type: str | None
    backup_bytes: Annotated[int, Field(ge=0, lt=2**53)] | None
    active_from: _Day | None
    active_to: _Day | None


class InputManualAsset(_Strict):
    uid: str
    source: Literal["manual"]
    hostname: str | None
    billing_type: str
    custom_cost: _Decimal | None


class InputAssetOverride(_Strict):
    asset_uid: str
    billing_type: str
    custom_cost: _Decimal | None


class InputLineItem(_Strict):
    uid: str
    name: str
    description: str | None
    kind: Literal["recurring", "one_off", "yearly"]
    fee: _Decimal
    period: _Month | None
    month: Month | None
    from_period: _Month | None
    to_period: _Month | None


class InputPrepaid(_Strict):
    monthly: _Hours | None
    yearly: _Hours | None
    pool_year: Literal["calendar", "contract"]
    rollover_months: Annotated[int, Field(ge=0, le=11)]


class InputTaxRate(_Strict):
    category: Literal["user", "asset", "backup", "hours", "item", "*"]
    percent: _Decimal


class InputEntry(_Strict):
    uid: str
    ticket: str | None
    worked_on: _Day
    hours: _Decimal
    billable: bool


class InputTaken(_Strict):
    month: _Month
    hours: _Hours


class InputAcceptedMonth(_Strict):
    period: _Month
    state: Literal["accepted"]
    monthly: _Hours
    taken: list[InputTaken]
    pool: _Hours


class InputOpenMonth(_Strict):
    period: _Month
    state: Literal["open"]


class Inputs(_Strict):
    """What an engine is given (domain/engines/v1/README.md)."""

    format: Literal["hivematrix.inputs/1"]
    period: _Month
    zone: str
    defaults: InputDefaults
    company: InputCompany
    plans: list[InputPlan]
    overrides: list[InputOverride]
    users: list[Annotated[InputUser | InputManualUser, Field(discriminator="source")]]
    user_overrides: list[InputUserOverride]
    assets: list[Annotated[InputAsset | InputManualAsset, Field(discriminator="source")]]
    asset_overrides: list[InputAssetOverride]
    line_items: list[InputLineItem]
    prepaid: InputPrepaid | None
    tax_rates: list[InputTaxRate]
    entries: list[InputEntry]
    months: list[Annotated[InputAcceptedMonth | InputOpenMonth, Field(discriminator="state")]]


class Replay(Model):
    engine: int = Field(CURRENT, description=f"one of {', '.join(map(str, ENGINES))}")
    inputs: Inputs
