"""Archive's requests and answers: the source of its OpenAPI description."""

from datetime import date, datetime
from typing import Annotated, Any, Literal

from hivematrix_common.schemas import (
    NO_NUL,
    Account,
    DecimalText,
    Model,
    Month,
    PageQuery,
    PeriodText,
    Year,
    YearMonth,
)
from pydantic import ConfigDict, Field, model_validator

from hivematrix_archive.domain.check import FLAT_PAYLOAD
from hivematrix_archive.domain.filter import Sort

Digest = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Invoice = Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,32}-[0-9]{6}(-C[1-9][0-9]{0,3})?$")]
Words = Annotated[str, Field(min_length=1, max_length=255, pattern=NO_NUL)]


def described(text: str, media_type: str, kind: str = "string") -> dict[str, Any]:
    """How a route's `responses` describe an answer that is no JSON of ours."""
    return {"description": text, "content": {media_type: {"schema": {"type": kind}}}}


class Told(Model):
    """What the sender says about a bill; it is sealed beside the bill, not in it."""

    created_by: str | None = None
    notes: str | None = None
    job: str | None = None


class SealingRequest(Model):
    """A bill to seal: the document (`hivematrix.snapshot/1`), its CSV, and the document's digest."""

    body: dict[str, Any]
    csv: str
    digest: Digest
    meta: Told

    @model_validator(mode="before")
    @classmethod
    def _point_to_shape(cls, value: Any) -> Any:
        if isinstance(value, dict) and "billing_data_json" in value:
            raise ValueError(FLAT_PAYLOAD)
        return value


class Receipt(Model):
    """The same for every request with the same digest, for ever."""

    invoice_number: Invoice
    body: Digest
    log_index: int
    sealed_at: datetime
    checkpoint: str = Field(description="the signed note of the first checkpoint that covers the entry")


class CorrectingRow(Model):
    """A credit note about an invoice, or the invoice that replaces it."""

    invoice_number: Invoice
    corrects: Invoice
    kind: str
    currency: str
    total_amount: DecimalText
    archived_at: datetime
    log_index: int


class BatchQuery(Model):
    together: Literal["", "0", "1"] = Field("", description="1: seal all of the bills, or none")


class Snapshot(Model):
    """Every column of a sealed bill; `billing_data` is its document, `body` that document's digest."""

    id: int
    company_account_number: Account
    company_name: str
    invoice_number: Invoice
    billing_year: int
    billing_month: int
    invoice_date: date
    due_date: date
    archived_at: datetime
    billing_plan: str | None
    contract_term: str | None
    support_level: str | None
    total_amount: DecimalText
    total_user_charges: DecimalText
    total_asset_charges: DecimalText
    total_backup_charges: DecimalText
    total_ticket_charges: DecimalText
    total_line_item_charges: DecimalText
    total_tax_charges: DecimalText
    user_count: int
    asset_count: int
    billable_hours: DecimalText
    created_by: str | None
    notes: str | None
    kind: str
    revision: int
    currency: str
    body_sha256: Digest
    log_index: int
    corrects: str | None
    checkpoint: str
    body: Digest
    billing_data: dict[str, Any] | None = Field(description="null once it was erased")
    corrected_by: list[CorrectingRow]


class InvoicePath(Model):
    invoice_number: Invoice


class ProofQuery(Model):
    size: int | None = Field(None, ge=1, le=2**62, description="a signed size other than the first that covers it")


class Searched(Model):
    """What a search may ask; the same names in the address of the page and of the API."""

    account_number: Account | None = None
    company: Words | None = Field(None, description="part of the company's name, or its account number")
    year: Year | None = None
    month: Month | None = None
    from_period: PeriodText | None = Field(None, description="of this month or later")
    to_period: PeriodText | None = Field(None, description="of this month or earlier")
    from_date: date | None = Field(None, description="archived on this day or later, in the billing time zone")
    to_date: date | None = Field(None, description="archived on this day or earlier; the day counts whole")
    min_total: DecimalText | None = None
    max_total: DecimalText | None = None
    plan: Words | None = None
    item: Words | None = Field(None, description="part of a line's name or description, such as a machine's name")
    kind: Literal["invoice", "credit_note"] | None = None
    q: Words | None = Field(None, description="any of these: company, account, beginning of the number, text on a line")


class SearchQuery(Searched):
    sort: Sort = Field("-sealed", description="- before it: falling")
    limit: int = Field(100, ge=1, le=1000)
    offset: int = Field(0, ge=0, le=10_000_000)
    cursor: str = Field("", max_length=100, pattern=NO_NUL)
    format: Literal["json", "csv"] = Field("json", description="csv: all that fits, whatever limit and cursor say")


class SearchForm(Searched):
    """The page's address: `after` and `before` are ids at the edge of a page, `first` the number of its first row."""

    sort: Sort = "-period"
    after: int | None = Field(None, ge=1, le=2**62)
    before: int | None = Field(None, ge=1, le=2**62)
    first: int = Field(1, ge=1, le=2**62)
    format: Literal["html", "csv"] = "html"


class SnapshotRow(Model):
    id: int
    company_account_number: Account
    company_name: str
    invoice_number: Invoice
    billing_year: int
    billing_month: int
    invoice_date: date
    archived_at: datetime
    billing_plan: str | None
    currency: str
    kind: str
    total_amount: DecimalText
    user_count: int
    asset_count: int


class SearchPage(Model):
    """With `format=csv` it is a file instead."""

    model_config = ConfigDict(openapi_extra={"content": {"text/csv": {"schema": {"type": "string"}}}})  # type: ignore[typeddict-unknown-key]
    total: int
    total_exact: bool = Field(description="false when there are more than the 10,000 that were counted")
    limit: int
    offset: int
    next: str | None = Field(description="cursor of the following page, null on the last")
    results: list[SnapshotRow]


class CompanyRow(Model):
    id: int
    company_name: str
    invoice_number: Invoice
    billing_year: int
    billing_month: int
    invoice_date: date
    archived_at: datetime
    currency: str
    kind: str
    corrects: str | None
    total_amount: DecimalText
    billing_plan: str | None
    contract_term: str | None
    corrected_by: list[Invoice]
    balance: DecimalText | None = Field(description="of an invoice: what its credit notes leave of it")


class CompanyPage(Model):
    company_account_number: Account
    company_name: str | None
    total_snapshots: int
    balance: DecimalText | None = Field(description="of all documents; null when they are not in one currency")
    balances: dict[str, DecimalText] = Field(description="by currency")
    next: str | None
    snapshots: list[CompanyRow]


class CompanyQuery(Model):
    limit: int = Field(100, ge=1, le=1000)
    cursor: str = Field("", max_length=100, pattern=NO_NUL)


class LineItem(Model):
    id: int
    snapshot_id: int
    line_type: str
    item_name: str
    description: str
    quantity: DecimalText
    rate: DecimalText
    amount: DecimalText


class LineItems(Model):
    invoice_number: Invoice
    line_items: list[LineItem]


class SealedQuery(Model):
    period: PeriodText
    accounts: str = Field("", pattern=r"^([A-Za-z0-9]{1,32}(,[A-Za-z0-9]{1,32})*)?$", description="only these")
    bodies: Literal["", "0", "1"] = Field("", description="1: with the exact body as `document`")


class BulkOrder(YearMonth):
    account_numbers: list[Account] | None = Field(None, max_length=10_000, description="only these; null means all")


class BulkOrdered(Model):
    message: str
    job_id: str


class ScheduleChange(Model):
    """The settings to change; those left out stay as they are, whatever default stands here."""

    enabled: bool = True
    day_of_month: int = Field(1, ge=1, le=31, strict=True)
    hour: int = Field(2, ge=0, le=23, strict=True)
    snapshot_previous_month: bool = True
    snapshot_all_companies: bool = True
    account_numbers: list[Account] | None = Field(None, max_length=10_000)


class ScheduleConfig(Model):
    id: int
    enabled: bool
    day_of_month: int
    hour: int
    snapshot_previous_month: bool
    snapshot_all_companies: bool
    account_numbers: list[str] | None
    last_run_at: datetime | None
    last_run_status: str | None
    last_run_count: int | None
    last_run_log: str | None
    created_at: datetime
    updated_at: datetime | None


class ScheduleAnswer(Model):
    message: str | None = None
    config: ScheduleConfig | None


class JobsQuery(Model):
    limit: int = Field(50, ge=1, le=100)
    offset: int = Field(0, ge=0, le=10_000_000)
    status: Literal["queued", "running", "retrying", "completed", "failed", "cancelled"] | None = None


class JobRow(Model):
    id: str
    job_type: str
    status: str
    target_year: int
    target_month: int
    target_account_numbers: list[str] | None
    total_companies: int
    completed_companies: int
    failed_companies: int
    started_at: datetime
    completed_at: datetime | None
    success: bool | None
    triggered_by: str
    attempts: int
    success_count: int
    failed_count: int
    duration_seconds: float | None = Field(description="from the order to the end; null before that")
    error: str | None
    cancel_asked_at: datetime | None
    cancel_asked_by: str | None


class Cancelled(Model):
    message: str
    job: JobRow


class JobsPage(Model):
    total: int
    limit: int
    offset: int
    jobs: list[JobRow]


class CompanyResult(Model):
    account_number: str
    status: str = Field(description="sealed, already, skipped or failed")
    reason: str | None
    retryable: bool
    invoice_number: str | None
    total: DecimalText | None
    attempt: int
    recorded_at: datetime


class JobAnswer(JobRow):
    output: dict[str, Any] | None
    results: list[CompanyResult]
    next: str | None


class JobPath(Model):
    job_id: str = Field(max_length=50, pattern=NO_NUL)


class JobQuery(PageQuery):
    limit: int = Field(1000, ge=1, le=1000)


class TilePath(Model):
    tile: str = Field(max_length=200, description="such as 0/x001/x234/067 or entries/000.p/17")


class CheckpointsQuery(Model):
    after: int = Field(0, ge=0, le=2**62, description="only those after this id")
    limit: int = Field(1000, ge=1, le=1000)


class CheckpointRow(Model):
    id: int
    size: int
    signed_at: datetime
    note: str = Field(description="the C2SP signed note")


class CheckpointsPage(Model):
    checkpoints: list[CheckpointRow]
    next: int | None = Field(description="`after` of the following page, null on the last")
    entries: int = Field(description="how many entries are stored, signed or not")


class ConsistencyQuery(Model):
    old: int = Field(ge=1, le=2**62, alias="from", description="the smaller size; every log extends that of size 0")
    new: int = Field(ge=1, le=2**62, alias="to", description="the larger size, at most the newest signed one")


class Consistency(Model):
    old: int = Field(alias="from")
    new: int = Field(alias="to")
    proof: list[str] = Field(description="RFC 9162 hashes in their order, base64")


class Front(Model):
    service: str
    log: str = Field(description="address of the newest signed checkpoint")
    docs: str
