"""What an engine is given, checked member by member: the engine itself takes it on trust."""

from typing import Annotated, Any, Literal, Self

from hivematrix_common.schemas import Account, Model, Month, spelled
from pydantic import ConfigDict, Field, WrapValidator, model_validator

from hivematrix_ledger.domain.engines.v2 import FORMAT as CREDIT

DIGEST = r"^sha256:[0-9a-f]{64}$"
Digest = Annotated[str, spelled(DIGEST, "sha256: and 64 hexadecimal digits")]

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


class InputCorrects(_Strict):
    invoice_number: str
    body: Digest


class InputCorrection(_Strict):
    invoice_number: str
    corrects: InputCorrects
    mode: Literal["credit", "replace"]
    reason: str


class InputWhy(_Strict):
    model_config = ConfigDict(strict=True, extra="allow")
    records: int
    dates: dict[str, Any]
    rate: str
    rate_name: str | None
    basis: dict[str, Any] | None


class InputOriginalLine(_Strict):
    model_config = ConfigDict(strict=True, extra="allow")
    kind: Literal["user", "asset", "backup", "hours", "item", "tax"]
    description: str
    quantity: _Decimal
    rate: _Decimal
    amount: _Decimal
    why: InputWhy


class InputOriginal(_Strict):
    model_config = ConfigDict(strict=True, extra="allow")
    format: str
    account_number: Account
    invoice_number: str
    company_name: str
    period: _Month
    currency: _Currency
    invoice_date: _Day
    due_date: _Day
    billing_plan: str | None
    contract_term: str | None
    plan_version: _Day
    support_level: str | None
    features: list[dict[str, Any]]
    lines: list[InputOriginalLine]


class InputCredited(_Strict):
    line: Annotated[int, Field(ge=0)]
    amount: _Decimal


class CreditInputs(_Strict):
    """What a credit note is made of (domain/engines/v2/README.md)."""

    format: Literal["hivematrix.credit/1"]
    correction: InputCorrection
    original: InputOriginal
    lines: list[Annotated[int, Field(ge=0)]]
    credited: list[InputCredited]

    @model_validator(mode="after")
    def _check(self) -> Self:
        count = len(self.original.lines)
        for at in [*self.lines, *(row.line for row in self.credited)]:
            if at >= count:
                raise ValueError(f"the original has {count} lines, counted from 0; got {at}")
        for line in self.original.lines:
            if line.kind == "tax" and not isinstance((line.why.basis or {}).get("kinds"), dict):
                raise ValueError("original.lines: a tax line says in why.basis.kinds what it is on")
        return self


class Inputs(_Strict):
    """What an engine is given (domain/engines/v1/README.md); with `correction` a replacement is made of it."""

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
    correction: InputCorrection | None = None


def _by_format(sent: Any, _validate: Any) -> Inputs | CreditInputs:
    """A fault is told by its member alone, not by every kind of inputs that it does not fit."""
    is_credit = isinstance(sent, dict) and sent.get("format") == CREDIT
    return CreditInputs.model_validate(sent) if is_credit else Inputs.model_validate(sent)


AnyInputs = Annotated[Inputs | CreditInputs, WrapValidator(_by_format)]
