"""Requests and answers about why a bill is what it is: explanation, difference, findings."""

from typing import Annotated, Any, Literal

from hivematrix_common.domain.vocabulary import RATES
from hivematrix_common.schemas import NO_NUL, Account, BillPath, Model, PageQuery, PeriodText, spelled
from pydantic import ConfigDict, Field

from hivematrix_ledger.domain.change import Cause
from hivematrix_ledger.domain.leakage import Kind
from hivematrix_ledger.domain.what_if import COUNTED

PAGE = 500
Rate = Annotated[str, spelled(r"^[0-9]{1,15}(\.[0-9]{1,4})?$", "0 or more with at most 4 decimals, as text")]
CountedName = Annotated[str, spelled(f"^({'|'.join(COUNTED)})$", f"one of {', '.join(COUNTED)}")]
RateName = Annotated[str, spelled(f"^({'|'.join(RATES)})$", f"one of {', '.join(RATES)}")]


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


class LateChange(Model):
    at: str
    actor: str
    rule: str
    what: str


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
    changed_after: list[LateChange] = Field(
        description="of a preview: Ledger's rows and Codex's facts changed after the month's end, billed as now"
    )


class MonthTold(Model):
    status: Literal["sealed", "preview", "skipped", "unbillable", "erased"]
    total: str | None
    reason: str | None


class ClassSum(Model):
    cause: Cause = Field(alias="class")
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


class WhatIf(Model):
    """What stays as it is, is left out. A count is of all items of a type that count; an override of null is ended."""

    account_number: Account
    period: PeriodText = Field(description="this month or one of the next twelve")
    plan: Annotated[str, Field(min_length=1, max_length=200, pattern=NO_NUL)] | None = None
    term: str | None = Field(None, max_length=50, pattern=NO_NUL)
    counts: dict[CountedName, Annotated[int, Field(ge=0, le=10_000)]] = Field(default_factory=dict)
    overrides: dict[RateName, Rate | None] = Field(default_factory=dict)
    hours: Rate | None = Field(None, description="billable hours worked in the month, beside those that are known")


class WhatIfAnswer(Model):
    """`before` is the bill as things are, `after` as supposed; `bill` is the latter's body."""

    account_number: str
    period: str
    before: MonthTold
    after: MonthTold
    currency: str | None
    change: str | None
    reason: str | None = None
    classes: list[ClassSum]
    changes: list[ChangeDocument]
    bill: dict[str, Any] | None


class Until(Model):
    until: PeriodText = Field(alias="to", description="the last month, such as 2025-10")


class Balance(Model):
    """granted = used + expired + left, after every row."""

    granted: str
    used: str
    expired: str
    left: str


class Balances(Model):
    monthly: Balance
    pool: Balance


class HoursRow(Model):
    """What a row adds to the monthly hours and to the pool; one of an entry says what was billed of it."""

    model_config = ConfigDict(extra="allow")
    what: Literal["granted", "used", "expired"]
    day: str
    told: str
    monthly: str
    pool: str
    balance: Balances


class MonthPrepaid(Model):
    period: str
    prepaid: dict[str, Any] | None


class HoursStatement(Model):
    account_number: str
    since: str = Field(alias="from")
    until: str = Field(alias="to")
    months: list[MonthPrepaid] = Field(description="those with a bill")
    balance: Balances | None
    rows: list[HoursRow]


class BoardRow(Model):
    """`findings` are the open ones; `digest` is of the bill as it is now, for its acceptance."""

    account_number: str
    company_name: str | None
    state: Literal["sealed", "unrecorded", "sealing", "open", "findings", "unbillable", "skipped", "erased"]
    reason: str | None
    invoice_number: str | None
    currency: str | None
    totals: dict[str, str] | None
    recurring: str | None
    credited: str | None
    digest: str | None
    findings: int


class BoardTotal(Model):
    """One currency's bills by kind; `mrr` is what recurs, beside what the month before was invoiced of it."""

    model_config = ConfigDict(extra="allow")
    currency: str
    total: str
    mrr: str
    mrr_before: str | None
    mrr_change: str | None


class Board(Model):
    period: str
    states: dict[str, int]
    totals: list[BoardTotal]
    companies: list[BoardRow]


class AcknowledgedBy(Model):
    by: str
    reason: str


class FindingDocument(Model):
    key: str = Field(description="stays while what was found is the same")
    kind: Kind
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
