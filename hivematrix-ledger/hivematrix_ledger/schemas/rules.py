"""Overrides and items as they are sent and answered. What a cell may hold is said once, by the import's tables."""

from datetime import datetime
from typing import Annotated, Any, Literal

from hivematrix_common.schemas import NO_NUL, Account, AccountPath, Model, PageQuery, spelled
from pydantic import Field, RootModel, WithJsonSchema

Name = Annotated[str, Field(min_length=1, max_length=300, pattern=NO_NUL)]


def _one_of(*kinds: str, told: str = "") -> WithJsonSchema:
    words = {"description": told} if told else {}
    return WithJsonSchema({"anyOf": [{"type": kind} for kind in kinds]} | words)


# A number stays the text it was sent as: the cell is read by the import's own rules (services/rules.py).
Cell = Annotated[Any, _one_of("string", "null")]
DecimalCell = Annotated[Any, _one_of("string", "number", "null", told="at most 4 decimals; 0 is a value")]
MonthCell = Annotated[Any, _one_of("string", "null", told="such as 2025-10; open when missing")]
WholeCell = Annotated[Any, _one_of("string", "integer", "null")]
Rule = Literal[
    "client_overrides",
    "asset_overrides",
    "user_overrides",
    "manual_assets",
    "manual_users",
    "line_items",
    "prepaid_hours",
    "tax_rates",
]


class KeyPath(AccountPath):
    key: Name


class FeaturePath(AccountPath):
    name: Name


class AssetPath(Model):
    asset_uid: Name


class ContactPath(Model):
    contact_uid: Name


class ItemPath(AccountPath):
    uid: Name


class CategoryPath(AccountPath):
    category: Name


class BeginQuery(Model):
    from_period: Annotated[str, spelled(r"^([0-9]{4}-[0-9]{2})?$", "a month such as 2025-10, or nothing")] | None = (
        Field(None, description="the row's first month, empty for an open beginning; not needed for a key's only row")
    )


class WindowQuery(Model):
    from_period: Annotated[str, Field(max_length=20)] | None = None
    to_period: Annotated[str, Field(max_length=20)] | None = None


class HistoryQuery(PageQuery):
    rule: Rule | None = Field(None, description="only changes of these rows")
    cursor: Annotated[str, spelled(r"^[0-9]{0,18}$", "the last answer's next")] = ""


class OverrideBody(Model):
    key: Cell = Field(description="a rate such as per_user, billing_plan, support_level, feature:NAME")
    value: DecimalCell
    from_period: MonthCell = None
    to_period: MonthCell = None


class FeaturesBody(RootModel[Annotated[dict[Name, Cell], Field(max_length=200)]]):
    """What each feature is called on this company's bill."""


class ItemOverrideBody(Model):
    billing_type: Cell
    custom_cost: DecimalCell = None
    account_number: Account | None = Field(None, description="whose it is; all companies are asked for it when missing")


class ManualAssetBody(Model):
    hostname: Cell
    billing_type: Cell
    custom_cost: DecimalCell = None
    notes: Cell = None


class ManualUserBody(Model):
    name: Cell
    billing_type: Cell
    custom_cost: DecimalCell = None
    notes: Cell = None


class LineItemBody(Model):
    name: Cell
    description: Cell = None
    kind: Cell = Field(description="recurring (each month), one_off (a period) or yearly (a month)")
    fee: DecimalCell
    period: MonthCell = None
    month: WholeCell = None
    from_period: MonthCell = None
    to_period: MonthCell = None


class PrepaidBody(Model):
    monthly: DecimalCell = None
    yearly: DecimalCell = None
    pool_year: Cell = None
    rollover_months: WholeCell = None


class TaxBody(Model):
    category: Cell
    percent: DecimalCell


class Override(Model):
    account_number: str
    key: str
    value: str
    from_period: str | None
    to_period: str | None


class _Item(Model):
    account_number: str
    billing_type: str
    custom_cost: str | None


class AssetOverride(_Item):
    asset_uid: str


class UserOverride(_Item):
    contact_uid: str


class _Standing(Model):
    name: str | None = Field(description="as Codex has it; null when it is idle")
    idle: bool = Field(description="Codex has no such item in this company: no bill is touched by the override")


class StandingAssetOverride(AssetOverride, _Standing):
    pass


class StandingUserOverride(UserOverride, _Standing):
    pass


class ManualAsset(_Item):
    uid: str
    hostname: str
    notes: str | None = None


class ManualUser(_Item):
    uid: str
    name: str
    notes: str | None = None


class LineItem(Model):
    account_number: str
    uid: str
    name: str
    description: str | None
    kind: str
    fee: str
    period: str | None
    month: int | None
    from_period: str | None
    to_period: str | None


class Prepaid(Model):
    account_number: str
    monthly: str | None
    yearly: str | None
    pool_year: str
    rollover_months: int


class TaxRate(Model):
    account_number: str
    category: str
    percent: str


class Overrides(Model):
    overrides: list[Override]


class AssetOverrides(Model):
    assets: list[StandingAssetOverride]


class UserOverrides(Model):
    users: list[StandingUserOverride]


class ManualAssets(Model):
    manual_assets: list[ManualAsset]


class ManualUsers(Model):
    manual_users: list[ManualUser]


class LineItems(Model):
    line_items: list[LineItem]


class PrepaidHours(Model):
    prepaid_hours: Prepaid | None


class TaxRates(Model):
    tax_rates: list[TaxRate]


class Changed(Model):
    success: bool
    message: str
    row: Override | AssetOverride | UserOverride | ManualAsset | ManualUser | LineItem | Prepaid | TaxRate


class ChangedOverrides(Model):
    success: bool
    message: str
    overrides: list[Override]


class RuleChange(Model):
    """A row that came (no `before`), went (no `after`) or became another. A client is not told who did it."""

    id: int
    at: datetime
    actor: str | None = None
    actor_kind: str | None = None
    action: str | None = Field(None, description="the route or command")
    trace_id: str | None = None
    rule: Rule
    before: dict[str, Any] | None
    after: dict[str, Any] | None


class History(Model):
    changes: list[RuleChange]
    next: str | None = Field(description="cursor of the following page, null on the last")
    total: int
    total_exact: bool
