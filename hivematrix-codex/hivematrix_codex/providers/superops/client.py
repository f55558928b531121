"""SuperOps' GraphQL API: one address, pages of 100, 800 calls a minute, limits told with status 200."""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from hivematrix_codex.domain.facts import Record, Told
from hivematrix_codex.providers.base import Page, ProviderError
from hivematrix_codex.providers.http import VendorClient
from hivematrix_codex.providers.superops import mapping
from hivematrix_codex.providers.superops.queries import ENTRIES, LISTS, List

PAGE_SIZE = 100
LIMITED = "rate_limit_exceeded"
MINUTE = 60.0
_REFUSED = {"unauthorized", "forbidden", "invalid_token"}


class Superops:
    """`hours` is `entries` (a call for each ticket) or `totals` (none: the ticket's total, by difference)."""

    name: str = "superops"

    def __init__(self, url: str, api_token: str, subdomain: str, kinds: tuple[str, ...], hours: str) -> None:
        self.kinds, self._hours = kinds, hours
        headers = {"Authorization": f"Bearer {api_token}", "CustomerSubDomain": subdomain}
        self._api = VendorClient(self.name, url, headers)

    def is_incremental(self, kind: str) -> bool:
        return kind == "tickets"

    def pages(self, kind: str, since: datetime | None) -> Iterator[Page]:
        condition = None
        if since and self.is_incremental(kind):
            condition = {
                "attribute": "updatedTime",
                "operator": "greaterThanOrEqual",
                "value": since.strftime("%Y-%m-%dT%H:%M:%S"),
            }
        for records in self._records(LISTS[kind], {"condition": condition} if condition else {}):
            yield self._with_hours(records) if kind == "tickets" else Page(records)

    def one(self, kind: str, external_id: str) -> Record | None:
        listed = LISTS[kind]
        condition = {"attribute": listed.key, "operator": "is", "value": external_id}
        for records in self._records(listed, {"condition": condition}):
            for record in records:
                if mapping.id_of(kind, record) == external_id:
                    return self._worked(record) if kind == "tickets" else record
        return None

    def told(self, kind: str, record: Record) -> Told:
        return mapping.told(kind, record)

    def id_of(self, kind: str, record: Record) -> str:
        return mapping.id_of(kind, record)

    def _with_hours(self, tickets: list[dict[str, Any]]) -> Page:
        whole, failed = [], []
        for ticket in tickets:
            try:
                whole.append(self._worked(ticket))
            except ProviderError as error:
                if error.refused:
                    raise
                failed.append((mapping.id_of("tickets", ticket), str(error)))
        return Page(whole, failed)

    def _worked(self, ticket: dict[str, Any]) -> dict[str, Any]:
        if self._hours == "totals":
            return ticket
        entries: list[Any] = []
        asked = {"module": "TICKET", "moduleId": mapping.id_of("tickets", ticket)}
        for found in self._records(ENTRIES, {}, asked):
            entries += found
        return ticket | {"worklogEntries": entries}

    def _records(
        self, listed: List, condition: dict[str, Any], more: dict[str, Any] | None = None
    ) -> Iterator[list[dict[str, Any]]]:
        """A list's pages; fewer records in all than it counts is a list that broke off."""
        page, got = 1, 0
        while True:
            info = {"page": page, "pageSize": PAGE_SIZE} | condition
            asked = info if more is None else more | {"listInfo": info}
            found = self._ask(listed, {"input": asked})
            records, told = found.get(listed.member), found.get("listInfo")
            if not isinstance(records, list) or not isinstance(told, dict):
                raise ProviderError(f"{self.name}: {listed.name}: the answer has no {listed.member}")
            got += len(records)
            yield records
            if not told.get("hasMore"):
                if got < (told.get("totalCount") or 0):
                    raise ProviderError(f"{self.name}: {listed.name}: it counts {told['totalCount']}, and sent {got}")
                return
            page += 1

    def _ask(self, listed: List, variables: dict[str, Any]) -> dict[str, Any]:
        answer = self._api.post("", json={"query": listed.query, "variables": variables}, check=_limit)
        errors = answer.get("errors") if isinstance(answer, dict) else None
        if errors:
            code = _code(errors[0])
            message = str(errors[0].get("message", ""))[:200]
            raise ProviderError(f"{self.name}: {listed.name}: {code or message}", refused=code in _REFUSED)
        data = answer.get("data") if isinstance(answer, dict) else None
        found = data.get(listed.name) if isinstance(data, dict) else None
        if not isinstance(found, dict):
            raise ProviderError(f"{self.name}: the answer has no {listed.name}")
        return found


def _limit(document: Any) -> float | None:
    """How long to wait when there were too many calls: the count is by the minute."""
    errors = document.get("errors") if isinstance(document, dict) else None
    return MINUTE if errors and any(_code(one) == LIMITED for one in errors) else None


def _code(error: Any) -> str:
    extensions = error.get("extensions") if isinstance(error, dict) else None
    found = extensions if isinstance(extensions, dict) else {}
    client = found.get("clientError")
    if isinstance(client, list) and client and isinstance(client[0], dict):
        return str(client[0].get("errorCode") or "")
    return str(found.get("code") or "")
