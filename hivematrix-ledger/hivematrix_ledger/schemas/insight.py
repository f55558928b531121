"""Requests and answers about why a bill is what it is: explanation, difference, findings."""

from typing import Annotated, Any, Literal

from hivematrix_common.schemas import NO_NUL, BillPath, Model, PageQuery, PeriodText
from pydantic import ConfigDict, Field

from hivematrix_ledger.domain.change import Cause
from hivematrix_ledger.domain.leakage import Kind

PAGE = 500


class MonthPath(Model):
    period: PeriodText


class FindingPath(BillPath):
    key: Annotated[str, Field(pattern="^[0-9a-f]{16}$")]


class With(Model):
    """`with` is the earlier month; the one before when it is missing."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    other: PeriodText | None = Field(None, alias="with", description="such as 2025-09; the month before when missing")


class MonthQuery(PageQuery):
    limit: int = Field(PAGE, ge=1, le=PAGE)


class MonthWith(MonthQuery):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    other: PeriodText | None = Field(None, alias="with", description="such as 2025-09; the month before when missing")


class ExplainedLine(Model):
    """A line of the bill; `records` are the sealed rows it bills, `set_by` the row that won the rate."""

    model_config = ConfigDict(extra="allow")
    kind: str
    name: str
    amount: str
    replayed: str = Field(description="the amount that `why` alone gives")
    records: list[dict[str, Any]]
    set_by: dict[str, Any] | None
    why: dict[str, Any]


class Explanation(Model):
    account_number: str
    period: str
    invoice_number: str
    status: Literal["accepted", "preview"]
    digest: str
    currency: str
    totals: dict[str, str]
    counts: dict[str, Any]
    rates: list[dict[str, Any]]
    contract: dict[str, Any]
    prepaid: dict[str, Any] | None
    lines: list[ExplainedLine]


class MonthTold(Model):
    status: Literal["sealed", "preview", "skipped", "unbillable", "erased"]
    total: str | None
    reason: str | None


class ClassSum(Model):
    cause: Literal[tuple(str(cause) for cause in Cause)] = Field(alias="class")  # type: ignore[valid-type]
    amount: str


class ChangeDocument(ClassSum):
    kind: str
    name: str
    uids: list[str]
    before: str
    after: str


class Difference(Model):
    """`change` is the later total less the earlier; the classes sum to it. Null where the two cannot be compared."""

    account_number: str
    period: str
    other: str = Field(alias="with")
    before: MonthTold
    after: MonthTold
    currency: str | None
    change: str | None
    reason: str | None = None
    classes: list[ClassSum]
    changes: list[ChangeDocument]


class AcknowledgedBy(Model):
    by: str
    reason: str


class FindingDocument(Model):
    key: str = Field(description="stays while what was found is the same")
    kind: Literal[tuple(str(kind) for kind in Kind)]  # type: ignore[valid-type]
    subject: str
    detail: str
    acknowledged: AcknowledgedBy | None


class Report(Model):
    account_number: str
    period: str
    status: str
    reason: str | None = None
    open: int = Field(description="findings that nobody acknowledged")
    findings: list[FindingDocument]


class Acknowledge(Model):
    reason: Annotated[str, Field(min_length=1, max_length=2000, pattern=NO_NUL)]
