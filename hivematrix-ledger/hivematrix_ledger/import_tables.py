"""The import files Ledger reads: overrides, manual items, line items, prepaid hours, tax rates."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from hivematrix_common import cells
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.vocabulary import ASSET_TYPES, RATES, USER_TYPES
from hivematrix_common.importing import Check, Column, Table, in_order

from hivematrix_ledger.domain.engines.v1.prepaid import WINDOW
from hivematrix_ledger.domain.engines.v1.tax import KINDS, REST

FEATURE = "feature:"
LABELS = ("billing_plan", "support_level")
ITEM_KINDS = ("recurring", "one_off", "yearly")
POOL_YEARS = ("calendar", "contract")
_KEY_TEXT = cells.text(300)
_UNSIGNED = cells.decimal(minimum=Decimal(0))
_ACCOUNT = Column("account_number", cells.account_number, required=True)
_COST = Column("custom_cost", cells.decimal())
_NOTES = Column("notes", cells.text(2000))
_WINDOW = (Column("from_period", cells.period), Column("to_period", cells.period))


def override_key(cell: str) -> str:
    _KEY_TEXT(cell)
    if cell in RATES or cell in LABELS or (cell.startswith(FEATURE) and cell.removeprefix(FEATURE).strip()):
        return cell
    known = ", ".join((*LABELS, f"{FEATURE}NAME", *RATES))
    raise DomainError("", f"expected one of {known}, got {cells.shown(cell)}")


def user_type(cell: str) -> str:
    """`No Charge` is read as Free."""
    return "Free" if cells.one_of(*USER_TYPES, "No Charge")(cell) == "No Charge" else cell


def _rate_value(values: dict[str, Any]) -> tuple[str, str] | None:
    if values["key"] not in RATES:
        return None
    try:
        _UNSIGNED(values["value"])
    except DomainError as error:
        return "value", error.message
    return None


def _cost_of_custom(values: dict[str, Any]) -> tuple[str, str] | None:
    if values["billing_type"] == "Custom" and values["custom_cost"] is None:
        return "custom_cost", "Custom needs a cost"
    return None


def _fields_of_kind(kind: str, needed: str | None, *foreign: str) -> Check:
    """A line item of `kind` has its own field and none of another kind's."""

    def check(values: dict[str, Any]) -> tuple[str, str] | None:
        if values["kind"] != kind:
            return None
        if needed and values[needed] is None:
            return needed, f"a {kind} item needs a {needed}"
        return next(((name, f"a {kind} item has no {name}") for name in foreign if values[name] is not None), None)

    return check


def _overrides(stem: str, subject: str, kind: Callable[[str], str]) -> Table:
    columns = (Column(subject, cells.text(128), required=True), Column("billing_type", kind, required=True), _COST)
    return Table(stem, columns, key=(subject,), checks=(_cost_of_custom,), subject=subject)


def _manual(stem: str, name: str, kind: Callable[[str], str]) -> Table:
    named = Column(name, cells.text(), required=True)
    columns = (_ACCOUNT, named, Column("billing_type", kind, required=True), _COST, _NOTES)
    return Table(stem, columns, checks=(_cost_of_custom,), subject="account_number")


_TABLES = (
    Table(
        "client_overrides",
        (
            *(_ACCOUNT, Column("key", override_key, required=True), Column("value", cells.text(), required=True)),
            *_WINDOW,
        ),
        checks=(_rate_value, in_order("from_period", "to_period")),
        subject="account_number",
    ),
    _overrides("asset_overrides", "asset_uid", cells.one_of(*ASSET_TYPES)),
    _overrides("user_overrides", "contact_uid", user_type),
    _manual("manual_assets", "hostname", cells.one_of(*ASSET_TYPES)),
    _manual("manual_users", "name", user_type),
    Table(
        "line_items",
        (
            *(_ACCOUNT, Column("name", cells.text(), required=True), Column("description", cells.text(2000))),
            Column("kind", cells.one_of(*ITEM_KINDS), required=True),
            Column("fee", cells.decimal(), required=True),
            *(Column("period", cells.period), Column("month", cells.integer(1, 12)), *_WINDOW),
        ),
        checks=(
            _fields_of_kind("recurring", None, "period", "month"),
            _fields_of_kind("one_off", "period", "month", "from_period", "to_period"),
            _fields_of_kind("yearly", "month", "period"),
            in_order("from_period", "to_period"),
        ),
        subject="account_number",
    ),
    Table(
        "prepaid_hours",
        (
            *(_ACCOUNT, Column("monthly", _UNSIGNED), Column("yearly", _UNSIGNED)),
            Column("pool_year", cells.one_of(*POOL_YEARS), default=POOL_YEARS[0]),
            Column("rollover_months", cells.integer(0, WINDOW - 1), default=0),
        ),
        key=("account_number",),
        subject="account_number",
    ),
    Table(
        "tax_rates",
        (
            *(_ACCOUNT, Column("category", cells.one_of(*KINDS, REST), required=True)),
            Column("percent", cells.decimal(minimum=Decimal(0), maximum=Decimal(100)), required=True),
        ),
        key=("account_number", "category"),
        subject="account_number",
    ),
)


def tables(_zone: ZoneInfo) -> tuple[Table, ...]:
    """Periods need no time zone; Codex's dates do, and both are asked alike."""
    return _TABLES
