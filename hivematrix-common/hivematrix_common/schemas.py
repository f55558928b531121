"""Shapes that all services share: problems, pages, decimals as text, account numbers, periods."""

from decimal import Decimal
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.money import decimal_text, parse_decimal
from hivematrix_common.domain.period import FIRST_YEAR, LAST_YEAR, Period

ACCOUNT = r"^[A-Za-z0-9]{1,32}$"
LARGEST_PAGE = 1000
NO_NUL = r"^[^\x00]*$"  # PostgreSQL keeps no such text


class Model(BaseModel):
    """A request or an answer: unknown members are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _decimal(value: Any) -> Decimal:
    try:
        return parse_decimal(value)
    except DomainError as error:
        raise ValueError(error.message) from None


def _period(value: Any) -> Period:
    try:
        return value if isinstance(value, Period) else Period.parse(value)
    except DomainError as error:
        raise ValueError(error.message) from None


DecimalText = Annotated[
    Decimal,
    BeforeValidator(_decimal),
    PlainSerializer(decimal_text, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^-?[0-9]{1,15}(\.[0-9]{1,15})?$", "description": "such as 912.50"}),
]
PeriodText = Annotated[
    Period,
    BeforeValidator(_period),
    PlainSerializer(str, return_type=str),
    WithJsonSchema({"type": "string", "pattern": r"^2[01][0-9]{2}-(0[1-9]|1[0-2])$", "description": "such as 2025-10"}),
]
Account = Annotated[str, Field(pattern=ACCOUNT)]
Year = Annotated[int, Field(ge=FIRST_YEAR, le=LAST_YEAR)]
Month = Annotated[int, Field(ge=1, le=12)]


class FieldErrorDocument(BaseModel):
    field: str
    message: str
    file: str | None = None
    line: int | None = None


class ProblemDocument(BaseModel):
    """RFC 9457 problem details, with our stable `code` and the request's `trace_id`."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    instance: str
    trace_id: str
    errors: list[FieldErrorDocument] = Field(default_factory=list)


class AccountPath(Model):
    account_number: Account


class BillPath(AccountPath):
    period: PeriodText


class YearMonth(Model):
    year: Year
    month: Month

    @property
    def period(self) -> Period:
        return Period(self.year, self.month)


class PageQuery(Model):
    limit: int = Field(100, ge=1, le=LARGEST_PAGE)
    cursor: str = Field("", max_length=200, pattern=NO_NUL)


class Health(Model):
    """`ok`, or `fail` when the database or its schema fails; a peer's fault never shows here."""

    status: str
    service: str
