"""Ledger's requests and answers: the source of its OpenAPI description."""

from datetime import datetime
from typing import Annotated, Any, Literal, Self

from hivematrix_common.schemas import NO_NUL, Account, Model, Month, PageQuery, PeriodText, Year
from pydantic import ConfigDict, Field, RootModel, model_validator

from hivematrix_ledger.domain.engines import CURRENT, ENGINES
from hivematrix_ledger.schemas.inputs import AnyInputs, Digest

PAGE = 500
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


class CorrectBody(Model):
    mode: Literal["credit", "replace"] = Field(description="replace: credit all of it and seal the month's bill anew")
    reason: Annotated[str, Field(min_length=1, max_length=2000, pattern=NO_NUL)] = Field(
        description="stands on the documents, which the customer sees"
    )
    lines: list[Annotated[int, Field(ge=0, strict=True)]] | None = Field(
        None,
        min_length=1,
        max_length=100_000,
        description="for credit: places of the lines in the body, from 0; all when missing",
    )

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.mode == "replace" and self.lines is not None:
            raise ValueError("lines: only a credit names lines, a replacement credits all that is left")
        if not self.reason.strip():
            raise ValueError("reason: expected words, got nothing but blanks")
        return self


class CorrectionDocument(Model):
    invoice_number: str
    kind: Literal["invoice", "credit_note"]
    corrects: dict[str, str]
    currency: str
    total: str
    body: Digest
    log_index: int
    sealed_at: datetime
    checkpoint: str


class Corrected(Model):
    success: bool
    message: str
    corrects: str
    invoice_number: str = Field(description="of the last document that was sealed")
    documents: list[CorrectionDocument]


class Forgotten(Model):
    previews: int = Field(description="how many previews there were")


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
    status: Literal["billable", "accepted", "unbillable", "skipped", "erased"]
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


class Replay(Model):
    engine: int = Field(CURRENT, description=f"one of {', '.join(map(str, ENGINES))}")
    inputs: AnyInputs
