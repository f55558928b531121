"""Plans' companies and history, and what features may say."""

from collections.abc import Mapping
from typing import Any, Final

from hivematrix_common.database import AnySession
from sqlalchemy import func, select
from sqlalchemy.dialects.postgresql import insert

from hivematrix_codex.models import companies, fact_changes, feature_options

OPTION: Final = ("feature_category", "option_value", "display_name", "description")
LISTED: Final = 50


def bearers(session: AnySession, name: str, term: str) -> int:
    """How many companies are on the plan."""
    company = companies.c
    query = select(func.count()).where(company.billing_plan == name, company.contract_term == term)
    return session.scalar(query) or 0


def history(session: AnySession, name: str, term: str) -> list[dict[str, Any]]:
    """The last changes of a plan's versions, newest first."""
    change = fact_changes.c
    columns = (change.id, change.at, change.actor, change.key, change.before, change.after)
    query = select(*columns).where(
        change.account_number.is_(None),
        change.kind == "plan_versions",
        change.key.startswith(f"{name} / {term} / ", autoescape=True),
    )
    rows = session.execute(query.order_by(change.id.desc()).limit(LISTED)).mappings()
    return [{str(key): value for key, value in row.items()} for row in rows]


def options(session: AnySession) -> list[dict[str, Any]]:
    """What features may say, by category and value; those that are retired left out."""
    option = feature_options.c
    query = select(*(option[name] for name in OPTION)).where(option.retired_on.is_(None))
    rows = session.execute(query.order_by(option.feature_category, option.option_value)).mappings()
    return [{str(key): value for key, value in row.items()} for row in rows]


def keep_option(session: AnySession, record: Mapping[str, Any]) -> None:
    """Set what a feature may say; one that was retired is back."""
    row = {name: record.get(name) for name in OPTION}
    said = {"display_name": row["display_name"], "description": row["description"], "retired_on": None}
    statement = insert(feature_options).values(**row)
    session.execute(statement.on_conflict_do_update(index_elements=list(OPTION[:2]), set_=said))
