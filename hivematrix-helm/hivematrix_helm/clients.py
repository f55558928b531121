"""Helm's peers: the archive's log, as a witness reads it."""

from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, Protocol

from hivematrix_common.config import Settings
from hivematrix_common.domain.errors import DomainError
from hivematrix_common.domain.note import VerifierKey, decode
from hivematrix_common.peers import PeerClient, PeerError

PAGE = 100
SECONDS = 10.0


class Log(Protocol):
    def keys(self) -> list[VerifierKey]: ...

    def newest(self) -> str | None: ...

    def checkpoints(self, after: int) -> dict[str, Any]: ...

    def proof(self, old: int, new: int) -> Sequence[bytes]: ...


class ArchiveLog:
    """PeerError when the archive does not answer, or not as a log does."""

    def __init__(self, settings: Settings) -> None:
        self._peer = PeerClient(settings, "archive", read_seconds=SECONDS, tries=1)  # looked at again soon

    def keys(self) -> list[VerifierKey]:
        return [VerifierKey.parse(line) for line in self._peer.get("/log/key").text.splitlines()]

    def newest(self) -> str | None:
        """The newest signed note; None while the log is not begun."""
        try:
            return self._peer.get("/log/checkpoint").text
        except PeerError as error:
            if error.answer.get("status") == HTTPStatus.NOT_FOUND:
                return None
            raise

    def checkpoints(self, after: int) -> dict[str, Any]:
        """The notes signed after the one with that number, oldest first; and the number of entries."""
        found: dict[str, Any] = self._peer.get_json("/api/checkpoints", {"after": after, "limit": PAGE})
        return found

    def proof(self, old: int, new: int) -> Sequence[bytes]:
        answer = self._peer.get_json("/api/consistency", {"from": old, "to": new})
        try:
            return [decode(text, "proof") for text in answer["proof"]]
        except DomainError:
            return []  # no proof proves nothing
