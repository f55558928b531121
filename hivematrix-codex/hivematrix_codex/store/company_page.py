"""Small lists of one company."""

from typing import Any

from hivematrix_common.database import AnySession, only_own
from sqlalchemy import select

from hivematrix_codex.models import locations, rmm_site_links


def places(session: AnySession, account: str) -> list[dict[str, Any]]:
    """Its locations, those that are retired last."""
    place = locations.c
    query = select(place.uid, place.name, place.address, place.phone_number, place.retired_on)
    query = query.where(place.account_number == account, only_own(place.account_number))
    rows = session.execute(query.order_by(place.retired_on.is_not(None), place.uid)).mappings()
    return [{str(name): value for name, value in row.items()} for row in rows]


def sites(session: AnySession, account: str) -> list[dict[str, Any]]:
    """Which sites of an RMM are this company."""
    site = rmm_site_links.c
    query = select(site.provider, site.site_uid, site.site_name).where(site.account_number == account)
    rows = session.execute(query.order_by(site.provider, site.site_uid)).mappings()
    return [{str(name): value for name, value in row.items()} for row in rows]
