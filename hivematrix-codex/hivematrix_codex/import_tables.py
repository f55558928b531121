"""The import files Codex reads (plans, companies, contacts, assets, tickets, time entries), and what else a person may
say of a fact by hand.
"""

from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from typing import Any
from zoneinfo import ZoneInfo

from hivematrix_common import cells, clock
from hivematrix_common.domain.money import parse_currency
from hivematrix_common.domain.period import FIRST_YEAR
from hivematrix_common.domain.vocabulary import ASSET_TYPES, COUNT_POLICIES, RATES, TERMS, normalise_term
from hivematrix_common.importing import Check, Column, Table, in_order

from hivematrix_codex.domain.plans import parse_features

LONGEST_PAYMENT_TERMS = 3650
LONGEST_DAY = Decimal(24)  # an entry is one day's work
AHEAD = timedelta(days=366)
_UID = Column("uid", cells.text(128), required=True)
_ACCOUNT = Column("account_number", cells.account_number, required=True)
_NAME = Column("name", cells.text(), required=True)
_CURRENCY = Column("currency", parse_currency)


def tables(zone: ZoneInfo) -> tuple[Table, ...]:
    """In the order in which rows refer to each other; `zone` dates the instants."""
    day = cells.day(zone)
    active = (Column("active_from", day), Column("active_to", day))
    in_time = (in_order("active_from", "active_to"),)
    return (
        _plans(day),
        _companies(day),
        Table(
            "contacts",
            (_UID, _ACCOUNT, _NAME, _text("email"), Column("active", cells.boolean, default=True), *active),
            key=("uid",),
            checks=in_time,
        ),
        Table(
            "assets",
            (
                *(_UID, _ACCOUNT, Column("hostname", cells.text(), required=True)),
                Column("billing_type", cells.one_of(*ASSET_TYPES)),
                Column("backup_bytes", cells.integer(), default=0),
                *(_text("operating_system"), *active),
            ),
            key=("uid",),
            checks=in_time,
        ),
        _tickets(cells.instant(zone)),
        _time_entries(day, clock.now().astimezone(zone).date() + AHEAD),
    )


def edited(zone: ZoneInfo) -> dict[str, Table]:
    """What a person may say of each kind of fact: the file's columns, and those that no file has."""
    more = _more(cells.day(zone), cells.instant(zone))
    found = {table.stem: table for table in tables(zone)}
    name = (Column("uid", cells.text(128)), _ACCOUNT, _NAME)
    found["locations"] = Table("locations", (*name, *_texts("address", "phone_number")), key=("uid",))
    return {stem: replace(table, columns=(*table.columns, *more.get(stem, ()))) for stem, table in found.items()}


def _more(day: cells.Parser, instant: cells.Parser) -> dict[str, tuple[Column, ...]]:
    return {
        "companies": (
            *_texts("description", "address", "phone_number", "domains", "support_level"),
            Column("compliance_level", cells.one_of("standard", "cjis", "hipaa"), default="standard"),
            *(*_texts("profit_or_non_profit"), Column("company_start", day)),
            *_texts("phone_system", "email_system", "head_name", "prime_user_name", "portal_url"),
        ),
        "contacts": (
            *_texts("person_uid", "title", "mobile_phone_number", "work_phone_number", "secondary_emails"),
            *_texts("employment_type", "location_name"),
            Column("vip", cells.boolean, default=False),
        ),
        "assets": (
            Column("billing_type_pinned", cells.boolean, default=False),
            *_texts("hardware_type", "device_type", "domain", "antivirus_product", "description"),
            *_texts("last_logged_in_user", "ext_ip_address", "int_ip_address"),
        ),
        "tickets": (
            Column("priority", cells.one_of("low", "medium", "high", "urgent")),
            *_texts("ticket_type", "requester_name", "requester_email", "agent_uid", "group_name"),
            _long("description"),
            *(Column(name, instant) for name in ("last_updated_at", "first_responded_at", "agent_responded_at")),
            *(Column(name, instant) for name in ("fr_due_by", "due_by")),
        ),
        "time_entries": (_long("notes"),),
    }


def _text(name: str) -> Column:
    return Column(name, cells.text())


def _texts(*names: str) -> tuple[Column, ...]:
    return tuple(_text(name) for name in names)


def _long(name: str) -> Column:
    return Column(name, cells.text(10_000))


def _plans(day: cells.Parser) -> Table:
    rate = cells.decimal(minimum=Decimal(0))
    return Table(
        "plans",
        (
            Column("plan_name", cells.text(), required=True),
            Column("term", normalise_term, default=TERMS[0]),
            Column("valid_from", day, required=True),
            *(_text("support_level"), _CURRENCY),
            *(Column(name, rate) for name in RATES),
            Column("count_policy", cells.one_of(*COUNT_POLICIES), default=COUNT_POLICIES[0]),
            Column("features", parse_features, default={}, document=True),
        ),
        key=("plan_name", "term", "valid_from"),
    )


def _companies(day: cells.Parser) -> Table:
    return Table(
        "companies",
        (
            *(_ACCOUNT, _NAME, _text("billing_plan")),
            Column("contract_term", normalise_term, default=TERMS[0]),
            *(Column("contract_start", day), Column("contract_end", day), _CURRENCY),
            Column("payment_terms_days", cells.integer(0, LONGEST_PAYMENT_TERMS)),
            *(_text("email"), Column("status", cells.text(), default="active")),
        ),
        key=("account_number",),
        checks=(in_order("contract_start", "contract_end"),),
    )


def _tickets(instant: cells.Parser) -> Table:
    return Table(
        "tickets",
        (
            *(_UID, _ACCOUNT, _text("number"), Column("subject", cells.text(1000)), _text("status")),
            *(Column("opened_at", instant), Column("closed_at", instant)),
        ),
        key=("uid",),
        checks=(in_order("opened_at", "closed_at"),),
    )


def _time_entries(day: cells.Parser, last: date) -> Table:
    return Table(
        "time_entries",
        (
            *(_UID, Column("ticket_uid", cells.text(128), required=True), Column("worked_on", day, required=True)),
            Column("hours", cells.decimal(minimum=Decimal(0), maximum=LONGEST_DAY), required=True),
            Column("billable", cells.boolean, default=True),
        ),
        key=("uid",),
        checks=(_in_a_period, _not_after(last)),
    )


def _in_a_period(values: dict[str, Any]) -> tuple[str, str] | None:
    year = values["worked_on"].year
    return None if year >= FIRST_YEAR else ("worked_on", f"expected a year from {FIRST_YEAR}, got {year}")


def _not_after(last: date) -> Check:
    def check(values: dict[str, Any]) -> tuple[str, str] | None:
        day = values["worked_on"]
        return None if day <= last else ("worked_on", f"expected a day up to {last}, a year from now, got {day}")

    return check
