"""Archive's peers: who the companies are (Codex), and the acceptance of their bills (Ledger)."""

from collections.abc import Iterator, Sequence
from typing import Any, Protocol

from hivematrix_common.config import Settings
from hivematrix_common.domain.period import Period
from hivematrix_common.peers import PeerClient

from hivematrix_archive.domain.jobs import Result

PAGE = 500
# A page of 500 bills is computed, sealed and recorded within one call.
ACCEPT_SECONDS = 300.0


class Companies(Protocol):
    def accounts(self) -> Iterator[str]: ...


class Bills(Protocol):
    def accept(self, period: Period, accounts: Sequence[str], key: str) -> list[Result]: ...

    def preview(self, period: Period, accounts: Sequence[str] | None) -> Iterator[dict[str, Any]]: ...


class Replays(Protocol):
    def replay(self, engine: int, inputs: dict[str, Any]) -> dict[str, Any]: ...


class Codex:
    def __init__(self, settings: Settings) -> None:
        self._peer = PeerClient(settings, "codex")

    def accounts(self) -> Iterator[str]:
        """Every company's account number, in Codex's order."""
        cursor = ""
        while True:
            page = self._peer.get_json("/api/companies", {"limit": PAGE, "cursor": cursor})
            for company in page["companies"]:
                yield company["account_number"]
            cursor = page.get("next") or ""
            if not cursor:
                return


class Ledger:
    def __init__(self, settings: Settings) -> None:
        self._peer = PeerClient(settings, "ledger", read_seconds=ACCEPT_SECONDS)

    def accept(self, period: Period, accounts: Sequence[str], key: str) -> list[Result]:
        """Accept and seal a page of at most 500 bills; PeerError when Ledger does not answer."""
        body = {"period": str(period), "accounts": list(accounts)}
        return [Result.parse(line) for line in self._peer.post_for_ndjson("/api/bills/accept", body, key=key)]

    def preview(self, period: Period, accounts: Sequence[str] | None) -> Iterator[dict[str, Any]]:
        """The bills as they would be accepted now, or why a company has none."""
        if accounts is not None:
            for account in accounts:
                yield self._peer.get_json(f"/api/bills/{account}/{period}")
            return
        cursor = ""
        while True:
            query = {"period": str(period), "limit": PAGE, "cursor": cursor}
            rows, headers = self._peer.get_ndjson("/api/bills", query)
            yield from rows
            cursor = headers.get("X-Next-Cursor", "")
            if not cursor:
                return

    def forget(self, account: str, period: Period) -> int:
        """Have Ledger drop what it showed of a bill before it was sealed; returns how many such previews it had."""
        answer = self._peer.post_json(f"/api/bills/{account}/{period}/forget", {}, key=f"forget-{account}-{period}")
        return int(answer["previews"])

    def replay(self, engine: int, inputs: dict[str, Any]) -> dict[str, Any]:
        """What an engine makes of a sealed bill's inputs: the document, or why there is none."""
        answer = self._peer.post_json("/api/engine/replay", {"engine": engine, "inputs": inputs})
        return answer if isinstance(answer, dict) else {}
