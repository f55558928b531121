"""The pages' tables: what people sort, filter, page through and export."""

from datetime import date
from decimal import Decimal
from typing import Any, Final, Literal

from hivematrix_common.domain.money import decimal_text
from hivematrix_common.domain.vocabulary import ASSET_TYPES
from hivematrix_common.tables import Choice, Column, Listing, Table

from hivematrix_codex import store
from hivematrix_codex.store import tables

NEVER: Final = date.min
_STATE: Final = {
    "counts": "Counts today",
    "coming": "Begins later",
    "gone": "Gone",
    "inactive": "Not active",
}
_ASSET_STATE: Final = {state: word for state, word in _STATE.items() if state != "inactive"}
_COMPANY: Final = Column("company", "Company")


def _choice(name: str, title: str, words: dict[str, str]) -> Choice:
    return Choice(name, title, tuple(words.items()))


COMPANIES: Final = Table(
    name="companies",
    caption="Companies",
    nouns=("company", "companies"),
    key="account_number",
    sort="name",
    search=("name", "account_number", "email"),
    choices=(_choice("state", "Status", {"active": "Active", "other": "Not active"}),),
    choosable=True,
    columns=(
        Column("name", "Company"),
        Column("account_number", "Account"),
        Column("billing_plan", "Plan"),
        Column("contract_term", "Term", priority=2),
        Column("contract_end", "Contract to", kind="date", priority=3),
        Column("email", "Mail", priority=3),
        Column("status", "Status", priority=2),
    ),
)


def _contacts(columns: tuple[Column, ...]) -> Table:
    return Table(
        name="contacts",
        caption="Contacts",
        nouns=("contact", "contacts"),
        key="uid",
        sort="name",
        search=("name", "email"),
        choices=(_choice("state", "Counts", _STATE),),
        columns=(
            Column("name", "Name"),
            *columns,
            Column("email", "Mail", priority=2),
            Column("title", "Title", priority=3),
            Column("state", "Counts"),
            Column("active_to", "To", kind="date", priority=3),
        ),
    )


def _assets(columns: tuple[Column, ...]) -> Table:
    return Table(
        name="assets",
        caption="Assets",
        nouns=("asset", "assets"),
        key="uid",
        sort="hostname",
        search=("hostname", "operating_system"),
        choices=(
            _choice("billing_type", "Type", {one: one for one in ASSET_TYPES}),
            _choice("state", "Counts", _ASSET_STATE),
            _choice("heard", "Heard of", {"online": "Online", "offline": "Offline", "unknown": "Unknown"}),
        ),
        columns=(
            Column("hostname", "Asset"),
            *columns,
            Column("billing_type", "Type"),
            Column("backup_bytes", "Backup, bytes", kind="number", priority=2),
            Column("operating_system", "System", priority=3),
            Column("heard", "Heard of", priority=2),
            Column("last_seen", "Last seen", kind="instant", priority=3),
            Column("state", "Counts", priority=2),
        ),
    )


def _tickets(columns: tuple[Column, ...], *, of_one: bool) -> Table:
    # Across all companies words are for the search, which has an index of them.
    priorities = {one: one.capitalize() for one in ("urgent", "high", "medium", "low")}
    return Table(
        name="tickets",
        caption="Tickets",
        nouns=("ticket", "tickets"),
        key="uid",
        sort="-opened",
        search=("number", "subject") if of_one else (),
        choices=(
            _choice("state", "State", {"open": "Open", "closed": "Closed"}),
            _choice("priority", "Priority", priorities),
        ),
        columns=(
            Column("number", "Ticket", sortable=of_one),
            *columns,
            Column("subject", "Subject", sortable=False),
            Column("status", "Status", sortable=False, priority=2),
            Column("priority", "Priority", sortable=False, priority=2),
            Column("opened", "Opened", kind="instant"),
        ),
    )


HOURS: Final = Table(
    name="hours",
    caption="Time entries",
    nouns=("time entry", "time entries"),
    key="uid",
    sort="-worked_on",
    search=("ticket", "subject"),
    choices=(
        _choice("billable", "Billable", {"yes": "Billable", "no": "Not billable"}),
        _choice("late", "Seen", {"yes": "After its month", "no": "In its month"}),
    ),
    columns=(
        Column("worked_on", "Worked on", kind="date"),
        Column("hours", "Hours", kind="number"),
        Column("ticket", "Ticket"),
        Column("subject", "Subject", priority=2),
        Column("billable", "Billable", priority=2),
        Column("first_seen", "First seen", kind="date", priority=3),
    ),
)
PLANS: Final = Table(
    name="plans",
    caption="Plans in their newest version",
    nouns=("plan", "plans"),
    key="key",
    sort="plan_name",
    search=("plan_name", "term"),
    columns=(
        Column("plan_name", "Plan"),
        Column("term", "Term"),
        Column("valid_from", "Valid from", kind="date"),
        Column("support_level", "Support", priority=3),
        Column("per_user", "A user", kind="number", priority=2),
        Column("per_hour", "An hour", kind="number", priority=2),
        Column("versions", "Versions", kind="number", priority=3),
        Column("bearers", "Companies"),
    ),
)
Kind = Literal["contacts", "assets", "tickets"]


def companies() -> Listing:
    return COMPANIES.of_query(store.session(), tables.of_companies())


def of_kind(kind: Kind, account: str | None, today: date) -> Listing:
    """Contacts, assets or tickets: of all companies, or of one."""
    columns = () if account else (_COMPANY,)
    session = store.session()
    if kind == "contacts":
        return _contacts(columns).of_query(session, tables.of_contacts(account, today))
    if kind == "assets":
        return _assets(columns).of_query(session, tables.of_assets(account, today))
    return _tickets(columns, of_one=account is not None).of_query(session, tables.of_tickets(account))


def hours(account: str) -> Listing:
    return HOURS.of_query(store.session(), tables.of_hours(account))


def plans() -> Listing:
    return PLANS.of_query(store.session(), tables.of_plans())


def shown(value: Any) -> str:
    """Decimals without zeros that say nothing."""
    return decimal_text(value.normalize()) if isinstance(value, Decimal) else str(value)
