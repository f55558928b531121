"""Invoices to fetch and to send."""

from datetime import datetime
from typing import Annotated, Literal

from hivematrix_common.schemas import Account, Model, PageQuery, PeriodText, YearMonth
from pydantic import Field

PAGE = 100
NUMBER = r"^[A-Za-z0-9]{1,32}-2[01][0-9]{2}(0[1-9]|1[0-2])(-C[1-9][0-9]{0,3})?$"
_OTHERS = "0 for the invoice as first sealed, 1 for -C1; the invoice in force when missing"


class DocumentQuery(YearMonth):
    correction: int | None = Field(None, ge=0, le=9999, description=_OTHERS)


class MonthQuery(YearMonth):
    format: Literal["csv", "quickbooks"] = "csv"


class InvoicePath(Model):
    invoice_number: Annotated[
        str, Field(pattern=r"^[A-Za-z0-9]{1,32}-2[01][0-9]{2}(0[1-9]|1[0-2])(-C[1-9][0-9]{0,3})?$")
    ]


class MonthPath(Model):
    period: PeriodText


class SendBody(Model):
    force: bool = Field(False, description="send again what was sent, or may have been")


class SendMonth(Model):
    accounts: list[Account] | None = Field(None, max_length=PAGE, description="all when it is missing")


class SendQuery(PageQuery):
    limit: int = Field(PAGE, ge=1, le=PAGE, description="companies")


class Sent(Model):
    invoice_number: str
    status: Literal["sent", "already"]
    to: str
    message_id: str
    at: datetime


class Mail(Model):
    at: datetime
    to: str
    by: str
    message_id: str
    outcome: Literal["sent", "refused", "deferred", "unknown"]
    reason: str | None


class Mails(Model):
    invoice_number: str
    mails: list[Mail]
