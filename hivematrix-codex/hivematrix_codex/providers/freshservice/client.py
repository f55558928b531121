"""Freshservice's API v2: pages of 100, Basic authentication with the key, 429 with Retry-After."""

import base64
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from hivematrix_codex.domain.facts import Record, Told
from hivematrix_codex.providers.base import Page, ProviderError
from hivematrix_codex.providers.freshservice import mapping
from hivematrix_codex.providers.http import VendorClient

PER_PAGE = 100
# Without a date the list of tickets ends thirty days ago.
EVER = datetime(2000, 1, 1, tzinfo=UTC)
_PATHS = {"companies": "departments", "contacts": "requesters", "assets": "assets", "tickets": "tickets"}
_ONE = {"companies": "department", "contacts": "requester", "assets": "asset", "tickets": "ticket"}


class Freshservice:
    """`fields` names the departments' own fields: ours to theirs."""

    name: str = "freshservice"

    def __init__(self, url: str, api_key: str, kinds: tuple[str, ...], fields: Mapping[str, str]) -> None:
        self.kinds, self._fields = kinds, fields
        login = base64.b64encode(f"{api_key}:X".encode()).decode()
        self._api = VendorClient(self.name, f"{url.rstrip('/')}/api/v2", {"Authorization": f"Basic {login}"})
        self._types: dict[str, str] | None = None

    def is_incremental(self, kind: str) -> bool:
        return kind == "tickets"

    def pages(self, kind: str, since: datetime | None) -> Iterator[Page]:
        for records in self._lists(kind, since):
            if kind == "tickets":
                yield self._with_hours(records)
            elif kind == "assets":
                yield Page([self._with_type(record) for record in records])
            else:
                yield Page(records)

    def one(self, kind: str, external_id: str) -> Record | None:
        if not external_id.isascii() or not external_id.isdigit():
            return None
        path = f"{_PATHS[kind]}/{external_id}"
        document = self._api.get(path)
        if document is None:
            return None
        record: dict[str, Any] = self._member(document, _ONE[kind], path, dict)
        if kind == "tickets":
            return self._hours(record)
        return self._with_type(record) if kind == "assets" else record

    def told(self, kind: str, record: Record) -> Told:
        return mapping.told(kind, record, self._fields)

    def id_of(self, kind: str, record: Record) -> str:
        return mapping.id_of(kind, record)

    def _lists(self, kind: str, since: datetime | None) -> Iterator[list[dict[str, Any]]]:
        """A kind's pages: the next is where the answer's Link leads, or one further while pages are full."""
        path, page = _PATHS[kind], 1
        params: dict[str, Any] = {"per_page": PER_PAGE}
        if kind == "tickets":
            params |= {
                "updated_since": (since or EVER).strftime("%Y-%m-%dT%H:%M:%SZ"),
                "order_type": "asc",
                "include": "stats",
            }
        while True:
            document, following = self._api.get_page(path, params | {"page": page})
            records = self._member(document, path, f"{path}, page {page}", list)
            yield records
            if not following and len(records) < PER_PAGE:
                return
            page += 1

    def _with_hours(self, records: list[dict[str, Any]]) -> Page:
        whole, failed = [], []
        for record in records:
            try:
                whole.append(self._hours(record))
            except ProviderError as error:
                if error.refused:
                    raise
                failed.append((mapping.id_of("tickets", record), str(error)))
        return Page(whole, failed)

    def _hours(self, record: dict[str, Any]) -> dict[str, Any]:
        """The ticket with its time entries; one in the bin has none to be asked for."""
        if record.get("deleted") or record.get("spam"):
            return record
        entries: list[Any] = []
        path, page = f"tickets/{int(record['id'])}/time_entries", 1
        while True:
            document, following = self._api.get_page(path, {"per_page": PER_PAGE, "page": page})
            found = self._member(document, "time_entries", path, list)
            entries += found
            if not following and len(found) < PER_PAGE:
                return record | {"time_entries": entries}
            page += 1

    def _with_type(self, record: dict[str, Any]) -> dict[str, Any]:
        if self._types is None:
            self._types = {}
            for records in self._type_pages():
                self._types |= {str(found.get("id")): str(found.get("name")) for found in records}
        return record | {"asset_type_name": self._types.get(str(record.get("asset_type_id")))}

    def _type_pages(self) -> Iterator[list[dict[str, Any]]]:
        page = 1
        while True:
            document, following = self._api.get_page("asset_types", {"per_page": PER_PAGE, "page": page})
            records = self._member(document, "asset_types", "asset_types", list)
            yield records
            if not following and len(records) < PER_PAGE:
                return
            page += 1

    def _member(self, document: Any, name: str, place: str, kind: type[Any]) -> Any:
        """The answer's one member; an answer of another shape is no answer."""
        found = document.get(name) if isinstance(document, dict) else None
        if not isinstance(found, kind):
            raise ProviderError(f"{self.name}: {place}: the answer has no {name}")
        return found
