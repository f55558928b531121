"""What the pages' tables show; a client's own rows alone. What is sorted by is never NULL."""

from datetime import date, datetime
from typing import Any

from hivematrix_common.database import only_own
from sqlalchemy import (
    ColumnClause,
    ColumnElement,
    Date,
    DateTime,
    Select,
    Text,
    case,
    cast,
    func,
    literal,
    literal_column,
    select,
)

from hivematrix_codex.models import assets, companies, contacts, plan_versions, tickets, time_entries

_NEVER: ColumnClause[datetime] = literal_column("'0001-01-01T00:00:00Z'", DateTime(timezone=True))
_OPEN_END = literal_column("DATE '0001-01-01'", Date)


def of_companies() -> Select[Any]:
    company = companies.c
    return select(
        *(company.account_number, company.name, company.contract_term, company.status),
        func.coalesce(company.billing_plan, "").label("billing_plan"),
        func.coalesce(company.contract_end, _OPEN_END).label("contract_end"),
        func.coalesce(company.email, "").label("email"),
        case((func.lower(company.status) == "active", "active"), else_="other").label("state"),
    ).where(only_own(company.account_number))


def of_contacts(account: str | None, today: date) -> Select[Any]:
    contact = contacts.c
    columns = [
        *(contact.uid, contact.name, contact.account_number),
        func.coalesce(contact.email, "").label("email"),
        func.coalesce(contact.title, "").label("title"),
        _counts(contact.active_from, contact.active_to, today, contact.active).label("state"),
        func.coalesce(contact.active_to, _OPEN_END).label("active_to"),
    ]
    return _with_company(select(*columns), contact.account_number, account)


def of_assets(account: str | None, today: date) -> Select[Any]:
    asset = assets.c
    columns = [
        *(asset.uid, asset.hostname, asset.account_number, asset.backup_bytes),
        func.coalesce(asset.billing_type, "").label("billing_type"),
        func.coalesce(asset.operating_system, "").label("operating_system"),
        case((asset.online, "online"), (~asset.online, "offline"), else_="unknown").label("heard"),
        func.coalesce(asset.last_seen, _NEVER).label("last_seen"),
        _counts(asset.active_from, asset.active_to, today).label("state"),
        asset.billing_type_pinned,
    ]
    return _with_company(select(*columns), asset.account_number, account)


def of_tickets(account: str | None) -> Select[Any]:
    ticket = tickets.c
    columns = [
        *(ticket.uid, ticket.account_number),
        func.coalesce(ticket.number, ticket.uid, type_=Text).label("number"),
        func.coalesce(ticket.subject, "").label("subject"),
        func.coalesce(ticket.status, "").label("status"),
        func.coalesce(ticket.priority, "").label("priority"),
        func.coalesce(ticket.opened_at, _NEVER).label("opened"),
        case((ticket.closed_at.is_(None), "open"), else_="closed").label("state"),
    ]
    return _with_company(select(*columns), ticket.account_number, account)


def of_hours(account: str) -> Select[Any]:
    entry, ticket = time_entries.c, tickets.c
    return (
        select(
            *(entry.uid, entry.worked_on, entry.first_seen, entry.hours, entry.billable, entry.late),
            func.coalesce(ticket.number, ticket.uid, type_=Text).label("ticket"),
            func.coalesce(ticket.subject, "").label("subject"),
        )
        .join(tickets, ticket.uid == entry.ticket_uid)
        .where(entry.account_number == account, only_own(entry.account_number))
    )


def of_plans() -> Select[Any]:
    """Each plan in its newest version."""
    plan, company = plan_versions.c, companies.c
    bearers = (
        select(func.count())
        .where(company.billing_plan == plan.plan_name, company.contract_term == plan.term)
        .scalar_subquery()
    )
    of_plan = (plan.plan_name, plan.term)
    return (
        select(
            *of_plan,
            plan.valid_from,
            func.coalesce(plan.support_level, "").label("support_level"),
            *(func.coalesce(plan[name], literal(0)).label(name) for name in ("per_user", "per_hour")),
            func.count().over(partition_by=of_plan).label("versions"),
            (plan.plan_name + " / " + plan.term).label("key"),
            cast(bearers, Text).label("bearers"),
        )
        .distinct(*of_plan)
        .order_by(*of_plan, plan.valid_from.desc())
    )


def _counts(first: Any, last: Any, today: date, active: Any = None) -> ColumnElement[str]:
    """Whether it counts today, will, or does no more."""
    over = [(last < today, "gone"), (first > today, "coming")]
    return case(*([(~active, "inactive")] if active is not None else []), *over, else_="counts")


def _with_company(query: Select[Any], number: Any, account: str | None) -> Select[Any]:
    query = query.add_columns(companies.c.name.label("company"))
    query = query.join(companies, companies.c.account_number == number).where(only_own(number))
    return query if account is None else query.where(number == account)
