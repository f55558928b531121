"""How each kind of row stands on a page: its table, its form, its words."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

from hivematrix_common.domain.vocabulary import ASSET_TYPES, RATES, USER_TYPES
from hivematrix_common.tables import Column, Table

from hivematrix_ledger.domain.engines.v1.tax import KINDS as CATEGORIES
from hivematrix_ledger.domain.engines.v1.tax import REST
from hivematrix_ledger.import_tables import FEATURE, ITEM_KINDS, LABELS, POOL_YEARS

_PERIOD = "Such as 2025-10; empty is open."
_MONEY = "At most 4 decimals. 0 is a value."
_CUSTOM = "For the type Custom; a negative one is a discount."


@dataclass(frozen=True, slots=True)
class Field:
    """A form's field and a table's column; `options` make it a choice, `hints` only propose."""

    name: str
    label: str
    help: str = ""
    options: tuple[str, ...] = ()
    hints: tuple[str, ...] = ()
    required: bool = False
    number: bool = False
    priority: Any = 1
    of_codex: bool = False


@dataclass(frozen=True, slots=True)
class Kind:
    """`keyed` are the members that tell an account's rows from each other; `path` its part of the address."""

    stem: str
    title: str
    nouns: tuple[str, str]
    text: str
    keyed: tuple[str, ...]
    fields: tuple[Field, ...]

    @property
    def path(self) -> str:
        return self.stem.replace("_", "-")

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(field.name for field in self.fields)

    @property
    def labels(self) -> dict[str, str]:
        return {field.name: field.label for field in self.fields}

    @property
    def single(self) -> bool:
        """An account has one such row at most."""
        return not self.keyed

    @property
    def table(self) -> Table:
        columns = tuple(
            Column(field.name, field.label, kind="number" if field.number else "text", priority=field.priority)
            for field in self.fields
        )
        return Table(
            name=self.path,
            caption=self.title,
            nouns=self.nouns,
            columns=columns,
            key="place",
            sort=self.fields[0].name,
            search=tuple(field.name for field in self.fields if not field.number)[:2],
        )

    def key(self, account: str, said: Mapping[str, str]) -> tuple[Any, ...]:
        """The row that an address names."""
        own = tuple(said.get(name) or None for name in self.keyed)
        return own if self.keyed[:1] in {("asset_uid",), ("contact_uid",)} else (account, *own)

    def shown(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """A row with its address."""
        return dict(row) | {"place": urlencode({name: row[name] or "" for name in self.keyed})}

    def texts(self, row: Mapping[str, Any]) -> dict[str, str]:
        """A row as its form holds it."""
        return {name: "" if row[name] is None else str(row[name]) for name in self.names}


_WINDOW = (
    Field("from_period", "First month", _PERIOD),
    Field("to_period", "Last month", f"{_PERIOD} It ends the row."),
)


def _typed(types: tuple[str, ...]) -> tuple[Field, ...]:
    return (
        Field("billing_type", "Type", options=types, required=True),
        Field("custom_cost", "Cost", _CUSTOM, number=True),
    )


KINDS: Final = (
    Kind(
        "client_overrides",
        "Overrides",
        ("override", "overrides"),
        "Rates, the plan, the support level and features that this company has instead of those of its plan.",
        ("key", "from_period"),
        (
            Field(
                "key",
                "What",
                f"A rate, {', '.join(LABELS)}, or {FEATURE}NAME.",
                hints=(*RATES, *LABELS, FEATURE),
                required=True,
            ),
            Field("value", "Value", "A rate has at most 4 decimals. 0 is a value.", required=True),
            *_WINDOW,
        ),
    ),
    Kind(
        "asset_overrides",
        "Assets of Codex",
        ("asset override", "asset overrides"),
        "Billed as another type than Codex says, or at a cost of their own.",
        ("asset_uid",),
        (Field("asset_uid", "Asset", required=True, of_codex=True), *_typed(ASSET_TYPES)),
    ),
    Kind(
        "user_overrides",
        "Users of Codex",
        ("user override", "user overrides"),
        "Free, or at a cost of their own.",
        ("contact_uid",),
        (Field("contact_uid", "User", required=True, of_codex=True), *_typed(USER_TYPES)),
    ),
    Kind(
        "manual_assets",
        "Manual assets",
        ("manual asset", "manual assets"),
        "Machines that Codex does not know; always billed in full.",
        ("uid",),
        (
            Field("hostname", "Host name", required=True),
            *_typed(ASSET_TYPES),
            Field("notes", "Notes", "Nobody of the company sees them.", priority=2),
        ),
    ),
    Kind(
        "manual_users",
        "Manual users",
        ("manual user", "manual users"),
        "People that Codex does not know; always billed in full.",
        ("uid",),
        (
            Field("name", "Name", required=True),
            *_typed(USER_TYPES),
            Field("notes", "Notes", "Nobody of the company sees them.", priority=2),
        ),
    ),
    Kind(
        "line_items",
        "Line items",
        ("line item", "line items"),
        "Charged each month, in one month, or every year.",
        ("uid",),
        (
            Field("name", "Name", required=True),
            Field("description", "Description", priority=3),
            Field(
                "kind",
                "Kind",
                "recurring, one_off (needs a month), yearly (needs a month of the year).",
                options=ITEM_KINDS,
                required=True,
            ),
            Field("fee", "Fee", f"{_MONEY} Negative is a discount.", required=True, number=True),
            Field("period", "Month", "Of a one_off item, such as 2025-10.", priority=2),
            Field("month", "Month of the year", "Of a yearly item, 1 to 12.", priority=2),
            *_WINDOW,
        ),
    ),
    Kind(
        "prepaid_hours",
        "Prepaid hours",
        ("row of prepaid hours", "rows of prepaid hours"),
        "Used before hours are charged: those of the month first, then those of the year.",
        (),
        (
            Field("monthly", "Hours a month", number=True),
            Field("yearly", "Hours a year", number=True),
            Field(
                "pool_year",
                "Year",
                "From January, or from the first month of the contract.",
                options=POOL_YEARS,
                required=True,
            ),
            Field("rollover_months", "Months that unused monthly hours live on", "0 to 11.", number=True),
        ),
    ),
    Kind(
        "tax_rates",
        "Taxes",
        ("tax rate", "tax rates"),
        "Percent of all lines of a kind of charge; * is for the kinds not named.",
        ("category",),
        (
            Field("category", "Category", options=(*CATEGORIES, REST), required=True),
            Field("percent", "Percent", required=True, number=True),
        ),
    ),
)
BY_PATH: Final = {kind.path: kind for kind in KINDS}
