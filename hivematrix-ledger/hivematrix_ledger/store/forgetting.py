"""Names and texts of an erased bill go from Ledger's tables, by the owner's own function."""

from hivematrix_common.database import AnySession
from sqlalchemy import text

_FORGET = text("SELECT forget_bill(:account, :period, :following)")


def forget(session: AnySession, account: str, period: str, following: str) -> int:
    """Forget what a bill said, and the `following` month's findings of it; returns how many previews there were."""
    dropped: int = session.scalar(_FORGET, {"account": account, "period": period, "following": following})
    return dropped
