"""Wrong tries to sign in."""

from datetime import datetime

from hivematrix_common.database import advisory_xact_lock
from sqlalchemy import delete, insert, select

from hivematrix_helm.domain.lockout import WINDOW, Try
from hivematrix_helm.models import sign_in_failures as failures
from hivematrix_helm.store import session


def recent(name: str, address: str, at: datetime) -> list[Try]:
    """Those that count for this name or this address; nobody else asks for them until the transaction ends."""
    for subject in (f"sign-in address {address}", f"sign-in name {name}"):
        advisory_xact_lock(session(), subject)
    counted = (failures.c.name == name) | (failures.c.address == address)
    rows = session().execute(select(failures.c.name, failures.c.address, failures.c.at).where(counted))
    return [Try(*row) for row in rows if row.at > at - WINDOW]


def add(name: str, address: str, at: datetime) -> None:
    """Those that count no more go."""
    session().execute(delete(failures).where(failures.c.at <= at - WINDOW))
    session().execute(insert(failures).values(name=name, address=address, at=at))


def forget(name: str, address: str) -> None:
    session().execute(delete(failures).where((failures.c.name == name) & (failures.c.address == address)))
