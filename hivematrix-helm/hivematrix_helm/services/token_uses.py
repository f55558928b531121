"""When each token was last used: every service knows it of the tokens it takes."""

from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from typing import Any

from hivematrix_common import audit_feed, clock
from hivematrix_common.config import Settings
from hivematrix_common.peers import PeerClient, PeerError
from sqlalchemy.exc import SQLAlchemyError

from hivematrix_helm import store
from hivematrix_helm.domain.mesh import SERVICES
from hivematrix_helm.services.tokens import Uses

_PATH, _SECONDS = "/api/audit/token-uses", 2.0


def known(settings: Settings) -> tuple[Uses, list[str]]:
    """By service and token; and the services that do not answer now."""
    peers = [name for name in SERVICES if name != "helm"]
    with ThreadPoolExecutor(len(peers)) as pool:
        answers = dict(zip(peers, pool.map(lambda peer: _of_peer(settings, peer), peers), strict=True))
    answers["helm"] = _own()
    silent = [name for name, answer in answers.items() if answer is None]
    return {name: answer for name, answer in answers.items() if answer is not None}, silent


def _of_peer(settings: Settings, peer: str) -> Any:
    try:
        return _by_token(PeerClient(settings, peer, read_seconds=_SECONDS).get_json(_PATH)["uses"])
    except PeerError:
        return None


def _own() -> Any:
    try:
        return _by_token(audit_feed.uses(store.session()))
    except SQLAlchemyError:
        return None


def _by_token(uses: list[dict[str, Any]]) -> dict[str, tuple[datetime, str | None]]:
    return {use["token_id"]: (clock.parse_instant(use["used_at"]), use["address"]) for use in uses}
