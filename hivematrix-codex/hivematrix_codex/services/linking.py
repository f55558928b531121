"""Whose a provider's company or site is, where a person says it."""

from typing import Any

from hivematrix_common import audit, clock
from hivematrix_common.errors import Problem

from hivematrix_codex import store
from hivematrix_codex.config import CodexSettings
from hivematrix_codex.services.syncing import require_provider
from hivematrix_codex.store import syncing
from hivematrix_codex.store.syncing import Link


def link(settings: CodexSettings, provider: str, external_id: str, account: str, by: str) -> None:
    """Say whose it is; Problem `not_found` when there is no such provider or company."""
    require_provider(settings, provider)
    session = store.session()
    if store.find_company(session, account) is None:
        raise Problem("not_found", f"There is no company {account}.")
    syncing.link(session, Link(provider, external_id, account, "", by), clock.now(), anew=True)
    audit.done(session, "codex link", account, provider=provider, external_id=external_id)
    session.commit()


def links() -> list[dict[str, Any]]:
    return syncing.links(store.session())
