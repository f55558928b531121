"""Shapes that all services share: problems, pages, decimals as text, account numbers, periods."""

from collections.abc import Mapping
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Annotated, Any

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    WithJsonSchema,
)

from hivematrix_common.cells import shown
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.money import decimal_text, parse_decimal
from hivematrix_common.domain.period import FIRST_YEAR, LAST_YEAR, Period

ACCOUNT = r"^[A-Za-z0-9]{1,32}$"
LARGEST_PAGE = 1000
NO_NUL = r"^[^\x00]*$"  # PostgreSQL keeps no such text


_SPELLED = {ACCOUNT: "1 to 32 letters and digits", NO_NUL: "text without NUL"}
_OBJECT, _WHOLE, _DATE = "expected an object", "expected a whole number", "expected a date such as 2025-10-31"
# pydantic's error types in our words; `{}` of the context where it has some, then what was sent.
_WORDS = {
    "string_type": "expected text",
    "int_type": _WHOLE,
    "int_parsing": _WHOLE,
    "int_from_float": _WHOLE,
    "bool_type": "expected true or false",
    "bool_parsing": "expected true or false",
    "list_type": "expected a list",
    "date_type": _DATE,
    "date_parsing": _DATE,
    "date_from_datetime_parsing": _DATE,
    "datetime_parsing": "expected an instant such as 2025-11-01T02:00:00Z",
    "datetime_from_date_parsing": "expected an instant such as 2025-11-01T02:00:00Z",
    "greater_than_equal": "expected {ge} or more",
    "greater_than": "expected more than {gt}",
    "less_than_equal": "expected {le} or less",
    "less_than": "expected less than {lt}",
    "literal_error": "expected {expected}",
    "string_too_long": "expected at most {max_length} characters",
    "string_too_short": "expected at least {min_length} characters",
    "too_long": "expected at most {max_length} items, got {actual_length}",
    "too_short": "expected at least {min_length} items, got {actual_length}",
    "union_tag_invalid": "expected {discriminator} to be one of {expected_tags}",
    "union_tag_not_found": "expected {discriminator}",
}
# What was sent there is not said again.
_SECRET = {"password", "token"}
_ALONE = {"missing": "missing", "extra_forbidden": "unknown member"} | dict.fromkeys(
    ["model_type", "model_attributes_type", "dict_type", "json_invalid"], _OBJECT
)


def spelled(pattern: str, words: str) -> Any:
    """A field's pattern, and how a refusal tells people what it takes."""
    _SPELLED[pattern] = words
    return Field(pattern=pattern)


def told(fault: Mapping[str, Any]) -> str:
    """One of pydantic's errors as a refusal says it: what was expected, and what came."""
    kind, context, sent = fault["type"], fault.get("ctx", {}), fault["input"]
    if kind in _ALONE:
        return _ALONE[kind]
    if kind == "string_pattern_mismatch":
        words = "expected " + _SPELLED.get(context["pattern"], f"the form {context['pattern']}")
    elif kind in _WORDS:
        words = _WORDS[kind].format(**context)
    else:
        message = str(fault["msg"]).removeprefix("Value error, ")
        return message[:1].lower() + message[1:]
    hidden = isinstance(sent, dict | list) or _SECRET.intersection(fault["loc"])
    return words if hidden else f"{words}, got {shown(str(sent))}"


class Model(BaseModel):
    """A request or an answer: unknown members are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    @classmethod
    def model_json_schema(cls, *args: Any, **kwargs: Any) -> dict[str, Any]:
        # flask-openapi3 asks for it without arguments at every request with a query, and only reads it.
        return super().model_json_schema(*args, **kwargs) if args or kwargs else _schema(cls)


@cache
def _schema(model: type[Model]) -> dict[str, Any]:
    return super(Model, model).model_json_schema()


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


def _utc(value: datetime) -> datetime:
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise ValueError("expected an instant of the years 1 to 9999") from None


Instant = Annotated[AwareDatetime, AfterValidator(_utc)]  # PostgreSQL takes no offset beyond 16 hours
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
Accounts = Annotated[
    str, spelled(r"^([A-Za-z0-9]{1,32}(,[A-Za-z0-9]{1,32})*)?$", "account numbers with commas between")
]
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
    cursor: str = Field("", max_length=4000, pattern=NO_NUL)


class Health(Model):
    """`ok`, or `fail` when the database or its schema fails; a peer's fault never shows here."""

    status: str
    service: str
